// SPDX-License-Identifier: GPL-2.0-only

//! The table of operations by which the VFIO core calls a driver.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

use super::{
    super::{
        bindings,
        name::Name,
        Closed,
        Closing,
        Device,
        FeatureArg,
        Uuid, //
    },
    Driver,
    Path, //
};
use core::{
    marker::PhantomData,
    mem,
    slice, //
};
use kernel::{
    error::from_result,
    prelude::*,
    uaccess::UserPtr, //
};

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
                // SAFETY: The lock of the device set is held. Nothing was kept before, since the
                // device was not open.
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
        // SAFETY: By the requirement of this function. Other devices that get the name after this
        // one look only at the address, which stays as it is.
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
        // It may contain a token nevertheless.
        if let Some(rest) = name.get_mut(dev.address().len()..) {
            rest.fill(0);
        }
        if T::HAS_MATCH_MALFORMED {
            T::match_malformed(dev);
        }
        EINVAL.to_errno()
    }

    /// The table of the driver under a name. The core also writes this name to `driver_override` of
    /// new VFs, so it must be that of the PCI driver.
    ///
    /// There is no `release`, see [`Device::abandon`].
    pub(super) const fn table(name: &'static CStr) -> bindings::vfio_device_ops {
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
