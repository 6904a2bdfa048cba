// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters declared in C.
//!
//! C source: `vfio/params.c`.

use super::bindings;

/// Whether `sriov_numvfs` may create VFs, the parameter `enable_sriov`.
#[inline]
pub(crate) fn enable_sriov() -> bool {
    // SAFETY: The variable exists as long as the module. The parameter code of the kernel is the
    // only writer and stores a whole `bool`; a volatile read is what `READ_ONCE()` is in C.
    unsafe { (&raw const bindings::vfio_pci_rust_enable_sriov).read_volatile() }
}
