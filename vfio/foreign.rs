// SPDX-License-Identifier: GPL-2.0-only

//! Foreign VFs: those of a PF that are not bound to the driver of the PF.
//!
//! If one is bound to another VFIO driver, `vfio-pci-core` counts it as open only at the end of its
//! opening, which takes as long as a reset. Until then the VFIO core holds the lock of the VF's
//! device set. It checks the token of an opening by character device under that lock, too, and the
//! token of an opening by group just before. While a driver is bound or unbound, the driver core
//! holds the lock of the device.
//!
//! C source: [`drivers/vfio/vfio_main.c`](srctree/drivers/vfio/vfio_main.c), `vfio_df_open()`.

use super::{
    bindings,
    chain::Chain,
    Device,
    Driver, //
};
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings::{
        class,
        device,
        mutex,
        pci_dev, //
    },
    container_of,
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Mutex, //
    }, //
};

/// The foreign VFs of a PF. As long as this lives, none of them is bound, unbound, opened or
/// closed. Only an opening by group can have begun; it waits until this is dropped.
///
/// # Invariants
///
/// The locks of all VFs in the list are held, and so is `outer`, which allows that.
pub(crate) struct ForeignVfs<'a> {
    _held: Chain<HeldVf>,
    // Dropped after the VFs.
    _outer: Outer<'a>,
}

/// The lock that must be held to take the locks of more than one VF.
type Outer<'a> = Guard<'a, (), MutexBackend>;

impl<T: Driver> Device<T> {
    /// Holds the foreign VFs of this PF. If one of their locks is taken, it fails and does not
    /// wait.
    ///
    /// # Errors
    ///
    /// - `EAGAIN` if one of them is just being bound, unbound, opened, closed or reset.
    /// - `ENOMEM`.
    pub(crate) fn hold_foreign_vfs(&self) -> Result<ForeignVfs<'_>> {
        let outer = self.foreign_lock().lock();
        let mut held = Chain::new();
        let mut all = Vfs {
            pf: self.pdev_raw(),
            at: None,
        };
        while let Some(vf) = all.next() {
            match Registered::of(self, &vf) {
                Found::Own => (),
                Found::Foreign(vdev) => held.push(HeldVf::new(vf, Some(vdev)))?,
                Found::Nothing => held.push(HeldVf::new(vf, None))?,
            }
        }
        held.for_each_mut(|vf| vf.lock_set(&outer))?;
        // The device locks come last: an opening tries that of its device with the lock of the set
        // held, and would fail if it were taken.
        held.for_each_mut(|vf| vf.lock_device(&outer))?;
        // Check that none has been bound since the list was made.
        held.for_each_mut(|vf| match (&vf.vdev, Registered::of(self, &vf.vf)) {
            (None, Found::Own | Found::Foreign(_)) => Err(EAGAIN),
            _ => Ok(()),
        })?;
        // INVARIANT: All locks have been taken.
        Ok(ForeignVfs {
            _held: held,
            _outer: outer,
        })
    }
}

impl<T: Driver> Device<T> {
    /// How many foreign VFs of this PF are open, or just being opened.
    pub(crate) fn open_foreign_vfs(&self) -> u64 {
        let mut all = Vfs {
            pf: self.pdev_raw(),
            at: None,
        };
        let mut open = 0_u64;
        while let Some(vf) = all.next() {
            if let Found::Foreign(found) = Registered::of(self, &vf) {
                open = u64::saturating_add(open, found.is_open().into());
            }
        }
        open
    }
}

/// A reference to a VF.
///
/// # Invariants
///
/// The device is valid, and this has a reference to it.
struct Vf(NonNull<pci_dev>);

impl Vf {
    fn as_dev(&self) -> *mut device {
        // SAFETY: By the type invariant.
        unsafe { &raw mut (*self.0.as_ptr()).dev }
    }
}

impl Clone for Vf {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant.
        // INVARIANT: This takes the reference.
        unsafe { kernel::bindings::pci_dev_get(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for Vf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { kernel::bindings::pci_dev_put(self.0.as_ptr()) };
    }
}

/// The VFs of a PF, one after the other.
///
/// # Invariants
///
/// `pf` is valid.
struct Vfs {
    pf: *mut pci_dev,
    at: Option<Vf>,
}

impl Vfs {
    fn next(&mut self) -> Option<Vf> {
        let at = self.at.take().map_or(ptr::null_mut(), |vf| {
            let at = vf.0.as_ptr();
            // The function below drops the reference.
            mem::forget(vf);
            at
        });
        // SAFETY: `pf` is valid by the type invariant; `at` is null, or a device with a reference,
        // which passes to the function.
        let next = unsafe { bindings::vfio_pci_rust_next_vf(self.pf, at) };
        // INVARIANT: The function has taken a reference.
        self.at = NonNull::new(next).map(Vf);
        self.at.clone()
    }
}

/// What the VFIO core knows of a VF.
enum Found {
    /// Nothing: it is not registered.
    Nothing,
    /// It is registered by the driver of its PF.
    Own,
    /// It is registered by another driver.
    Foreign(Registered),
}

/// A VF that is registered with the VFIO core, and stays registered as long as this lives.
///
/// # Invariants
///
/// `vdev` is registered, and this has one of the references that its unregistration waits for.
struct Registered {
    vdev: NonNull<bindings::vfio_device>,
}

impl Registered {
    fn of<T: Driver>(pf: &Device<T>, vf: &Vf) -> Found {
        let mut search = Search {
            // SAFETY: `pf` is valid, and the VFIO core has set its class, that of all VFIO devices,
            // when it allocated it.
            class: unsafe { (*pf.as_vfio()).device.class },
            found: ptr::null_mut(),
        };
        // SAFETY: The device is valid; `search` outlives the call, and nobody else uses it. The
        // walk may drop the last reference to a child, see `look()`.
        unsafe {
            kernel::bindings::device_for_each_child(
                vf.as_dev(),
                (&raw mut search).cast(),
                Some(Search::look),
            )
        };
        let Some(vdev) = NonNull::new(search.found) else {
            return Found::Nothing;
        };
        // INVARIANT: `look()` has taken a reference to the registration.
        let this = Self { vdev };
        // SAFETY: Both are registered, and the table of a device does not change while it is.
        if unsafe { (*vdev.as_ptr()).ops == (*pf.as_vfio()).ops } {
            Found::Own
        } else {
            Found::Foreign(this)
        }
    }
}

impl Registered {
    fn is_open(&self) -> bool {
        // SAFETY: `vdev` is registered. A volatile read is what `READ_ONCE()` is in C. The answer
        // is only shown to people, and may be out of date.
        unsafe { (&raw const (*self.vdev.as_ptr()).open_count).read_volatile() != 0 }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::vfio_device_put_registration(self.vdev.as_ptr()) };
    }
}

/// A search for the VFIO device among the children of a PCI device.
struct Search {
    class: *const class,
    found: *mut bindings::vfio_device,
}

impl Search {
    /// Takes a reference to the registration of `child`, if it is a registered VFIO device.
    ///
    /// The walk through the children holds a reference to each for a moment. If `child` is no
    /// longer registered, that reference can be the last one, dropped when the driver of `child`
    /// may be gone. The same is true for everybody else who looks at the devices of the VFIO class.
    ///
    /// # Safety
    ///
    /// `child` is valid during the call, `data` is a `Search` that nobody else uses meanwhile.
    unsafe extern "C" fn look(child: *mut device, data: *mut c_void) -> c_int {
        // SAFETY: By the requirement of this function.
        let (this, of_child) = unsafe { (&mut *data.cast::<Self>(), (*child).class) };
        if !ptr::eq(of_child, this.class) {
            return 0;
        }
        // SAFETY: Devices of that class are part of a `struct vfio_device`.
        let vdev = unsafe { container_of!(child, bindings::vfio_device, device) };
        // SAFETY: It is as valid as `child`.
        if unsafe { bindings::vfio_device_try_get_registration(vdev) } {
            this.found = vdev;
        }
        1
    }
}

/// A mutex that is held.
///
/// # Invariants
///
/// The lock is held, and valid as long as this lives.
struct Locked(*mut mutex);

impl Locked {
    /// Takes the lock if it is free, and does not wait for it: the opening of a VF holds its locks
    /// for long, and its user can prolong that, since VFIO reads user memory under the lock of the
    /// device set.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the lock is taken.
    ///
    /// # Safety
    ///
    /// The lock is valid as long as the returned value lives.
    unsafe fn try_new(lock: *mut mutex, outer: &Outer<'_>) -> Result<Self> {
        let outer: *const Mutex<()> = outer.lock_ref();
        // SAFETY: `lock` is valid; `Mutex<()>` is laid out as C's, and that one is held.
        let locked = unsafe {
            bindings::vfio_pci_rust_mutex_trylock_nest_lock(lock, outer.cast_mut().cast())
        };
        if !locked {
            return Err(EAGAIN);
        }
        // INVARIANT: The lock has been taken.
        Ok(Self(lock))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { kernel::bindings::mutex_unlock(self.0) };
    }
}

/// A foreign VF, with those of its locks that have been taken.
struct HeldVf {
    // In the order in which they are dropped.
    device_lock: Option<Locked>,
    set_lock: Option<Locked>,
    vdev: Option<Registered>,
    vf: Vf,
}

impl HeldVf {
    fn new(vf: Vf, vdev: Option<Registered>) -> Self {
        Self {
            device_lock: None,
            set_lock: None,
            vdev,
            vf,
        }
    }

    /// Takes the lock of the device set, if the VF is registered with the VFIO core.
    fn lock_set(&mut self, outer: &Outer<'_>) -> Result {
        let Some(vdev) = &self.vdev else {
            return Ok(());
        };
        // SAFETY: `vdev` is registered. The field was written before the device became a child, and
        // the lock of the list in which `look()` has found it makes that visible.
        let set = unsafe { (*vdev.vdev.as_ptr()).dev_set };
        if set.is_null() {
            return Err(EAGAIN);
        }
        // SAFETY: The set lives as long as `vdev`, which is dropped after the lock.
        self.set_lock = Some(unsafe { Locked::try_new(&raw mut (*set).lock, outer) }?);
        Ok(())
    }

    fn lock_device(&mut self, outer: &Outer<'_>) -> Result {
        let dev = self.vf.as_dev();
        // SAFETY: The lock is part of `vf`, which is dropped after it.
        self.device_lock = Some(unsafe { Locked::try_new(&raw mut (*dev).mutex, outer) }?);
        Ok(())
    }
}
