// SPDX-License-Identifier: GPL-2.0-only

//! PCI devices that are given to a driver by their addresses.
//!
//! C source: [`drivers/base/dd.c`](srctree/drivers/base/dd.c), `__device_set_driver_override()`.

use super::{
    bindings,
    chain::Chain,
    driver::Names,
    function,
    Address,
    Id, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr, //
};
use kernel::{
    bindings::{
        device,
        mutex_lock,
        mutex_unlock,
        notifier_block,
        pci_bus_type,
        pci_dev,
        pci_device_id, //
    },
    container_of,
    error::to_result,
    pci,
    prelude::*,
    str::BStr,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

/// Gives the PCI devices at some addresses to a driver by their `driver_override`, if they have no
/// driver; now or when they appear. When this is dropped, the overrides that it made are removed.
///
/// # Invariants
///
/// `notifier` is registered with the PCI bus, and its function is that of this type.
#[pin_data(PinnedDrop)]
pub(crate) struct Overrides {
    names: Names,
    wanted: Chain<Wanted>,
    #[pin]
    notifier: Opaque<notifier_block>,
}

/// The usual reason why a device is not given to the driver.
const HAS_DRIVER: &str = "it has a driver";

/// The address of a device that is wanted, whether it exists or not.
struct Wanted {
    address: Address,
    /// Whether the override of the device that is there was made here. Stays true for the next
    /// device if this one is removed while [`Overrides::give_present`] sets its override; then an
    /// equal override that somebody gives the next one is removed with the module.
    // Accesses are relaxed: the steps of a device's life (it appears, is found, is removed) are
    // ordered by the locks of the bus, and the last access comes after the notifier has been
    // unregistered, which waits for all of its calls.
    made: Atomic<bool>,
}

// SAFETY: A notifier may be unregistered by another thread than the one that registered it.
unsafe impl Send for Overrides {}
// SAFETY: All that a shared reference allows takes the locks that it needs.
unsafe impl Sync for Overrides {}

impl Overrides {
    /// From now on gives devices that appear to the driver of these names, by the first one. For
    /// those that exist already, call [`Overrides::give_present`] afterwards.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        names: Names,
        addresses: impl Iterator<Item = Address>,
    ) -> Result<impl PinInit<Self, Error>> {
        let mut wanted = Chain::new();
        for address in addresses {
            if !wanted.iter().any(|other: &Wanted| other.address == address) {
                let made = Atomic::new(false);
                wanted.push(Wanted { address, made })?;
            }
        }
        Ok(try_pin_init!(Self {
            names,
            wanted,
            // Last, since it may be called at once.
            notifier <- Opaque::try_ffi_init(|slot: *mut notifier_block| {
                // SAFETY: `slot` is valid for writes.
                unsafe {
                    slot.write(notifier_block {
                        notifier_call: Some(Self::event),
                        next: ptr::null_mut(),
                        // After the notifiers of VFIO's PFs, which give their VFs to their own
                        // driver.
                        priority: -1,
                    })
                };
                // SAFETY: The notifier is pinned, and unregistered before its memory goes away.
                // INVARIANT: On success it is registered.
                to_result(unsafe {
                    kernel::bindings::bus_register_notifier(&raw const pci_bus_type, slot)
                })
            }),
        }? Error))
    }

    /// Gives the devices that exist to the driver, which should be registered.
    pub(crate) fn give_present(&self) {
        for wanted in self.wanted.iter() {
            let at = wanted.address;
            let Some(pdev) = function::find(at) else {
                pr_info!(
                    "no device {:04x}:{:02x}:{:02x}.{:x} yet; it is bound when it appears\n",
                    at.domain,
                    at.bus,
                    at.device(),
                    at.function(),
                );
                continue;
            };
            let lock = DeviceLock::new(&pdev);
            let given = match lock.has_driver(self.names) {
                // If another driver is about to be bound, that waits for the lock and then checks
                // the override again.
                None => self.give(&pdev, wanted),
                Some(is_it) => {
                    if !is_it {
                        tell_kept(&pdev, self.names.first, HAS_DRIVER);
                    }
                    false
                }
            };
            drop(lock);
            if given {
                // SAFETY: The device is valid.
                let _ = unsafe { kernel::bindings::device_attach(as_dev(&pdev)) };
                // If the driver refuses the device, the driver core logs it.
            }
        }
    }

    /// Sets the override, if the device has none, and returns whether it names the driver. The
    /// driver core has no way to do both at once: what root writes there at this very moment is
    /// overwritten.
    fn give(&self, pdev: &pci::Device, wanted: &Wanted) -> bool {
        let is = |name: &CStr| match_override(pdev, name) == Some(true);
        let why = match match_override(pdev, self.names.first) {
            Some(_) if self.names.any(is) => return true,
            Some(_) => "its driver_override names another driver",
            None if set_override(pdev, self.names.first).is_err() => "there is not enough memory",
            None => {
                wanted.made.store(true, Relaxed);
                return true;
            }
        };
        tell_kept(pdev, self.names.first, why);
        false
    }

    /// # Safety
    ///
    /// Called by the PCI bus for the notifier of an `Overrides`, with the `struct device` of a PCI
    /// device that is valid during the call.
    unsafe extern "C" fn event(
        notifier: *mut notifier_block,
        action: c_ulong,
        dev: *mut c_void,
    ) -> c_int {
        // SAFETY: The notifier is part of an `Overrides`, of which all is initialised.
        let this = unsafe { &*container_of!(Opaque::cast_from(notifier), Self, notifier) };
        // SAFETY: On the PCI bus it is part of a `struct pci_dev`, which `pci::Device` wraps.
        let pdev = unsafe { &*container_of!(dev.cast::<device>(), pci_dev, dev).cast() };

        if let Ok(action) = u32::try_from(action) {
            match action {
                // No driver can have it yet, so the lock is not needed.
                kernel::bindings::bus_notifier_event_BUS_NOTIFY_ADD_DEVICE => {
                    if let Some(wanted) = this.wanted(pdev) {
                        this.give(pdev, wanted);
                    }
                }
                // The next device at that address has its own override.
                kernel::bindings::bus_notifier_event_BUS_NOTIFY_REMOVED_DEVICE => {
                    if let Some(wanted) = this.wanted(pdev) {
                        wanted.made.store(false, Relaxed);
                    }
                }
                _ => (),
            }
        }
        kernel::bindings::NOTIFY_DONE as c_int
    }

    fn wanted(&self, pdev: &pci::Device) -> Option<&Wanted> {
        let address = Address::parse(function::address(pdev))?;
        self.wanted.iter().find(|wanted| wanted.address == address)
    }
}

#[pinned_drop]
impl PinnedDrop for Overrides {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The notifier is registered by the type invariant. Afterwards it is not called.
        unsafe {
            kernel::bindings::bus_unregister_notifier(&raw const pci_bus_type, self.notifier.get())
        };
        for wanted in self.wanted.iter() {
            if !wanted.made.load(Relaxed) {
                continue;
            }
            if let Some(pdev) = function::find(wanted.address) {
                if match_override(&pdev, self.names.first) == Some(true) {
                    // Removing an override cannot fail.
                    let _ = set_override(&pdev, c"");
                }
            }
        }
    }
}

/// The lock of a device, under which drivers are bound and unbound.
struct DeviceLock<'a>(*mut device, PhantomData<&'a pci::Device>);

impl<'a> DeviceLock<'a> {
    fn new(pdev: &'a pci::Device) -> Self {
        let dev = as_dev(pdev);
        // SAFETY: The device is valid.
        unsafe { mutex_lock(&raw mut (*dev).mutex) };
        Self(dev, PhantomData)
    }

    /// Whether the device is bound to the driver of these names; `None` if it has no driver.
    fn has_driver(&self, names: Names) -> Option<bool> {
        // SAFETY: The device is valid. Under its lock the driver neither changes nor goes away.
        let driver = unsafe { (*self.0).driver.as_ref() }?;
        let is = |name: &CStr| {
            // SAFETY: Both are C strings; that of a driver is there as long as the driver.
            unsafe { kernel::bindings::strcmp(driver.name, name.as_char_ptr()) == 0 }
        };
        Some(names.any(is))
    }
}

impl Drop for DeviceLock<'_> {
    fn drop(&mut self) {
        // SAFETY: `new()` has taken the lock.
        unsafe { mutex_unlock(&raw mut (*self.0).mutex) };
    }
}

fn as_dev(pdev: &pci::Device) -> *mut device {
    let pdev = ptr::from_ref(pdev).cast_mut().cast::<pci_dev>();
    // SAFETY: `pci::Device` transparently wraps a valid `struct pci_dev`.
    unsafe { &raw mut (*pdev).dev }
}

/// Whether the device's override is `name`; `None` if it has none.
fn match_override(pdev: &pci::Device, name: &CStr) -> Option<bool> {
    // SAFETY: The device is valid, and the name a C string.
    let matches =
        unsafe { bindings::vfio_pci_rust_match_driver_override(as_dev(pdev), name.as_char_ptr()) };
    (matches >= 0).then_some(matches > 0)
}

/// Sets the device's override; an empty name removes it.
fn set_override(pdev: &pci::Device, name: &CStr) -> Result {
    // SAFETY: The device is valid, and the name a C string of that length.
    to_result(unsafe {
        let text = name.as_char_ptr();
        kernel::bindings::__device_set_driver_override(
            as_dev(pdev),
            text,
            kernel::bindings::strlen(text),
        )
    })
}

/// Logs that a device was not given to the driver, and the commands that move it.
#[cold]
fn tell_kept(pdev: &pci::Device, name: &CStr, why: &str) {
    let address = BStr::from_bytes(function::address(pdev));
    dev_warn!(
        pdev,
        "not given to {}, since {}; to move it: cd /sys/bus/pci/devices/{}; \
         echo {} >driver_override; echo {} >driver/unbind; echo {} >/sys/bus/pci/drivers_probe\n",
        name,
        why,
        address,
        name,
        address,
        address
    );
}

/// Logs which devices with these IDs are bound to another driver, which keeps them.
pub(crate) fn tell_kept_by(names: Names, id: &Id) {
    // SAFETY: All fields are numbers.
    let end: pci_device_id = unsafe { mem::zeroed() };
    let ids = [
        pci_device_id {
            vendor: id.vendor,
            device: id.device,
            subvendor: id.subvendor,
            subdevice: id.subdevice,
            class: id.class,
            class_mask: id.class_mask,
            ..end
        },
        end,
    ];
    let mut at = ptr::null_mut();
    loop {
        // SAFETY: `at` is null, or a device with a reference, which passes to the function.
        at = unsafe { kernel::bindings::pci_get_device(Id::ANY, Id::ANY, at) };
        // SAFETY: The function has returned a device with a reference, or null.
        let Some(pdev) = (unsafe { at.cast::<pci::Device>().as_ref() }) else {
            break;
        };
        // SAFETY: The device is valid, and the table ends with an entry of zeroes.
        let matches = !unsafe { kernel::bindings::pci_match_id(ids.as_ptr(), at) }.is_null();
        if matches && DeviceLock::new(pdev).has_driver(names) == Some(false) {
            tell_kept(pdev, names.first, HAS_DRIVER);
        }
    }
}
