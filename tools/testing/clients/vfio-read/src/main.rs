// SPDX-License-Identifier: GPL-2.0-only

//! Opens a VFIO device with the crate `vfio-ioctls` and prints bytes of its regions.
//!
//! The crate uses the last part of the path as the name of the device, and the kernel accepts a
//! token in that name. So a link `0000:01:10.0 vf_token=UUID` to the device's directory presents
//! one.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use iommufd_ioctls::IommuFd;
use vfio_bindings::bindings::vfio::{VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX};
use vfio_ioctls::{VfioContainer, VfioDevice, VfioIommufd, VfioOps};

const USAGE: &str = "usage: vfio-read group|cdev DEVICE OFFSET

Opens DEVICE, a folder below /sys/bus/pci/devices or a link to one, by its group or by its character
device, and prints its IDs, the sizes of its regions, and the 32 bits at OFFSET (hexadecimal) of BAR0.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [way, device, offset] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match read(way, Path::new(device), offset) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("vfio-read: {device}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(way: &str, device: &Path, offset: &str) -> Result<String, Box<dyn Error>> {
    let offset = u64::from_str_radix(offset, 16)?;
    let ops: Arc<dyn VfioOps> = match way {
        "group" => Arc::new(VfioContainer::new(None)?),
        "cdev" => Arc::new(VfioIommufd::new(Arc::new(IommuFd::new()?), None, None)?),
        _ => return Err(USAGE.into()),
    };
    let device = VfioDevice::new(device, ops)?;

    let read_u32 = |region, offset| {
        // The crate only logs a failed read; then this value, which no device returns, stays.
        let mut bytes = [0xff; 4];
        device.region_read(region, &mut bytes, offset);
        u32::from_le_bytes(bytes)
    };
    let ids = read_u32(VFIO_PCI_CONFIG_REGION_INDEX, 0);
    Ok(format!(
        "{:04x}:{:04x}, config {}, BAR0 {}, [{offset:x}] = {:08x}",
        ids & 0xffff,
        ids >> 16,
        device.get_region_size(VFIO_PCI_CONFIG_REGION_INDEX),
        device.get_region_size(VFIO_PCI_BAR0_REGION_INDEX),
        read_u32(VFIO_PCI_BAR0_REGION_INDEX, offset),
    ))
}
