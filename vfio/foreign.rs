// SPDX-License-Identifier: GPL-2.0-only

//! The VFs of a PF that are bound to other VFIO drivers than the PF.
//!
//! `vfio-pci-core` counts a VF as open only when its opening is done, which takes as long as a reset.
//! What tells earlier is the number of its users, which the VFIO core keeps under the lock of the
//! VF's device set. Whoever opens a VF by its character device is asked for the token under that
//! lock, too; whoever opens it by its group, just before.
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

/// The VFs of a PF that other VFIO drivers have. As long as this lives, none of them is opened or
/// closed.
pub(crate) struct ForeignVfs<'a> {
    _vfs: KVec<HeldVf>,
    // Dropped after the VFs, whose locks it allows to hold together.
    _outer: Guard<'a, (), MutexBackend>,
}

impl<T: Driver> Device<T> {
    /// Holds the VFs of this PF that are bound to other VFIO drivers. Waits for nobody who opens or
    /// closes one of them.
    ///
    /// A VF is not seen before it is registered with the VFIO core, and not any more once its driver
    /// is being unbound.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if one of them is open, or is just being opened or closed.
    /// - `ENOMEM`.
    pub(crate) fn hold_foreign_vfs(&self) -> Result<ForeignVfs<'_>> {
        let outer = self.foreign_lock().lock();
        let mut held = KVec::new();
        let mut vfs = Vfs {
            pf: self.pdev_raw(),
            at: ptr::null_mut(),
        };
        while let Some(vf) = vfs.next() {
            let Some(vf) = Registered::of(self, vf) else {
                continue;
            };
            held.push(HeldVf::new(vf, self.foreign_lock())?, GFP_KERNEL)?;
        }
        Ok(ForeignVfs {
            _vfs: held,
            _outer: outer,
        })
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

/// A VF that is registered with the VFIO core by another driver than the PF's. It stays registered,
/// and that driver with it, as long as this lives.
///
/// # Invariants
///
/// `vdev` is registered, and this has one of the references that its unregistration waits for.
struct Registered {
    vdev: NonNull<bindings::vfio_device>,
}

impl Registered {
    fn of<T: Driver>(pf: &Device<T>, vf: NonNull<pci_dev>) -> Option<Self> {
        // SAFETY: `pf` is registered, so its class is that of all devices of VFIO.
        let class = unsafe { (*pf.as_vfio()).device.class };
        // SAFETY: `vf` is valid, and `has_class()` only looks at the children that it is given.
        let child = unsafe {
            kernel::bindings::device_find_child(
                &raw mut (*vf.as_ptr()).dev,
                class.cast(),
                Some(has_class),
            )
        };
        if child.is_null() {
            return None;
        }
        // SAFETY: Devices of that class are part of a `struct vfio_device`.
        let vdev = unsafe { container_of!(child, bindings::vfio_device, device) };
        // SAFETY: The reference to `child` keeps `vdev` in memory.
        let registered = unsafe { bindings::vfio_device_try_get_registration(vdev) };
        // SAFETY: This drops the reference that `device_find_child()` took.
        unsafe { kernel::bindings::put_device(child) };
        if !registered {
            return None;
        }
        // INVARIANT: The function above has taken the reference.
        let this = Self {
            vdev: NonNull::new(vdev)?,
        };
        // SAFETY: Both are registered, and the ops of a device never change while it is.
        let is_own = unsafe { (*vdev).ops == (*pf.as_vfio()).ops };
        (!is_own).then_some(this)
    }

    fn is_open(&self) -> bool {
        // SAFETY: `vdev` is valid by the type invariants. A volatile read is what `READ_ONCE()` is in
        // C, with which the core reads the field where it does not hold the lock.
        unsafe { (&raw const (*self.vdev.as_ptr()).open_count).read_volatile() != 0 }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::vfio_device_put_registration(self.vdev.as_ptr()) };
    }
}

/// # Safety
///
/// `dev` is valid.
unsafe extern "C" fn has_class(dev: *mut device, class: *const c_void) -> c_int {
    // SAFETY: By the requirement of this function.
    let of_dev: *const class = unsafe { (*dev).class };
    c_int::from(ptr::eq(of_dev, class.cast()))
}

/// A VF of another driver that is not open and that nobody can open.
///
/// # Invariants
///
/// This holds the lock of the VF's device set.
struct HeldVf(Registered);

impl HeldVf {
    /// Takes the lock, with `outer` held.
    fn new(vf: Registered, outer: &Mutex<()>) -> Result<Self> {
        if vf.is_open() {
            return Err(EBUSY);
        }
        // Whoever opens or closes it has the lock for long, and can make that last: user memory is
        // read under it. So this does not wait.
        //
        // SAFETY: `vf` is registered, so it has a device set; and `Mutex` starts with C's.
        let locked = unsafe {
            bindings::vfio_pci_rust_mutex_trylock_nest_lock(
                &raw mut (*(*vf.vdev.as_ptr()).dev_set).lock,
                ptr::from_ref(outer).cast_mut().cast(),
            )
        };
        if !locked {
            return Err(EBUSY);
        }
        // INVARIANT: The lock has been taken.
        let held = Self(vf);
        if held.0.is_open() {
            return Err(EBUSY);
        }
        Ok(held)
    }
}

impl Drop for HeldVf {
    fn drop(&mut self) {
        // SAFETY: This holds the lock by the type invariants, and the device is still registered.
        unsafe { kernel::bindings::mutex_unlock(&raw mut (*(*self.0.vdev.as_ptr()).dev_set).lock) };
    }
}
