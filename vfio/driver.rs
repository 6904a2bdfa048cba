// SPDX-License-Identifier: GPL-2.0-only

//! The callbacks of a VFIO PCI driver.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

use super::{
    bindings,
    result::from_result,
    Closed,
    Device,
    Enabled,
    FeatureArg,
    IoctlReturn,
    Locked,
    Options,
    Uuid, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr, //
};
use kernel::{
    device::Core,
    error::VTABLE_DEFAULT_ERROR,
    pci,
    prelude::*,
    uaccess::UserPtr, //
};

/// A VFIO PCI driver.
///
/// Whatever it does not override goes to `vfio-pci-core`.
#[vtable]
pub(crate) trait Driver: Sized + 'static {
    /// What the driver keeps for every bound device.
    type Data: Send + Sync;

    /// What the driver keeps for every open device: made when it is opened, dropped after it is
    /// closed.
    type Open: Send;

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

    /// Called after the device is registered and before it is unregistered, in this order:
    /// `registered`, any of the others, `unregistering`. Users may already have opened the device.
    fn registered(_dev: &Locked<'_, Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when the device is about to be unregistered. Users may still have it open; the
    /// driver core waits for them after this call.
    fn unregistering(_dev: &Locked<'_, Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Opens the device for its first user.
    ///
    /// The driver enables the device with [`Closed::enable`] and returns the result with a value
    /// of its own. If it fails after that, the device is disabled again.
    fn open_device<'a>(_dev: Closed<'a, Self>) -> Result<(Enabled<'a, Self>, Self::Open)> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Answers `VFIO_DEVICE_FEATURE`. `flags` are those of `struct vfio_device_feature`.
    fn device_feature(_dev: &Device<Self>, _flags: u32, _arg: FeatureArg) -> IoctlReturn {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Decides whether the device may be opened by somebody who presents `token`. Called before
    /// the device is opened, and possibly without that it will be.
    fn match_token_uuid(_dev: &Device<Self>, _token: Option<&Uuid>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Enables `num_vfs` virtual functions or, if it is 0, disables them, and returns how many
    /// there are.
    fn sriov_configure(_dev: &Locked<'_, Self>, _num_vfs: c_int) -> Result<c_int> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The `struct vfio_device_ops` of a driver.
pub(super) struct DriverVTable<T: Driver>(PhantomData<T>);

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
    /// Called by the VFIO core for the last reference to a device that `init` has initialised.
    unsafe extern "C" fn release(vdev: *mut bindings::vfio_device) {
        // SAFETY: The requirement of this function.
        unsafe { Device::<T>::release(vdev) }
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
                // SAFETY: The lock of the device set is held.
                let previous = unsafe { dev.replace_open(Some(open)) };
                enabled.finish();
                drop(previous);
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
        // SAFETY: The device is registered for as long as it is open.
        let dev = unsafe { Device::<T>::from_raw(vdev) };
        // SAFETY: `open_device` has succeeded for this device.
        unsafe { bindings::vfio_pci_core_close_device(vdev) };
        // SAFETY: The lock of the device set is held.
        drop(unsafe { dev.replace_open(None) });
    }

    /// # Safety
    ///
    /// Called by the VFIO core with a registered device of `T`.
    unsafe extern "C" fn device_feature(
        vdev: *mut bindings::vfio_device,
        flags: u32,
        arg: *mut c_void,
        argsz: usize,
    ) -> c_int {
        // SAFETY: The caller holds the device open.
        let dev = unsafe { Device::<T>::from_raw(vdev) };
        let arg = FeatureArg::new(UserPtr::from_ptr(arg), argsz);
        T::device_feature(dev, flags, arg).to_raw()
    }

    /// # Safety
    ///
    /// Called by the VFIO core with a registered device of `T`; `uuid` is null or a valid UUID.
    unsafe extern "C" fn match_token_uuid(
        vdev: *mut bindings::vfio_device,
        uuid: *const kernel::bindings::uuid_t,
    ) -> c_int {
        // SAFETY: The core keeps the device registered during the call.
        let dev = unsafe { Device::<T>::from_raw(vdev) };
        // SAFETY: `Uuid` is laid out as `uuid_t`.
        let uuid = unsafe { uuid.cast::<Uuid>().as_ref() };
        from_result(|| T::match_token_uuid(dev, uuid).map(|()| 0))
    }

    /// The table of a driver without a name. It is copied as a whole: code that writes one address
    /// after the other is twice as large.
    const OPS: bindings::vfio_device_ops = bindings::vfio_device_ops {
        name: ptr::null_mut(),
        init: Some(Self::init),
        release: Some(Self::release),
        open_device: Some(Self::open_device),
        close_device: Some(Self::close_device),
        device_feature: if T::HAS_DEVICE_FEATURE {
            Some(Self::device_feature)
        } else {
            Some(bindings::vfio_pci_core_ioctl_feature)
        },
        match_token_uuid: if T::HAS_MATCH_TOKEN_UUID {
            Some(Self::match_token_uuid)
        } else {
            Some(bindings::vfio_pci_core_match_token_uuid)
        },
        match_: Some(bindings::vfio_pci_core_match),
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
    };

    /// Makes the table for a driver called `name`.
    ///
    /// The name is also what the core writes into `driver_override` of new VFs, so it has to be
    /// that of the PCI driver.
    pub(super) fn build(name: &'static CStr) -> bindings::vfio_device_ops {
        let mut ops = Self::OPS;
        ops.name = name.as_char_ptr().cast_mut();
        ops
    }
}
