// SPDX-License-Identifier: GPL-2.0-only

//! PCI functions.

use super::Address;
use core::{
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::{
    pci,
    sync::aref::ARef, //
};

/// The role of a PCI function in SR-IOV.
pub(crate) enum Function {
    /// A physical function with the SR-IOV capability.
    Physical,
    /// A virtual function.
    Virtual,
    /// A function without SR-IOV.
    Plain,
}

impl Function {
    /// The role of `pdev`.
    pub(crate) fn of(pdev: &pci::Device) -> Self {
        let pdev = ptr::from_ref(pdev).cast::<kernel::bindings::pci_dev>();
        // SAFETY: `pci::Device` transparently wraps a valid `struct pci_dev`, whose two bits are
        // set before a driver sees the device.
        let (is_virtfn, is_physfn) = unsafe {
            (
                kernel::bindings::pci_dev::is_virtfn_raw(pdev),
                kernel::bindings::pci_dev::is_physfn_raw(pdev),
            )
        };
        if is_virtfn != 0 {
            Self::Virtual
        } else if is_physfn != 0 {
            Self::Physical
        } else {
            Self::Plain
        }
    }
}

/// The address of a function as text, as in `lspci -D`.
// Not `device::Device::name()`, which computes the length with an addition that could panic.
pub(super) fn address(pdev: &pci::Device) -> &[u8] {
    let pdev = ptr::from_ref(pdev).cast::<kernel::bindings::pci_dev>();
    // SAFETY: `pci::Device` transparently wraps a valid `struct pci_dev`, whose name is a C string
    // that lives as long as the device.
    unsafe {
        let text = kernel::bindings::dev_name(&raw const (*pdev).dev);
        slice::from_raw_parts(text.cast(), kernel::bindings::strlen(text))
    }
}

/// The function at this address, if there is one.
pub(super) fn find(at: Address) -> Option<ARef<pci::Device>> {
    // SAFETY: The function can be called with any numbers.
    let pdev = unsafe {
        kernel::bindings::pci_get_domain_bus_and_slot(at.domain, at.bus.into(), at.devfn.into())
    };
    // SAFETY: The function has taken a reference, and `pci::Device` transparently wraps a `struct
    // pci_dev`.
    NonNull::new(pdev).map(|pdev| unsafe { ARef::from_raw(pdev.cast()) })
}
