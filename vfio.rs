// SPDX-License-Identifier: GPL-2.0-only

//! VFIO PCI drivers in Rust.
//!
//! A driver implements [`Driver`] for a type and keeps a [`Registration`] of that type. It
//! overrides the callbacks that it needs; `vfio-pci-core` does everything else: regions,
//! interrupts, mmap, reset, power management, DMA buffers.
//!
//! Only this module has `unsafe` code. Apart from [`module`], nothing in it is specific to a
//! driver.
//!
//! C headers: [`include/linux/vfio.h`](srctree/include/linux/vfio.h),
//! [`include/linux/vfio_pci_core.h`](srctree/include/linux/vfio_pci_core.h)

use kernel::{
    error::to_result,
    prelude::*, //
};

mod address;
mod attribute;
pub(crate) mod bindings;
mod chain;
mod compat;
mod config_space;
mod device;
mod driver;
pub(crate) mod feature;
mod foreign;
mod function;
mod id;
#[cfg(CONFIG_VFIO_PCI_RUST_KUNIT_TEST)]
pub(crate) mod kunit;
mod memory;
pub(crate) mod module;
mod name;
mod overrides;
mod ratelimit;
mod region;
mod registration;
mod span;
mod uuid;

pub(crate) use self::address::Address;
pub(crate) use self::attribute::{
    File,
    Folder,
    Shown, //
};
pub(crate) use self::compat::eopnotsupp;
pub(crate) use self::config_space::ConfigSpace;
pub(crate) use self::device::{
    Closed,
    Closing,
    Device,
    Enabled,
    Locked,
    Opened,
    SriovPf,
    Unregistered, //
};
pub(crate) use self::driver::{
    Driver,
    DriverName,
    Options,
    Path, //
};
pub(crate) use self::feature::table::feature_table;
pub(crate) use self::feature::{
    FeatureArg,
    IoctlReturn, //
};
pub(crate) use self::foreign::ForeignVfs;
pub(crate) use self::function::Function;
pub(crate) use self::id::Id;
pub(crate) use self::memory::Memory;
pub(crate) use self::overrides::{
    tell_kept_by,
    Overrides, //
};
pub(crate) use self::region::{
    Kind,
    Region, //
};
pub(crate) use self::registration::Registration;
pub(crate) use self::span::Span;
pub(crate) use self::uuid::Uuid;

/// The constants of `linux/pci_ids.h` that VFIO drivers need.
pub(crate) mod pci_ids {
    pub(crate) use kernel::bindings::{
        PCI_BASE_CLASS_DISPLAY,
        PCI_CLASS_BRIDGE_HOST,
        PCI_CLASS_BRIDGE_ISA,
        PCI_DEVICE_ID_INTEL_DSA_SPR0,
        PCI_DEVICE_ID_INTEL_IAX_SPR0,
        PCI_DEVICE_ID_INTEL_QAT_C3XXX,
        PCI_DEVICE_ID_INTEL_QAT_C3XXX_VF,
        PCI_DEVICE_ID_INTEL_QAT_C62X,
        PCI_DEVICE_ID_INTEL_QAT_C62X_VF,
        PCI_DEVICE_ID_INTEL_QAT_DH895XCC,
        PCI_DEVICE_ID_INTEL_QAT_DH895XCC_VF, //
    };
}

/// The constants of `linux/vfio.h`.
pub(crate) mod uapi {
    pub(crate) use super::bindings::{
        VFIO_DEVICE_FEATURE_GET,
        VFIO_DEVICE_FEATURE_MASK,
        VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
        VFIO_DEVICE_FEATURE_PROBE,
        VFIO_DEVICE_FEATURE_SET,
        VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG,
        VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG,
        VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION, //
    };
}

// SAFETY: `Uuid` is a transparent wrapper of `[u8; 16]`, for which every bit pattern is valid.
unsafe impl kernel::transmute::FromBytes for Uuid {}

impl Uuid {
    /// Makes this a random UUID, version 4.
    pub(crate) fn randomize(&mut self) {
        // SAFETY: `Uuid` and `uuid_t` are both 16 bytes with an alignment of one.
        unsafe { bindings::uuid_gen(core::ptr::from_mut(self).cast()) }
    }

    /// Parses the text of a UUID, and overwrites the text with zeroes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not the text of a UUID. It is overwritten if it has the length of one.
    pub(crate) fn parse_and_wipe(&mut self, text: &mut [u8]) -> Result {
        if text.len() != Self::TEXT_LEN {
            return Err(EINVAL);
        }
        // SAFETY: The function reads that many bytes, and no more; `Uuid` is laid out as `uuid_t`.
        let parsed =
            unsafe { bindings::uuid_parse(text.as_ptr().cast(), core::ptr::from_mut(self).cast()) };
        text.fill(0);
        to_result(parsed)
    }
}
