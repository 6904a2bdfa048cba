// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters declared in C.
//!
//! C source: `vfio/module/params.c`.

use super::super::bindings;

macro_rules! bool_params {
    ($($(#[$attr:meta])* $name:ident = $variable:ident;)*) => {$(
        $(#[$attr])*
        pub(crate) fn $name() -> bool {
            // SAFETY: The variable exists as long as the module. The parameter code of the kernel
            // is the only writer and stores a whole `bool`; a volatile read is what `READ_ONCE()`
            // is in C. No other data is read that a writer would have to write before it.
            unsafe { (&raw const bindings::$variable).read_volatile() }
        }
    )*};
}

bool_params! {
    /// Whether the driver registers under the name of the one in C, the parameter `takeover`.
    takeover = vfio_pci_rust_takeover;
    /// Whether `sriov_numvfs` may create VFs, the parameter `enable_sriov`.
    enable_sriov = vfio_pci_rust_enable_sriov;
    /// Whether SET answers as in vfio-pci where no VF user is affected, the parameter
    /// `lenient_token`.
    lenient_token = vfio_pci_rust_lenient_token;
    /// Whether INTx is never masked in the device, the parameter `nointxmask`.
    nointxmask = vfio_pci_rust_nointxmask;
    /// Whether users get no access to VGA resources, the parameter `disable_vga`.
    disable_vga = vfio_pci_rust_disable_vga;
    /// Whether unused devices stay in D0, the parameter `disable_idle_d3`.
    disable_idle_d3 = vfio_pci_rust_disable_idle_d3;
    /// Whether devices on the denylist are bound, too, the parameter `disable_denylist`.
    disable_denylist = vfio_pci_rust_disable_denylist;
}

/// The IDs of devices to bind, the parameter `ids`.
pub(crate) fn ids() -> &'static [u8] {
    // SAFETY: The variable exists as long as the module. It is written before the module starts and
    // never again, since the parameter is not in sysfs; and a `c_char` is a byte.
    text(unsafe { &*(&raw const bindings::vfio_pci_rust_ids).cast() })
}

/// The addresses of devices to bind, the parameter `devices`.
pub(crate) fn devices() -> &'static [u8] {
    // SAFETY: As above.
    text(unsafe { &*(&raw const bindings::vfio_pci_rust_devices).cast() })
}

/// The text before the terminating zero.
fn text(list: &'static [u8; bindings::VFIO_PCI_RUST_LIST_SIZE as usize]) -> &'static [u8] {
    list.split(|byte| *byte == 0).next().unwrap_or_default()
}
