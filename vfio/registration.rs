// SPDX-License-Identifier: GPL-2.0-only

//! Registration of a VFIO PCI driver with the PCI bus.
//!
//! [`kernel::pci::Adapter`] does not fit: `vfio-pci-core` requires its own device as the driver
//! data, DMA must stay under the control of VFIO, and the driver needs a callback for SR-IOV.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::{
    attribute,
    bindings,
    driver::{
        DriverName,
        Names, //
    },
    Device,
    Driver,
    Id,
    Locked, //
};
use core::mem;
use kernel::{
    container_of,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    pci,
    prelude::*,
    types::Opaque, //
};

/// The operations of `vfio-pci-core` that every device uses.
static PCI_OPS: bindings::vfio_pci_device_ops = bindings::vfio_pci_device_ops {
    #[cfg(CONFIG_VFIO_PCI_DMABUF)]
    get_dmabuf_phys: Some(bindings::vfio_pci_core_get_dmabuf_phys),
    #[cfg(not(CONFIG_VFIO_PCI_DMABUF))]
    get_dmabuf_phys: None,
};

/// All devices match, but only if their `driver_override` names the driver: like every VFIO driver,
/// it binds to no device by itself.
static ID_TABLE: [kernel::bindings::pci_device_id; 2] = {
    // SAFETY: All fields are numbers.
    let end: kernel::bindings::pci_device_id = unsafe { mem::zeroed() };
    [
        kernel::bindings::pci_device_id {
            vendor: Id::ANY,
            device: Id::ANY,
            subvendor: Id::ANY,
            subdevice: Id::ANY,
            override_only: kernel::bindings::PCI_ID_F_VFIO_DRIVER_OVERRIDE,
            ..end
        },
        end,
    ]
};

/// A VFIO PCI driver, which is registered until this is dropped.
///
/// # Invariants
///
/// `driver` is registered with the PCI bus, and its callbacks are those of this type. `ops` is a
/// table of `T`, and that of every device that they create.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: Driver> {
    #[pin]
    driver: Opaque<kernel::bindings::pci_driver>,
    name: &'static DriverName<T>,
    ops: &'static bindings::vfio_device_ops,
}

// SAFETY: A driver may be unregistered from another thread than the one that registered it.
unsafe impl<T: Driver> Send for Registration<T> {}
// SAFETY: Through a shared reference, `add_id()` takes the locks that it needs, and all else only
// reads what never changes.
unsafe impl<T: Driver> Sync for Registration<T> {}

impl<T: Driver> Registration<T> {
    /// Registers the driver under a name. `module_name` is what `/sys/module` calls the module.
    ///
    /// # Errors
    ///
    /// Those of `pci_register_driver()`: `EBUSY` if there is a driver of that name.
    pub(crate) fn new(
        name: &'static DriverName<T>,
        module_name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result<Pin<KBox<Self>>> {
        Self::register(name, &name.ops, module_name, module)
    }

    /// Registers the driver once more, under another name. Devices of both names have the same
    /// table of operations, and so belong to the same driver; new VFs get the first name.
    ///
    /// # Errors
    ///
    /// As above.
    pub(crate) fn also_named(
        &self,
        name: &'static DriverName<T>,
        module_name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result<Pin<KBox<Self>>> {
        Self::register(name, self.ops, module_name, module)
    }

    fn register(
        name: &'static DriverName<T>,
        ops: &'static bindings::vfio_device_ops,
        module_name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result<Pin<KBox<Self>>> {
        let init = try_pin_init!(Self {
            name,
            ops,
            // Last, since devices may be bound before the registration returns.
            driver <- Opaque::try_ffi_init(move |slot: *mut kernel::bindings::pci_driver| {
                // SAFETY: `slot` is valid for writes, and a `struct pci_driver` may be all zeroes.
                let driver = unsafe {
                    slot.write_bytes(0, 1);
                    &mut *slot
                };
                driver.name = name.names.first.as_char_ptr();
                driver.id_table = ID_TABLE.as_ptr();
                driver.probe = Some(Self::probe);
                driver.remove = Some(Self::remove);
                driver.sriov_configure = Some(Self::sriov_configure);
                driver.err_handler = &raw const bindings::vfio_pci_core_err_handlers;
                driver.driver_managed_dma = true;
                driver.dev_groups = attribute::groups::<T>();
                // SAFETY: The driver is pinned, and unregistered before its memory goes away.
                // INVARIANT: On success the driver is registered.
                to_result(unsafe {
                    kernel::bindings::__pci_register_driver(
                        slot,
                        module.as_ptr(),
                        module_name.as_char_ptr(),
                    )
                })
            }),
        });
        KBox::pin_init(init, GFP_KERNEL)
    }

    /// Makes the driver bind devices with these IDs, those that exist and those that appear later.
    ///
    /// # Errors
    ///
    /// Those of `pci_add_dynid()`, for example `ENOMEM`.
    pub(crate) fn add_id(&self, id: &Id) -> Result {
        // SAFETY: The driver is registered by the type invariant.
        to_result(unsafe {
            kernel::bindings::pci_add_dynid(
                self.driver.get(),
                id.vendor,
                id.device,
                id.subvendor,
                id.subdevice,
                id.class,
                id.class_mask,
                0,
            )
        })
    }

    /// The names under which the driver is registered.
    pub(crate) fn names(&self) -> Names {
        self.name.names
    }

    /// # Safety
    ///
    /// Called by the PCI bus for a device that is being bound to the driver of a `Registration<T>`.
    unsafe extern "C" fn probe(
        pdev: *mut kernel::bindings::pci_dev,
        _id: *const kernel::bindings::pci_device_id,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The PCI bus sets `driver` before it calls this function.
            let driver = unsafe { Opaque::cast_from((*pdev).driver) };
            // SAFETY: Only the drivers of such registrations have this function.
            let this = unsafe { container_of!(driver.cast_mut(), Self, driver) };
            // SAFETY: `pdev` is valid.
            let dev = unsafe { &raw mut (*pdev).dev };

            // SAFETY: The size is that of the type that the ops table initialises; the table lives
            // as long as the module, and the device is detached from it before.
            let vdev = from_err_ptr(unsafe {
                bindings::_vfio_alloc_device(mem::size_of::<Device<T>>(), dev, (*this).ops)
            })?;
            let core = vdev.cast::<bindings::vfio_pci_core_device>();

            // SAFETY: The core requires that its device is the driver data, and `core` is valid.
            unsafe {
                kernel::bindings::dev_set_drvdata(dev, core.cast());
                (*core).pci_ops = &raw const PCI_OPS;
            }
            // SAFETY: `core` is initialised and not registered.
            if let Err(e) = to_result(unsafe { bindings::vfio_pci_core_register_device(core) }) {
                // SAFETY: `dev` is part of `pdev`, which is valid.
                if unsafe { (*dev).iommu_group }.is_null() {
                    // SAFETY: `pci::Device` transparently wraps a `struct pci_dev`.
                    let pdev = unsafe { &*pdev.cast::<pci::Device>() };
                    dev_warn!(
                        pdev,
                        "not bound: the device has no IOMMU group; enable the IOMMU in the \
                         firmware, and on an Intel machine boot with intel_iommu=on\n"
                    );
                }
                // SAFETY: The device is not registered.
                unsafe { Self::put(vdev) };
                return Err(e);
            }

            if T::HAS_REGISTERED {
                // SAFETY: The device is registered, and the bus holds its lock in this callback.
                T::registered(unsafe { Device::from_raw(vdev) });
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the PCI bus for a device that `probe` has bound.
    unsafe extern "C" fn remove(pdev: *mut kernel::bindings::pci_dev) {
        // SAFETY: `pdev` is valid.
        let data = unsafe { kernel::bindings::dev_get_drvdata(&raw const (*pdev).dev) };
        // CAST: `probe` has stored the device.
        let vdev = data.cast::<bindings::vfio_device>();

        if T::HAS_UNREGISTERING {
            // SAFETY: The device is registered, and the bus holds its lock in this callback.
            T::unregistering(unsafe { Device::from_raw(vdev) });
        }
        // SAFETY: The device is registered.
        unsafe { bindings::vfio_pci_core_unregister_device(vdev.cast()) };
        if T::HAS_UNREGISTERED {
            // SAFETY: The reference of `probe` keeps the device, and the bus still holds its lock.
            T::unregistered(unsafe { Device::from_raw(vdev) });
        }
        // SAFETY: The device is no longer registered, and this is the last use of it.
        unsafe { Self::put(vdev) };
    }

    /// Drops the reference to a device that `probe` has allocated.
    ///
    /// # Safety
    ///
    /// The device is not registered, and it is not used after this.
    unsafe fn put(vdev: *mut bindings::vfio_device) {
        // SAFETY: The caller's reference is still there.
        unsafe { Device::<T>::abandon(vdev) };
        // SAFETY: The reference of `_vfio_alloc_device()`, as in C's `vfio_put_device()`.
        unsafe { kernel::bindings::put_device(&raw mut (*vdev).device) };
    }

    /// # Safety
    ///
    /// Called by the PCI bus for a device that `probe` has bound.
    unsafe extern "C" fn sriov_configure(
        pdev: *mut kernel::bindings::pci_dev,
        num_vfs: c_int,
    ) -> c_int {
        // SAFETY: `probe` has stored the device, and it is bound during the call, in which the bus
        // holds its lock.
        let dev = unsafe {
            Device::<T, Locked>::from_raw(
                kernel::bindings::dev_get_drvdata(&raw const (*pdev).dev).cast(),
            )
        };

        from_result(|| {
            if T::HAS_SRIOV_CONFIGURE {
                T::sriov_configure(dev, num_vfs)
            } else {
                dev.sriov_configure(num_vfs)
            }
        })
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The driver is registered by the type invariant.
        unsafe { kernel::bindings::pci_unregister_driver(self.driver.get()) };
    }
}
