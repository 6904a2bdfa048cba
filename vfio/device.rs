// SPDX-License-Identifier: GPL-2.0-only

//! The device of a VFIO PCI driver.
//!
//! C header: [`include/linux/vfio_pci_core.h`](srctree/include/linux/vfio_pci_core.h)

mod context;
mod opening;

pub(crate) use self::context::{
    Closing,
    Locked,
    Opened,
    Unregistered, //
};
pub(crate) use self::opening::{
    Closed,
    Enabled, //
};

use self::context::Normal;
use super::{
    bindings,
    compat,
    function,
    ratelimit::RateLimit,
    Driver,
    Uuid, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem,
    ptr, //
};
use kernel::{
    error::to_result,
    new_mutex,
    pci,
    prelude::*,
    str::BStr,
    sync::Mutex,
    types::Opaque, //
};

/// A PCI device bound to a VFIO driver: a `struct vfio_pci_core_device`, followed by the driver's
/// own data.
///
/// The VFIO core allocates it, calls the driver to fill it in, and frees it after the last
/// reference is gone. `C` says in what context it is.
///
/// # Invariants
///
/// - `core` is an initialised `struct vfio_pci_core_device` whose `pdev` is valid.
/// - `core` comes first, and with it the `struct vfio_device` that the VFIO core passes around.
/// - From its registration with the VFIO core until after its unregistration, the PCI device is
///   bound to the driver, and so is its PF to its own if the PF's `struct vfio_pci_core_device` is
///   known: `pci_disable_sriov()`, which the core calls before it lets go of a PF, waits for the
///   drivers of the VFs.
/// - `no_ops` is zero.
#[repr(C)]
pub(crate) struct Device<T: Driver, C = Normal> {
    core: Opaque<bindings::vfio_pci_core_device>,
    /// The table of operations that the VFIO core finds once the driver is gone.
    no_ops: bindings::vfio_device_ops,
    /// What the driver keeps while the device is open.
    open: UnsafeCell<Option<T::Open>>,
    log_limit: RateLimit,
    /// Taken before the locks of foreign VFs, of which there may be several.
    foreign_lock: Mutex<()>,
    data: T::Data,
    _context: PhantomData<C>,
}

impl<T: Driver, C> Device<T, C> {
    /// Borrows the device behind a pointer of the VFIO core.
    ///
    /// # Safety
    ///
    /// `vdev` was initialised with [`Device::init`] for the same `T`, is not abandoned, and is in
    /// the context `C`, for as long as `'a`.
    pub(super) unsafe fn from_raw<'a>(vdev: *mut bindings::vfio_device) -> &'a Self {
        // SAFETY: `core` is the first field and starts with the `struct vfio_device`.
        unsafe { &*vdev.cast() }
    }
}

impl<T: Driver> Device<T> {
    /// Initialises the memory that `_vfio_alloc_device()` has allocated.
    ///
    /// # Safety
    ///
    /// `vdev` points to zeroed memory for a `Device<T>`, which starts with a `struct vfio_device`
    /// that the VFIO core has initialised and whose `dev` is a PCI device in its probe callback.
    pub(super) unsafe fn init(vdev: *mut bindings::vfio_device) -> Result {
        const {
            assert!(mem::offset_of!(Self, core) == 0);
            assert!(mem::offset_of!(bindings::vfio_pci_core_device, vdev) == 0);
            // The alignment that `kvzalloc()` guarantees for any size.
            assert!(mem::align_of::<Self>() <= kernel::bindings::ARCH_KMALLOC_MINALIGN);
        }

        let this = vdev.cast::<Self>();
        let core = vdev.cast::<bindings::vfio_pci_core_device>();

        if T::HAS_OPTIONS {
            let options = T::options();
            // SAFETY: `core` points to memory for a `struct vfio_pci_core_device` that is zeroed
            // but for its start, and nobody else has access to it yet.
            unsafe {
                type Core = bindings::vfio_pci_core_device;
                Core::set_nointxmask_raw(core, options.nointxmask);
                Core::set_disable_vga_raw(core, options.disable_vga);
                Core::set_disable_idle_d3_raw(core, options.disable_idle_d3);
            }
        }

        // SAFETY: `vdev` is the start of a zeroed `struct vfio_pci_core_device` with a PCI device.
        to_result(unsafe { bindings::vfio_pci_core_init_dev(vdev) })?;

        let init = || {
            // SAFETY: The function above has set `pdev` to a valid device, which is being probed.
            let pdev = unsafe { &*(*core).pdev.cast::<pci::Device<kernel::device::Core<'_>>>() };

            // SAFETY: The field is valid for writes and holds nothing yet.
            unsafe { (&raw mut (*this).open).write(UnsafeCell::new(None)) };
            // SAFETY: The field is valid for writes and pinned, since the memory never moves.
            unsafe { compat::raw_init(&raw mut (*this).log_limit, RateLimit::new()) };
            // SAFETY: As above.
            unsafe {
                compat::raw_init(
                    &raw mut (*this).foreign_lock,
                    new_mutex!((), "vfio_foreign_vfs"),
                )
            };
            // SAFETY: As above. It is the last step that can fail, so nothing is left to undo.
            unsafe { compat::raw_try_init(&raw mut (*this).data, T::init(pdev)) }
        };
        init().inspect_err(|_| {
            // SAFETY: Undoes `vfio_pci_core_init_dev()`.
            unsafe { bindings::vfio_pci_core_release_dev(vdev) }
        })
    }

    /// Detaches the driver from a device that is no longer registered: drops the driver's data and
    /// what the core holds.
    ///
    /// The memory belongs to the VFIO core, which frees it when the last reference is dropped. A
    /// program that is closing the character device may have one even after this module is gone. So
    /// the device is left with an empty table of operations, in its own memory.
    ///
    /// # Safety
    ///
    /// `vdev` was initialised with [`Device::init`], is not registered with the VFIO core, and the
    /// caller has a reference to it. The driver does not use it as a `Device<T>` after this.
    pub(super) unsafe fn abandon(vdev: *mut bindings::vfio_device) {
        let this = vdev.cast::<Self>();
        let core = vdev.cast::<bindings::vfio_pci_core_device>();
        // SAFETY: Both are initialised. Only callbacks of the driver use them: those of VFIO have
        // ended with the registration, those of the PCI bus wait for the device lock, which is
        // held, and the files in sysfs are gone, or were never made. (The rate limit and the lock
        // need no drop.)
        unsafe {
            (&raw mut (*this).data).drop_in_place();
            (&raw mut (*this).open).drop_in_place();
        }

        // SAFETY: `vdev` is valid; it has a device set unless its registration failed early.
        let set = unsafe { (*vdev).dev_set };
        if !set.is_null() {
            // SAFETY: The set lives as long as the device is in it. A reset of the whole set looks
            // at the device until it is freed.
            unsafe { kernel::bindings::mutex_lock(&raw mut (*set).lock) };
        }
        // SAFETY: The counterpart of `vfio_pci_core_init_dev()`. It frees `pm_save`, which a reset
        // of the set would use, and leaves the pointer.
        unsafe {
            bindings::vfio_pci_core_release_dev(vdev);
            (*core).pm_save = ptr::null_mut();
        }
        if !set.is_null() {
            // SAFETY: The lock has been taken above.
            unsafe { kernel::bindings::mutex_unlock(&raw mut (*set).lock) };
        }
        // SAFETY: The VFIO core uses the table of an unregistered device only to release it, after
        // the caller has dropped its reference. The new table is part of the device.
        unsafe { (*vdev).ops = &raw const (*this).no_ops };
    }

    /// The `struct vfio_pci_core_device` of this device.
    pub(super) fn as_raw(&self) -> *mut bindings::vfio_pci_core_device {
        self.core.get()
    }

    pub(super) fn as_vfio(&self) -> *mut bindings::vfio_device {
        self.as_raw().cast()
    }

    pub(super) fn foreign_lock(&self) -> &Mutex<()> {
        &self.foreign_lock
    }

    pub(super) fn pdev_raw(&self) -> *mut kernel::bindings::pci_dev {
        // SAFETY: `core` is initialised by the type invariants; `pdev` never changes after that.
        unsafe { (*self.as_raw()).pdev }
    }

    /// The driver's own data of this device.
    pub(crate) fn data(&self) -> &T::Data {
        &self.data
    }

    /// The PCI device.
    pub(crate) fn pdev(&self) -> &pci::Device {
        // SAFETY: `pdev` is valid by the type invariants, and `pci::Device` transparently wraps it.
        unsafe { &*self.pdev_raw().cast() }
    }

    /// The address of the PCI device as text, as in `lspci -D`.
    pub(super) fn address(&self) -> &[u8] {
        function::address(self.pdev())
    }

    /// Logs a line about this device, unless there were too many lately: two texts with the address
    /// of `pf` between them.
    #[cold]
    pub(crate) fn notice(&self, before: &str, pf: Option<&Self>, after: &str) {
        if self.log_limit.allow() {
            let name = BStr::from_bytes(pf.map_or(b"", Self::address));
            dev_info!(self.pdev(), "{}{}{}\n", before, name, after);
        }
    }

    /// Whether SR-IOV is enabled, or just being enabled or disabled.
    pub(crate) fn sriov_active(&self) -> bool {
        // SAFETY: `core` is initialised by the type invariants. The core writes a whole `bool`, and
        // a volatile read is what `READ_ONCE()` is in C. It orders nothing, and need not: the
        // caller could as well have asked a moment earlier or later, and VFs are counted under
        // locks.
        unsafe { (&raw const (*self.as_raw()).sriov_active).read_volatile() }
    }

    /// Whether the device is open or just being opened. That can change at any time unless the lock
    /// of the device set is held, as it is while a character device is being opened.
    pub(crate) fn is_open(&self) -> bool {
        // SAFETY: `core` is initialised by the type invariants. A volatile read is what
        // `READ_ONCE()` is in C, with which the VFIO core reads the field where it does not hold
        // the lock.
        unsafe { (&raw const (*self.as_vfio()).open_count).read_volatile() != 0 }
    }

    /// What VFIO knows of the PF of this VF.
    pub(crate) fn sriov_pf(&self) -> SriovPf<'_, T> {
        // SAFETY: The core sets it before the VF is registered and never again.
        let pf = unsafe { (*self.as_raw()).sriov_pf_core_dev };
        if pf.is_null() {
            return SriovPf::None;
        }
        // SAFETY: The PF stays bound for as long as one of its VFs is, by the type invariants.
        let ops = unsafe { (*pf).vdev.ops };
        // SAFETY: `core` is initialised by the type invariants.
        if ops != unsafe { (*self.as_raw()).vdev.ops } {
            return SriovPf::Other;
        }
        // SAFETY: A device has this table only if a `Registration<T>` has allocated it, so this is
        // a `Device<T>`; and it lives as long as the VF is registered.
        SriovPf::Same(unsafe { Self::from_raw(pf.cast()) })
    }

    /// Passes a token to the core: for a PF, to be compared or kept; for a VF, to be compared with
    /// the one that the core keeps for the PF.
    ///
    /// # Errors
    ///
    /// Those of `vfio_pci_core_match_token_uuid()`: `EACCES` if the token is wrong or missing,
    /// `EINVAL` if there is one and none is needed.
    pub(crate) fn core_match_token_uuid(&self, token: Option<&Uuid>) -> Result {
        let uuid = token.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `Uuid` is laid out as `uuid_t`; a null pointer stands for no token. What the core
        // keeps of a PF's token is there until its unregistration, after which nobody has a
        // `Device<T>` in this context.
        to_result(unsafe { bindings::vfio_pci_core_match_token_uuid(self.as_vfio(), uuid.cast()) })
    }

    /// Keeps `value` while the device is open, and returns what was kept before.
    ///
    /// # Safety
    ///
    /// The lock of the device set is held, as it is in `open_device` and `close_device`.
    pub(super) unsafe fn replace_open(&self, value: Option<T::Open>) -> Option<T::Open> {
        // SAFETY: While the device is registered, the field is used under that lock only.
        unsafe { mem::replace(&mut *self.open.get(), value) }
    }
}

/// What VFIO knows of the PF of a VF.
pub(crate) enum SriovPf<'a, T: Driver> {
    /// The PF is not bound to a VFIO driver.
    None,
    /// The PF is bound to the same driver.
    Same(&'a Device<T>),
    /// The PF is bound to another VFIO driver.
    Other,
}
