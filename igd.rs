// SPDX-License-Identifier: GPL-2.0-only

//! Intel graphics: what their user needs beyond the device itself.
//!
//! That is the OpRegion, to which a register of the device points, and the configuration space of
//! the host bridge and of the LPC bridge. All three become regions that can only be read.

mod view;

use crate::vfio::{
    self,
    uapi::{
        VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG,
        VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG,
        VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION, //
    },
    Address,
    ConfigSpace,
    Driver,
    Enabled,
    Kind,
    Memory,
    Region,
    Span, //
};
use kernel::{
    pci::{
        self,
        Vendor, //
    },
    prelude::*,
    uaccess::UserSliceWriter, //
};

use self::view::{
    Header,
    Source, //
};

/// The offset in configuration space of the address of the OpRegion, a `u32`.
const ASLS: u8 = 0xfc;

/// Whether this is an Intel graphics device, and the kernel is configured to add its regions.
pub(crate) fn is_handled(pdev: &pci::Device) -> bool {
    cfg!(CONFIG_VFIO_PCI_IGD)
        && pdev.vendor_id() == Vendor::INTEL
        && pdev.pci_class().as_raw() >> 16 == vfio::pci_ids::PCI_BASE_CLASS_DISPLAY
}

/// Adds the three regions: none if there is no OpRegion, and only those of the bridges that exist.
/// A card without them works like any other.
///
/// # Errors
///
/// `EINVAL` if the OpRegion is not valid, or a bridge is not Intel's; `ENOMEM` if the OpRegion or
/// its VBT cannot be mapped, or there is no memory for the regions. The log says what is wrong with
/// the OpRegion or a bridge.
pub(crate) fn add_regions<T: Driver>(dev: &Enabled<'_, T>) -> Result {
    let address = dev.read_config_dword(ASLS).unwrap_or(0);
    if address == 0 || address == u32::MAX {
        return Ok(());
    }
    let region = OpRegion::at(address).inspect_err(|e| {
        dev.notice(
            if *e == EINVAL {
                "not opened: register 0xfc does not point to an OpRegion of Intel graphics"
            } else {
                "not opened: the OpRegion of Intel graphics cannot be mapped, register 0xfc or \
                  the address of the VBT in it is wrong"
            },
            None,
            "",
        );
    })?;
    let kind = Kind::of_vendor(
        Vendor::INTEL.as_raw(),
        VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION,
    );
    dev.add_region(kind, region.size, region)?;
    dev.virtualize_config_dword(ASLS, address)?;

    for (devfn, class, subtype) in BRIDGES {
        let Some(bridge) = ConfigSpace::of(Address {
            domain: 0,
            bus: 0,
            devfn,
        }) else {
            break;
        };
        let pdev = bridge.pdev();
        if pdev.vendor_id() != Vendor::INTEL || pdev.pci_class().as_raw() != class << 8 {
            dev.notice(
                "not opened: Intel graphics need Intel's host bridge at 0000:00:00.0 and its LPC \
                  bridge at 0000:00:1f.0",
                None,
                "",
            );
            return Err(EINVAL);
        }
        let kind = Kind::of_vendor(Vendor::INTEL.as_raw(), subtype);
        dev.add_region(kind, bridge.size(), Bridge(bridge))?;
    }
    Ok(())
}

/// The bridges: device and function, class, and subtype of the region of their configuration space.
const BRIDGES: [(u8, u32, u32); 2] = [
    (
        0,
        vfio::pci_ids::PCI_CLASS_BRIDGE_HOST,
        VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG,
    ),
    (
        0x1f << 3,
        vfio::pci_ids::PCI_CLASS_BRIDGE_ISA,
        VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG,
    ),
];

/// The OpRegion with its VBT.
struct OpRegion {
    memory: Memory,
    vbt: Option<Memory>,
    size: usize,
}

impl OpRegion {
    /// Maps the OpRegion at this address.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if it or its VBT cannot be mapped, `EINVAL` if it is not an OpRegion.
    fn at(address: u32) -> Result<Self> {
        let memory = Memory::map(address.into(), view::SIZE)?;
        let header = Header {
            size_kb: u32::from_le_bytes(memory.read(view::SIZE_KB)?),
            version: u16::from_le_bytes(memory.read(view::VERSION)?),
            rvda: u64::from_le_bytes(memory.read(view::RVDA)?),
            rvds: u32::from_le_bytes(memory.read(view::RVDS)?),
        };
        if memory.read(0)? != *view::SIGNATURE || header.size_kb == 0 {
            return Err(EINVAL);
        }
        let vbt = header.vbt(address);
        Ok(Self {
            memory,
            vbt: vbt
                .map(|vbt| Memory::map(vbt.address, vbt.len as usize))
                .transpose()?,
            size: header.region_size(),
        })
    }
}

#[vtable]
impl Region for OpRegion {
    fn read(&self, at: Span, to: &mut UserSliceWriter) -> Result {
        let vbt_len = self.vbt.as_ref().map_or(0, Memory::size);
        let has_vbt = self.vbt.is_some();
        for (source, part) in view::pieces(at, vbt_len) {
            let memory = match source {
                Source::OpRegion => Some(&self.memory),
                Source::Version => {
                    let version = view::version(self.memory.read(view::VERSION)?, has_vbt);
                    to.write_slice(part.of(&version).ok_or(EFAULT)?)?;
                    continue;
                }
                Source::Rvda => {
                    to.write_slice(part.of(&view::rvda(has_vbt)).ok_or(EFAULT)?)?;
                    continue;
                }
                Source::Vbt => self.vbt.as_ref(),
                Source::Nothing => None,
            };
            memory.ok_or(EFAULT)?.copy_to(part, to)?;
        }
        Ok(())
    }
}

/// The configuration space of a bridge.
struct Bridge(ConfigSpace);

#[vtable]
impl Region for Bridge {
    fn read(&self, at: Span, to: &mut UserSliceWriter) -> Result {
        self.0.copy_to(at, to)
    }
}
