// SPDX-License-Identifier: GPL-2.0-only

//! The calls of `linux/vfio.h` that this program makes, each as a safe function. They are here because
//! `vfio-ioctls` opens devices only without a VF token.

#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::{errno::Errno, request_code_none};
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DEVICE_BIND_FLAG_TOKEN, VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
    VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET, VFIO_TYPE, VFIO_TYPE1v2_IOMMU,
    vfio_device_bind_iommufd, vfio_group_status,
};

type Result<T> = std::result::Result<T, Errno>;

/// `struct vfio_device_feature` with room for the data of a VF token.
#[repr(C)]
pub struct Feature {
    argsz: u32,
    flags: u32,
    data: [u8; 16],
}

/// The number of a VFIO ioctl, which does not include the size of the argument: the argument itself has it.
const fn request(number: u32) -> nix::sys::ioctl::ioctl_num_type {
    request_code_none!(VFIO_TYPE, VFIO_BASE + number)
}

mod raw {
    use super::*;

    nix::ioctl_write_int_bad!(check_extension, request(1));
    nix::ioctl_write_int_bad!(set_iommu, request(2));
    nix::ioctl_readwrite_bad!(group_get_status, request(3), vfio_group_status);
    nix::ioctl_write_ptr_bad!(group_set_container, request(4), i32);
    nix::ioctl_write_ptr_bad!(group_get_device_fd, request(6), std::ffi::c_char);
    nix::ioctl_write_ptr_bad!(device_feature, request(17), Feature);
    nix::ioctl_readwrite_bad!(device_bind_iommufd, request(18), vfio_device_bind_iommufd);
}

/// Whether the container can use the IOMMU for user space (`VFIO_CHECK_EXTENSION`).
pub fn has_type1v2(container: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: The argument is a number.
    Ok(unsafe { raw::check_extension(container.as_raw_fd(), VFIO_TYPE1v2_IOMMU as i32)? } > 0)
}

/// Gives the container an IOMMU (`VFIO_SET_IOMMU`).
pub fn set_type1v2(container: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: The argument is a number.
    unsafe { raw::set_iommu(container.as_raw_fd(), VFIO_TYPE1v2_IOMMU as i32) }.map(drop)
}

/// The flags of the group (`VFIO_GROUP_GET_STATUS`).
pub fn group_flags(group: BorrowedFd<'_>) -> Result<u32> {
    let mut status = vfio_group_status {
        argsz: size_of::<vfio_group_status>() as u32,
        flags: 0,
    };
    // SAFETY: The kernel writes at most `argsz` bytes, which `status` has.
    unsafe { raw::group_get_status(group.as_raw_fd(), &mut status)? };
    Ok(status.flags)
}

/// Puts the group into the container (`VFIO_GROUP_SET_CONTAINER`).
pub fn set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: The kernel reads an `int`.
    unsafe { raw::group_set_container(group.as_raw_fd(), &container.as_raw_fd()) }.map(drop)
}

/// Opens a device of the group (`VFIO_GROUP_GET_DEVICE_FD`). `name` is its address, followed by a blank and
/// `vf_token=` with the token if one is to be presented.
pub fn open_in_group(group: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    // SAFETY: The kernel reads up to the NUL that `name` has.
    let fd = unsafe { raw::group_get_device_fd(group.as_raw_fd(), name.as_ptr())? };
    // SAFETY: The kernel has created the descriptor for this call, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a device by its character device (`VFIO_DEVICE_BIND_IOMMUFD`), presenting the token if there is one.
pub fn bind_iommufd(
    device: BorrowedFd<'_>,
    iommufd: BorrowedFd<'_>,
    token: Option<&[u8; 16]>,
) -> Result<()> {
    let mut bind = vfio_device_bind_iommufd {
        argsz: size_of::<vfio_device_bind_iommufd>() as u32,
        flags: token.map_or(0, |_| VFIO_DEVICE_BIND_FLAG_TOKEN),
        iommufd: iommufd.as_raw_fd(),
        out_devid: 0,
        token_uuid_ptr: token.map_or(0, |token| token.as_ptr() as u64),
    };
    // SAFETY: `argsz` is the size of `bind`, which the kernel reads and writes; it reads 16 bytes at
    // `token_uuid_ptr` if the flag for them is set, and then `token` has them and outlives the call.
    unsafe { raw::device_bind_iommufd(device.as_raw_fd(), &mut bind) }.map(drop)
}

/// Asks whether the device has the feature of this index, and GET or SET, if `flags` have it.
pub fn probe_feature(device: BorrowedFd<'_>, flags: u32) -> Result<()> {
    feature(
        device,
        &Feature {
            argsz: 8,
            flags: flags | VFIO_DEVICE_FEATURE_PROBE,
            data: [0; 16],
        },
    )
}

/// Sets the VF token of a PF (`VFIO_DEVICE_FEATURE_PCI_VF_TOKEN`).
pub fn set_vf_token(device: BorrowedFd<'_>, token: &[u8; 16]) -> Result<()> {
    let flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
    let mut request = Feature {
        argsz: size_of::<Feature>() as u32,
        flags,
        data: *token,
    };
    let result = feature(device, &request);
    zeroize::Zeroize::zeroize(&mut request.data);
    result
}

fn feature(device: BorrowedFd<'_>, request: &Feature) -> Result<()> {
    // SAFETY: `argsz` is at most the size of the request. What the callers above ask for, PROBE and SET, is
    // read and not written.
    unsafe { raw::device_feature(device.as_raw_fd(), request) }.map(drop)
}
