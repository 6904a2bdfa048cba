// SPDX-License-Identifier: GPL-2.0-only

//! A VFIO PCI driver: its names, and the callbacks that it overrides.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

mod vtable;

use self::vtable::DriverVTable;
use super::{
    bindings,
    Closed,
    Closing,
    Device,
    Enabled,
    FeatureArg,
    Folder,
    IoctlReturn,
    Locked,
    Opened,
    Unregistered,
    Uuid, //
};
use core::marker::PhantomData;
use kernel::{
    device::Core,
    error::VTABLE_DEFAULT_ERROR,
    pci,
    prelude::*, //
};

/// The names under which a driver is registered.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// The name that devices are given to, and that appears in the log.
    pub(super) first: &'static CStr,
    /// A second name. Its devices belong to the driver, too.
    other: Option<&'static CStr>,
}

impl Names {
    /// Whether one of them is what is asked for.
    pub(crate) fn any(self, is: impl Fn(&CStr) -> bool) -> bool {
        is(self.first) || self.other.is_some_and(is)
    }
}

/// A driver under a name: that of its PCI driver, and the `driver_override` of its devices.
pub(crate) struct DriverName<T: Driver> {
    pub(super) names: Names,
    pub(super) ops: bindings::vfio_device_ops,
    _driver: PhantomData<T>,
}

impl<T: Driver> DriverName<T> {
    /// The driver under the name `first`. `other` is the second name under which it is registered,
    /// if there is one.
    pub(crate) const fn new(first: &'static CStr, other: Option<&'static CStr>) -> Self {
        Self {
            names: Names { first, other },
            ops: DriverVTable::<T>::table(first),
            _driver: PhantomData,
        }
    }
}

/// What a driver chooses for every device that it binds, and what does not change until the device
/// is unbound. Everything is off by default.
#[derive(Default)]
pub(crate) struct Options {
    /// Never mask INTx in the device.
    pub(crate) nointxmask: bool,
    /// Give no access to VGA resources.
    pub(crate) disable_vga: bool,
    /// Keep the device in D0 while nobody has it open.
    pub(crate) disable_idle_d3: bool,
}

/// How a device is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// By `VFIO_GROUP_GET_DEVICE_FD`, any number of times.
    Group,
    /// By `VFIO_DEVICE_BIND_IOMMUFD`, only if it is not open yet.
    Cdev,
}

/// A VFIO PCI driver.
///
/// Callbacks that it does not override are those of `vfio-pci-core`.
#[vtable]
pub(crate) trait Driver: Sized + 'static {
    /// What the driver keeps for every bound device.
    type Data: Send + Sync;

    /// What the driver keeps for every open device: made when it is opened, dropped when it has
    /// been closed.
    type Open: Send;

    /// The files of every bound device in sysfs.
    const FOLDER: Option<&'static Folder<Self>> = None;

    /// The options of a device that is being bound.
    fn options() -> Options {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes the data of a device that is being bound.
    ///
    /// # Errors
    ///
    /// Any error keeps the device from being bound.
    fn init(pdev: &pci::Device<Core<'_>>) -> impl PinInit<Self::Data, Error>;

    /// Called after the device is registered. Users may already have opened it.
    fn registered(_dev: &Device<Self, Locked>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when the device is about to be unregistered. Users may still have it open; the
    /// driver core waits for them after this call.
    fn unregistering(_dev: &Device<Self, Locked>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when the device has been unregistered and can no longer be open. It is the last call
    /// for the device.
    fn unregistered(_dev: &Device<Self, Unregistered>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Opens the device for its first user.
    ///
    /// The driver enables the device with [`Closed::enable`] and returns the result with a value
    /// of its own. If it fails after that, the device is disabled again.
    fn open_device<'a>(_dev: Closed<'a, Self>) -> Result<(Enabled<'a, Self>, Self::Open)> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called after the device has been closed, or its opening has failed after `open_device`. The
    /// [`Driver::Open`] of the opening has been dropped.
    fn close_device(_dev: &Device<Self, Closing>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Answers `VFIO_DEVICE_FEATURE`. `flags` are those of `struct vfio_device_feature`.
    fn device_feature(_dev: &Device<Self, Opened>, _flags: u32, _arg: FeatureArg) -> IoctlReturn {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Decides whether a program that presents `token` may open the device. Called before the
    /// device is opened, by the thread that opens it; the opening may still fail after this.
    fn match_token(_dev: &Device<Self>, _token: Option<&Uuid>, _path: Path) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when the device is opened by a name in which the text after the address is not a
    /// token.
    fn match_malformed(_dev: &Device<Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Enables `num_vfs` virtual functions or, if it is 0, disables them, and returns how many
    /// there are.
    fn sriov_configure(_dev: &Device<Self, Locked>, _num_vfs: c_int) -> Result<c_int> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
