// SPDX-License-Identifier: GPL-2.0-only

//! The callbacks of a VFIO PCI driver.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

use super::{
    bindings,
    name::Name,
    Closed,
    Closing,
    Device,
    Enabled,
    FeatureArg,
    Folder,
    IoctlReturn,
    Locked,
    Opened,
    Uuid, //
};
use core::{
    marker::PhantomData,
    mem,
    slice, //
};
use kernel::{
    device::Core,
    error::{
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    pci,
    prelude::*,
    uaccess::UserPtr, //
};

/// By which names devices find a driver.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// The one that devices are given to, and that the log has.
    pub(super) first: &'static CStr,
    /// A device of this one is the driver's, too.
    other: Option<&'static CStr>,
}

impl Names {
    pub(super) fn any(self, is: impl Fn(&CStr) -> bool) -> bool {
        is(self.first) || self.other.is_some_and(is)
    }
}

/// A driver under a name, which is that of its PCI driver and of the `driver_override` of its
/// devices.
pub(crate) struct DriverName<T: Driver> {
    pub(super) names: Names,
    pub(super) ops: bindings::vfio_device_ops,
    _driver: PhantomData<T>,
}

impl<T: Driver> DriverName<T> {
    /// The driver under the name `first`. `other` is one by which it is registered once more, if it
    /// is.
    pub(crate) const fn new(first: &'static CStr, other: Option<&'static CStr>) -> Self {
        Self {
            names: Names { first, other },
            ops: DriverVTable::<T>::table(first),
            _driver: PhantomData,
        }
    }
}

/// What a driver decides for every device that it binds, and what does not change until the device
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
    /// By `VFIO_GROUP_GET_DEVICE_FD`, as often as the group's user likes.
    Group,
    /// By `VFIO_DEVICE_BIND_IOMMUFD`, if it is not open yet.
    Cdev,
}

/// A VFIO PCI driver.
///
/// Whatever it does not override goes to `vfio-pci-core`.
#[vtable]
pub(crate) trait Driver: Sized + 'static {
    /// What the driver keeps for every bound device.
    type Data: Send + Sync;

    /// What the driver keeps for every open device: made when it is opened, dropped when it has
    /// been closed.
    type Open: Send;

    /// The files in sysfs of every bound device.
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

    /// Called when the device has been unregistered and nobody can have it open any more. It is the
    /// last call for it.
    fn unregistered(_dev: &Device<Self, Locked>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Opens the device for its first user.
    ///
    /// The driver enables the device with [`Closed::enable`] and returns the result with a value
    /// of its own. If it fails after that, the device is disabled again.
    fn open_device<'a>(_dev: Closed<'a, Self>) -> Result<(Enabled<'a, Self>, Self::Open)> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called after the device has been closed, or its opening has failed after `open_device`. What
    /// the driver kept for the opening has been dropped.
    fn close_device(_dev: &Device<Self, Closing>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Answers `VFIO_DEVICE_FEATURE`. `flags` are those of `struct vfio_device_feature`.
    fn device_feature(_dev: &Device<Self, Opened>, _flags: u32, _arg: FeatureArg) -> IoctlReturn {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Decides whether the device may be opened by somebody who presents `token`. Called before
    /// the device is opened, by the thread that opens it; the opening may still fail after this.
    fn match_token(_dev: &Device<Self>, _token: Option<&Uuid>, _path: Path) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when the device is opened by a name with something after the address that is no
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

/// The `struct vfio_device_ops` of a driver.
struct DriverVTable<T: Driver>(PhantomData<T>);

impl<T: Driver> DriverVTable<T> {
    /// # Safety
    ///
    /// Called by `_vfio_alloc_device()` with the size of `Device<T>`, from the probe callback.
    unsafe extern "C" fn init(vdev: *mut bindings::vfio_device) -> c_int {
        from_result(|| {
            // SAFETY: The memory is zeroed and large enough, and the VFIO core has initialised its
            // own part of it.
            unsafe { Device::<T>::init(vdev) }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFIO core with a registered device of `T`, with the lock of its device set
    /// held, while it is not open.
    unsafe extern "C" fn open_device(vdev: *mut bindings::vfio_device) -> c_int {
        // SAFETY: The device is registered for as long as it is being opened.
        let dev = unsafe { Device::<T>::from_raw(vdev) };
        // SAFETY: This is its `open_device` callback.
        let closed = unsafe { Closed::new(dev) };

        from_result(|| {
            if T::HAS_OPEN_DEVICE {
                let (enabled, open) = T::open_device(closed)?;
                // SAFETY: The lock of the device set is held. There is none, since the device was
                // not open.
                unsafe { dev.replace_open(Some(open)) };
                enabled.finish();
            } else {
                closed.enable()?.finish();
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFIO core with an open device of `T`, with the lock of its device set held.
    unsafe extern "C" fn close_device(vdev: *mut bindings::vfio_device) {
        // SAFETY: The device is registered for as long as it is open, and this is its
        // `close_device` callback.
        let dev = unsafe { Device::<T, Closing>::from_raw(vdev) };
        // SAFETY: `open_device` has succeeded for this device.
        unsafe { bindings::vfio_pci_core_close_device(vdev) };
        // SAFETY: The lock of the device set is held.
        drop(unsafe { dev.replace_open(None) });
        if T::HAS_CLOSE_DEVICE {
            T::close_device(dev);
        }
    }

    /// # Safety
    ///
    /// Called by the VFIO core with a device of `T` that is open during the call.
    unsafe extern "C" fn device_feature(
        vdev: *mut bindings::vfio_device,
        flags: u32,
        arg: *mut c_void,
        argsz: usize,
    ) -> c_int {
        // SAFETY: The device is open during the call, and therefore registered.
        let dev = unsafe { Device::from_raw(vdev) };
        let arg = FeatureArg::new(UserPtr::from_ptr(arg), argsz);
        T::device_feature(dev, flags, arg).0
    }

    /// # Safety
    ///
    /// Called by the VFIO core with a registered device of `T` that is being opened by its
    /// character device, with the lock of its device set held; `uuid` is null or a valid UUID.
    unsafe extern "C" fn match_token_uuid(
        vdev: *mut bindings::vfio_device,
        uuid: *const kernel::bindings::uuid_t,
    ) -> c_int {
        // SAFETY: The core keeps the device registered during the call.
        let dev = unsafe { Device::<T>::from_raw(vdev) };
        // SAFETY: `Uuid` is laid out as `uuid_t`.
        let uuid = unsafe { uuid.cast::<Uuid>().as_ref() };
        from_result(|| T::match_token(dev, uuid, Path::Cdev).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFIO core with a registered device of `T`; `name` is a string to which nobody
    /// else has access during the call.
    unsafe extern "C" fn match_(vdev: *mut bindings::vfio_device, name: *mut c_char) -> c_int {
        // SAFETY: The core keeps the device registered during the call.
        let dev = unsafe { Device::<T>::from_raw(vdev) };
        // SAFETY: By the requirement of this function. Who gets the name after this device looks at
        // the address alone, which stays as it is.
        let name =
            unsafe { slice::from_raw_parts_mut(name.cast::<u8>(), kernel::bindings::strlen(name)) };
        let mut token = Uuid::nil();
        let given = match Name::parse(name, dev.address()) {
            Name::Other => return 0,
            Name::Bare => None,
            Name::WithToken(place) => match name.get_mut(place).map(|t| token.parse_and_wipe(t)) {
                Some(Ok(())) => Some(&token),
                _ => return Self::malformed(dev, name),
            },
            Name::Malformed => return Self::malformed(dev, name),
        };
        from_result(|| T::match_token(dev, given, Path::Group).map(|()| 1))
    }

    fn malformed(dev: &Device<T>, name: &mut [u8]) -> c_int {
        // There may be a token in it all the same.
        if let Some(rest) = name.get_mut(dev.address().len()..) {
            rest.fill(0);
        }
        if T::HAS_MATCH_MALFORMED {
            T::match_malformed(dev);
        }
        EINVAL.to_errno()
    }

    /// The table of the driver under a name, which is also what the core writes into
    /// `driver_override` of new VFs, so it has to be that of the PCI driver.
    ///
    /// There is no `release`, see [`Device::abandon`].
    const fn table(name: &'static CStr) -> bindings::vfio_device_ops {
        bindings::vfio_device_ops {
            name: name.to_bytes_with_nul().as_ptr().cast_mut().cast(),
            init: Some(Self::init),
            open_device: Some(Self::open_device),
            close_device: Some(Self::close_device),
            device_feature: if T::HAS_DEVICE_FEATURE {
                Some(Self::device_feature)
            } else {
                Some(bindings::vfio_pci_core_ioctl_feature)
            },
            match_token_uuid: if T::HAS_MATCH_TOKEN {
                Some(Self::match_token_uuid)
            } else {
                Some(bindings::vfio_pci_core_match_token_uuid)
            },
            match_: if T::HAS_MATCH_TOKEN {
                Some(Self::match_)
            } else {
                Some(bindings::vfio_pci_core_match)
            },
            ioctl: Some(bindings::vfio_pci_core_ioctl),
            get_region_info_caps: Some(bindings::vfio_pci_ioctl_get_region_info),
            read: Some(bindings::vfio_pci_core_read),
            write: Some(bindings::vfio_pci_core_write),
            mmap: Some(bindings::vfio_pci_core_mmap),
            request: Some(bindings::vfio_pci_core_request),
            #[cfg(CONFIG_IOMMUFD)]
            bind_iommufd: Some(bindings::vfio_iommufd_physical_bind),
            #[cfg(CONFIG_IOMMUFD)]
            unbind_iommufd: Some(bindings::vfio_iommufd_physical_unbind),
            #[cfg(CONFIG_IOMMUFD)]
            attach_ioas: Some(bindings::vfio_iommufd_physical_attach_ioas),
            #[cfg(CONFIG_IOMMUFD)]
            detach_ioas: Some(bindings::vfio_iommufd_physical_detach_ioas),
            #[cfg(CONFIG_IOMMUFD)]
            pasid_attach_ioas: Some(bindings::vfio_iommufd_physical_pasid_attach_ioas),
            #[cfg(CONFIG_IOMMUFD)]
            pasid_detach_ioas: Some(bindings::vfio_iommufd_physical_pasid_detach_ioas),
            // SAFETY: All fields are functions that may be missing, or pointers.
            ..unsafe { mem::zeroed() }
        }
    }
}
