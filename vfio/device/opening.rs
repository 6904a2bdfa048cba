// SPDX-License-Identifier: GPL-2.0-only

//! The steps of opening a device, as values that the next step consumes.

use super::{
    super::{
        bindings,
        Driver, //
    },
    Device, //
};
use core::{
    mem,
    ops::Deref, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// A device that is being opened for the first time and is not enabled yet.
pub(crate) struct Closed<'a, T: Driver>(&'a Device<T>);

impl<'a, T: Driver> Closed<'a, T> {
    /// # Safety
    ///
    /// The device is in its `open_device` callback.
    pub(in crate::vfio) unsafe fn new(dev: &'a Device<T>) -> Self {
        Self(dev)
    }

    /// The device, which outlives an opening that fails.
    pub(crate) fn device(&self) -> &'a Device<T> {
        self.0
    }

    /// Enables the device: resets it, saves its state, sets up config space and BARs.
    ///
    /// # Errors
    ///
    /// Those of `vfio_pci_core_enable()`, for example `EAGAIN` if the device is locked.
    pub(crate) fn enable(self) -> Result<Enabled<'a, T>> {
        // SAFETY: The device is being opened and is not enabled, by the requirement of `new()`.
        to_result(unsafe { bindings::vfio_pci_core_enable(self.0.as_raw()) })?;
        Ok(Enabled(self.0))
    }
}

impl<T: Driver> Deref for Closed<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}

/// A device that is being opened and is enabled. It is disabled again if this is dropped.
pub(crate) struct Enabled<'a, T: Driver>(&'a Device<T>);

impl<T: Driver> Enabled<'_, T> {
    /// Whether [`Device::has_failed`] can tell, later, that this opening has failed.
    pub(crate) fn failure_will_be_known(&self) -> bool {
        #[cfg(CONFIG_IOMMUFD)]
        // SAFETY: The device is valid, and the lock of the device set is held, under which the
        // field is written.
        return unsafe { !(*self.0.as_vfio()).iommufd_device.is_null() };
        #[cfg(not(CONFIG_IOMMUFD))]
        false
    }

    /// Finishes the opening: from here on the device is in use.
    pub(in crate::vfio) fn finish(self) {
        // SAFETY: The device is enabled, and its opening is not finished yet.
        unsafe { bindings::vfio_pci_core_finish_enable(self.0.as_raw()) };
        mem::forget(self);
    }
}

impl<T: Driver> Deref for Enabled<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}

impl<T: Driver> Drop for Enabled<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The device is enabled, and the lock of its device set is held in `open_device`.
        unsafe { bindings::vfio_pci_core_disable(self.0.as_raw()) };
    }
}
