// SPDX-License-Identifier: GPL-2.0-only

//! The VFs of a PF that are not bound to the driver of the PF.
//!
//! If another VFIO driver has one, `vfio-pci-core` counts it as open only when its opening is done,
//! which takes as long as a reset. Until then the VFIO core holds the lock of the VF's device set;
//! whoever opens the VF by its character device is asked for the token under that lock, too, and
//! whoever opens it by its group, just before. And while a driver is bound or unbound the driver core
//! holds the lock of the device.
//!
//! C source: [`drivers/vfio/vfio_main.c`](srctree/drivers/vfio/vfio_main.c), `vfio_df_open()`.

use super::{
    bindings,
    Device,
    Driver, //
};
use core::ptr::{
    self,
    NonNull, //
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

/// The VFs of a PF that are not bound to the PF's driver. As long as this lives, none of them is
/// bound, unbound, opened or closed, but for an opening by group that waits for this to end.
pub(crate) struct ForeignVfs<'a> {
    held: Option<KBox<HeldVf>>,
    own: u32,
    // Dropped after the VFs, whose locks it allows to hold together.
    _outer: Guard<'a, (), MutexBackend>,
}

impl ForeignVfs<'_> {
    fn push(&mut self, vf: HeldVf) -> Result {
        let mut vf = KBox::new(vf, GFP_KERNEL)?;
        vf.next = self.held.take();
        self.held = Some(vf);
        Ok(())
    }

    /// How many other VFs there were, which are bound to the PF's driver and not held.
    pub(crate) fn own(&self) -> u32 {
        self.own
    }
}

impl<T: Driver> Device<T> {
    /// Holds the VFs of this PF that are not bound to its driver. Waits for nobody who does something
    /// with one of them.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if one of them is just being bound, unbound, opened, closed or reset.
    /// - `ENOMEM`.
    pub(crate) fn hold_foreign_vfs(&self) -> Result<ForeignVfs<'_>> {
        let mut vfs = ForeignVfs {
            held: None,
            own: 0,
            _outer: self.foreign_lock().lock(),
        };
        let mut all = Vfs {
            pf: self.pdev_raw(),
            at: ptr::null_mut(),
        };
        while let Some(vf) = all.next() {
            match Registered::of(self, vf) {
                Found::Own => vfs.own = vfs.own.saturating_add(1),
                Found::Foreign(vdev) => {
                    let mut held = HeldVf::new(vf, Some(vdev));
                    held.lock_set(self.foreign_lock())?;
                    vfs.push(held)?;
                }
                Found::Nothing => vfs.push(HeldVf::new(vf, None))?,
            }
        }
        // Not before: who opens, closes or resets a VF tries this lock, too, with the other one held.
        let mut next = &mut vfs.held;
        while let Some(held) = next {
            held.lock_device(self.foreign_lock())?;
            // Bound since it was looked at.
            if held.vdev.is_none() && !matches!(Registered::of(self, held.vf), Found::Nothing) {
                return Err(EBUSY);
            }
            next = &mut held.next;
        }
        Ok(vfs)
    }
}

impl Drop for ForeignVfs<'_> {
    fn drop(&mut self) {
        // One after the other, and not one inside of the other.
        while let Some(mut vf) = self.held.take() {
            self.held = vf.next.take();
        }
    }
}

/// The VFs of a PF, one after the other.
///
/// # Invariants
///
/// `pf` is valid. `at` is null or a VF to which this has a reference.
struct Vfs {
    pf: *mut pci_dev,
    at: *mut pci_dev,
}

impl Vfs {
    /// The next one, which is there until this is called again.
    fn next(&mut self) -> Option<NonNull<pci_dev>> {
        // SAFETY: By the type invariants. The function takes over the reference to `at`.
        // INVARIANT: It returns null, or a VF with a reference.
        self.at = unsafe { bindings::vfio_pci_rust_next_vf(self.pf, self.at) };
        NonNull::new(self.at)
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { kernel::bindings::pci_dev_put(self.at) };
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

/// A VF that is registered with the VFIO core, and stays so as long as this lives.
///
/// # Invariants
///
/// `vdev` is registered, and this has one of the references that its unregistration waits for.
struct Registered {
    vdev: NonNull<bindings::vfio_device>,
}

impl Registered {
    fn of<T: Driver>(pf: &Device<T>, vf: NonNull<pci_dev>) -> Found {
        let mut search = Search {
            // SAFETY: `pf` is registered, so its class is that of all devices of VFIO.
            class: unsafe { (*pf.as_vfio()).device.class },
            found: ptr::null_mut(),
        };
        // SAFETY: `vf` is valid, and the function gets the data that it wants.
        unsafe {
            kernel::bindings::device_for_each_child(
                &raw mut (*vf.as_ptr()).dev,
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

    /// The lock of the device set.
    fn lock(&self) -> *mut mutex {
        // SAFETY: By the type invariants; a registered device has a device set.
        unsafe { &raw mut (*(*self.vdev.as_ptr()).dev_set).lock }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::vfio_device_put_registration(self.vdev.as_ptr()) };
    }
}

/// Looks for the device of VFIO among the children of a PCI device.
struct Search {
    class: *const class,
    found: *mut bindings::vfio_device,
}

impl Search {
    /// Takes a reference to the registration of `child`, if it is a registered device of VFIO.
    ///
    /// There is none to `child` itself: if that were the last one, the driver's module might be gone.
    ///
    /// # Safety
    ///
    /// `child` is valid, `data` is a `Search` that nobody else uses meanwhile.
    unsafe extern "C" fn look(child: *mut device, data: *mut c_void) -> c_int {
        // SAFETY: By the requirement of this function.
        let (this, of_child) = unsafe { (&mut *data.cast::<Self>(), (*child).class) };
        if !ptr::eq(of_child, this.class) {
            return 0;
        }
        // SAFETY: Devices of that class are part of a `struct vfio_device`.
        let vdev = unsafe { container_of!(child, bindings::vfio_device, device) };
        // SAFETY: `vdev` is valid.
        if unsafe { bindings::vfio_device_try_get_registration(vdev) } {
            this.found = vdev;
        }
        1
    }
}

/// A VF that is not bound to the driver of its PF.
///
/// # Invariants
///
/// - This has a reference to `vf`.
/// - If `set_locked`, this holds the lock of the device set of `vdev`, which there is.
/// - If `device_locked`, this holds the lock of `vf`.
struct HeldVf {
    next: Option<KBox<HeldVf>>,
    vf: NonNull<pci_dev>,
    vdev: Option<Registered>,
    set_locked: bool,
    device_locked: bool,
}

// Neither lock is waited for: who opens a VF has them for long, and can make that last, since user
// memory is read under that of the device set.
impl HeldVf {
    fn new(vf: NonNull<pci_dev>, vdev: Option<Registered>) -> Self {
        // SAFETY: `vf` is valid.
        // INVARIANT: This takes the reference; no lock is held.
        unsafe { kernel::bindings::pci_dev_get(vf.as_ptr()) };
        Self {
            next: None,
            vf,
            vdev,
            set_locked: false,
            device_locked: false,
        }
    }

    fn device_lock(&self) -> *mut mutex {
        // SAFETY: `vf` is valid by the type invariants.
        unsafe { &raw mut (*self.vf.as_ptr()).dev.mutex }
    }

    /// Takes the lock of the device set, if there is one, with `outer` held.
    fn lock_set(&mut self, outer: &Mutex<()>) -> Result {
        if let Some(vdev) = &self.vdev {
            // INVARIANT: The function tells whether the lock has been taken.
            self.set_locked = try_lock(vdev.lock(), outer);
            return self.set_locked.then_some(()).ok_or(EBUSY);
        }
        Ok(())
    }

    /// Takes the lock of the device, with `outer` held.
    fn lock_device(&mut self, outer: &Mutex<()>) -> Result {
        // INVARIANT: As above.
        self.device_locked = try_lock(self.device_lock(), outer);
        self.device_locked.then_some(()).ok_or(EBUSY)
    }
}

/// Takes one of many locks that are held together only with `outer` held.
fn try_lock(lock: *mut mutex, outer: &Mutex<()>) -> bool {
    // SAFETY: The callers have a valid lock; `Mutex` starts with C's.
    unsafe {
        bindings::vfio_pci_rust_mutex_trylock_nest_lock(
            lock,
            ptr::from_ref(outer).cast_mut().cast(),
        )
    }
}

impl Drop for HeldVf {
    fn drop(&mut self) {
        if self.device_locked {
            // SAFETY: This holds the lock by the type invariants.
            unsafe { kernel::bindings::mutex_unlock(self.device_lock()) };
        }
        if let (true, Some(vdev)) = (self.set_locked, &self.vdev) {
            // SAFETY: As above.
            unsafe { kernel::bindings::mutex_unlock(vdev.lock()) };
        }
        // SAFETY: This has the reference.
        unsafe { kernel::bindings::pci_dev_put(self.vf.as_ptr()) };
    }
}
