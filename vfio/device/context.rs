// SPDX-License-Identifier: GPL-2.0-only

//! What can be done with a device in which context.
//!
//! As with the contexts of [`kernel::device`], the type of a reference to a [`Device`] says in
//! which callback it was obtained, and has the methods that may be called there.

use super::{
    super::{
        bindings,
        Driver,
        FeatureArg,
        IoctlReturn, //
    },
    Device,
    SriovPf, //
};
use core::{
    ops::Deref,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// A device that is bound; nothing else is known of it.
pub(crate) struct Normal;

/// A device that is open.
pub(crate) struct Opened;

/// A device that its last user has closed, or whose first opening has failed after all; in its
/// `close_device` callback.
pub(crate) struct Closing;

/// A device in a callback of the PCI bus, in which its device lock is held.
pub(crate) struct Locked;

/// A device in the last callback: the core no longer knows it, so it has none of the methods of a
/// bound device.
pub(crate) struct Unregistered;

/// The contexts of a bound device, except for [`Normal`].
pub(crate) trait Context {}

impl Context for Opened {}
impl Context for Closing {}
impl Context for Locked {}

impl<T: Driver, C: Context> Deref for Device<T, C> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        // SAFETY: The layout does not depend on the context, and a device in any context is bound.
        unsafe { &*ptr::from_ref(self).cast() }
    }
}

impl<T: Driver> Device<T, Opened> {
    /// Lets the core answer a `VFIO_DEVICE_FEATURE` call: with an error of the feature, `ENOTTY` if
    /// it does not know the feature, 0, or for some features a file descriptor.
    pub(crate) fn core_ioctl_feature(&self, flags: u32, arg: FeatureArg) -> IoctlReturn {
        // SAFETY: The device is open during the call; the core checks the size and treats the
        // address as one of user space.
        IoctlReturn(unsafe {
            bindings::vfio_pci_core_ioctl_feature(
                self.as_vfio(),
                flags,
                arg.ptr.as_mut_ptr(),
                arg.size,
            )
        })
    }
}

impl<T: Driver> Device<T, Closing> {
    /// Whether the opening has failed, so that nobody ever had the device.
    ///
    /// This is not known of openings by a group with a container, or if there was no memory for the
    /// file: `false` then.
    pub(crate) fn has_failed(&self) -> bool {
        #[cfg(CONFIG_IOMMUFD)]
        {
            let vdev = self.as_vfio();
            // SAFETY: The device is valid, and the lock of the device set is held, under which all
            // of these are written.
            let (bound, attached, by_cdev) = unsafe {
                (
                    !(*vdev).iommufd_device.is_null(),
                    bindings::vfio_device::iommufd_attached_raw(vdev) != 0,
                    bindings::vfio_device::cdev_opened_raw(vdev) != 0,
                )
            };
            // An opening by the character device is marked when it has succeeded; for one by a
            // group the VFIO core itself attaches the device, which stays attached.
            bound && !attached && !by_cdev
        }
        #[cfg(not(CONFIG_IOMMUFD))]
        false
    }
}

impl<T: Driver> Device<T, Unregistered> {
    /// What VFIO knows of the PF that this VF had, which is still bound.
    pub(crate) fn sriov_pf(&self) -> SriovPf<'_, T> {
        // SAFETY: The layout does not depend on the context. Of a bound device the method below
        // requires only what lasts until this callback returns.
        let this: &Device<T> = unsafe { &*ptr::from_ref(self).cast() };
        this.sriov_pf()
    }
}

impl<T: Driver> Device<T, Locked> {
    /// How many virtual functions are enabled, 0 while SR-IOV is off.
    pub(crate) fn num_vfs(&self) -> c_int {
        #[cfg(CONFIG_PCI_IOV)]
        // SAFETY: `pdev` is valid.
        return unsafe { kernel::bindings::pci_num_vf(self.pdev_raw()) };
        #[cfg(not(CONFIG_PCI_IOV))]
        return 0;
    }

    /// Enables `num_vfs` virtual functions, or disables them all if it is 0, and returns how many
    /// are enabled then. Disabling waits until their users have closed them.
    ///
    /// # Errors
    ///
    /// Those of `vfio_pci_core_sriov_configure()`, for example `EINVAL` if VFs are enabled already.
    pub(crate) fn sriov_configure(&self, num_vfs: c_int) -> Result<c_int> {
        // SAFETY: The device is registered or about to be unregistered, and its lock is held.
        let ret = unsafe { bindings::vfio_pci_core_sriov_configure(self.as_raw(), num_vfs) };
        to_result(ret).map(|()| ret)
    }
}
