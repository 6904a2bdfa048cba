// SPDX-License-Identifier: GPL-2.0-only

//! The device of a VFIO PCI driver.
//!
//! C header: [`include/linux/vfio_pci_core.h`](srctree/include/linux/vfio_pci_core.h)

use super::{
    bindings,
    compat,
    ratelimit::RateLimit,
    result::{
        to_number,
        to_result,
        IoctlReturn, //
    },
    Driver,
    Uuid, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{
        self,
        MaybeUninit, //
    },
    ops::Deref,
    ptr,
    slice, //
};
use kernel::{
    new_mutex,
    pci,
    prelude::*,
    sync::Mutex,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    types::Opaque,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

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

/// A PCI device bound to a VFIO driver: a `struct vfio_pci_core_device` with the driver's own data
/// behind it.
///
/// The VFIO core allocates it, calls the driver to fill it in, and frees it after the last
/// reference is gone.
///
/// # Invariants
///
/// - `core` is an initialised `struct vfio_pci_core_device` whose `pdev` is valid.
/// - `core` comes first, and with it the `struct vfio_device` that the VFIO core hands around.
/// - From the registration with the VFIO core until after its end the PCI device is bound to the
///   driver, and so is its PF if the PF's `struct vfio_pci_core_device` is known.
/// - `no_ops` is zero.
#[repr(C)]
pub(crate) struct Device<T: Driver> {
    core: Opaque<bindings::vfio_pci_core_device>,
    /// What the VFIO core finds in the place of the driver's table once the driver is gone.
    no_ops: bindings::vfio_device_ops,
    /// What the driver keeps for the time in which the device is open.
    open: UnsafeCell<Option<T::Open>>,
    log_limit: RateLimit,
    /// Taken before the locks of several VFs of other drivers.
    foreign_lock: Mutex<()>,
    data: T::Data,
}

impl<T: Driver> Device<T> {
    /// Initialises the memory that `_vfio_alloc_device()` made.
    ///
    /// # Safety
    ///
    /// `vdev` points to zeroed memory for a `Device<T>`, which starts with a `struct vfio_device`
    /// that the VFIO core has initialised and whose `dev` is a PCI device in its probe callback.
    pub(super) unsafe fn init(vdev: *mut bindings::vfio_device) -> Result {
        const {
            assert!(mem::offset_of!(Self, core) == 0);
            assert!(mem::offset_of!(bindings::vfio_pci_core_device, vdev) == 0);
            // What `kvzalloc()` promises for any size.
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

    /// Takes the driver out of a device that is not registered any more: drops the driver's data
    /// and what the core holds.
    ///
    /// The memory is the VFIO core's, which frees it when the last reference is dropped. Somebody
    /// who is closing the character device may have one even after this module is gone. So the
    /// device is left with an empty table of operations, in its own memory.
    ///
    /// # Safety
    ///
    /// `vdev` was initialised with [`Device::init`], is not registered with the VFIO core, and the
    /// caller has a reference to it. It is the last time that the driver uses it.
    pub(super) unsafe fn abandon(vdev: *mut bindings::vfio_device) {
        let this = vdev.cast::<Self>();
        let core = vdev.cast::<bindings::vfio_pci_core_device>();
        // SAFETY: Both are initialised, and only callbacks of the driver use them, which are over
        // when the registration is. (The rate limit and the lock need no drop.)
        unsafe {
            (&raw mut (*this).data).drop_in_place();
            (&raw mut (*this).open).drop_in_place();
        }

        // SAFETY: `vdev` is valid; it has a device set unless its registration failed early.
        let set = unsafe { (*vdev).dev_set };
        if !set.is_null() {
            // SAFETY: The set lives as long as the device is in it. Others who reset all of the set
            // look at the device until it is freed.
            unsafe { kernel::bindings::mutex_lock(&raw mut (*set).lock) };
        }
        // SAFETY: The counterpart of `vfio_pci_core_init_dev()`. It frees `pm_save`, which a reset
        // of the set would use, and leaves the pointer.
        unsafe {
            bindings::vfio_pci_core_release_dev(vdev);
            (*core).pm_save = ptr::null_mut();
        }
        if !set.is_null() {
            // SAFETY: It has been taken above.
            unsafe { kernel::bindings::mutex_unlock(&raw mut (*set).lock) };
        }
        // SAFETY: The VFIO core uses the table of an unregistered device once more, to release it,
        // which is after the caller has dropped its reference. The new one is part of the device.
        unsafe { (*vdev).ops = &raw const (*this).no_ops };
    }

    /// Borrows the device behind a pointer of the VFIO core.
    ///
    /// # Safety
    ///
    /// `vdev` was initialised with [`Device::init`] for the same `T`, and not abandoned, for as
    /// long as `'a`.
    pub(super) unsafe fn from_raw<'a>(vdev: *mut bindings::vfio_device) -> &'a Self {
        // SAFETY: `core` is the first field and starts with the `struct vfio_device`.
        unsafe { &*vdev.cast() }
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
    fn address_ptr(&self) -> *const c_char {
        // SAFETY: `pdev` is valid.
        unsafe { kernel::bindings::dev_name(&raw const (*self.pdev_raw()).dev) }
    }

    /// The same, without the zero at its end.
    pub(super) fn address(&self) -> &[u8] {
        let text = self.address_ptr();
        // SAFETY: It is a C string, which a PCI device keeps as long as it is there.
        unsafe { slice::from_raw_parts(text.cast(), kernel::bindings::strlen(text)) }
    }

    /// Prints a line about this device, unless there were too many lately: two texts with the name
    /// of `pf` between them.
    // C puts it together: that takes a fraction of the code of `dev_info!()`, in which the length
    // of a name is an addition with a path to a panic.
    #[cold]
    #[inline(never)]
    #[cfg_attr(not(CONFIG_PRINTK), allow(unused_variables))]
    pub(crate) fn notice(&self, before: &CStr, pf: Option<&Self>, after: &CStr) {
        if !self.log_limit.allow() {
            return;
        }
        let name = pf.map_or(c"".as_char_ptr(), Self::address_ptr);
        #[cfg(CONFIG_PRINTK)]
        // SAFETY: `pdev` is valid, and so are the three C strings for which the format asks.
        unsafe {
            kernel::bindings::_dev_info(
                &raw const (*self.pdev_raw()).dev,
                c"%s%s%s\n".as_char_ptr(),
                before.as_char_ptr(),
                name,
                after.as_char_ptr(),
            )
        };
    }

    /// Whether SR-IOV is enabled, or just being enabled or disabled.
    pub(crate) fn sriov_active(&self) -> bool {
        // SAFETY: `core` is initialised by the type invariants. The core writes a whole `bool`, and
        // a volatile read is what `READ_ONCE()` is in C.
        unsafe { (&raw const (*self.as_raw()).sriov_active).read_volatile() }
    }

    /// Whether somebody has the device open or is just opening it. That can change at any time
    /// unless the lock of the device set is held, as it is while a character device is being
    /// opened.
    pub(crate) fn is_open(&self) -> bool {
        // SAFETY: `core` is initialised by the type invariants. A volatile read is what
        // `READ_ONCE()` is in C, with which the VFIO core reads the field where it does not hold
        // the lock.
        unsafe { (&raw const (*self.as_vfio()).open_count).read_volatile() != 0 }
    }

    /// The device that the PF of this VF is for VFIO.
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
        // SAFETY: A table belongs to one `T`, so this is a `Device<T>`; and it lives as long as the
        // VF is registered.
        SriovPf::Same(unsafe { Self::from_raw(pf.cast()) })
    }

    /// Hands a token to the core: as a PF, for it to compare or to keep; as a VF, to compare it
    /// with the one the core keeps for the PF.
    ///
    /// # Errors
    ///
    /// Those of `vfio_pci_core_match_token_uuid()`: `EACCES` if the token is wrong or missing,
    /// `EINVAL` if there is nothing it could be for.
    pub(crate) fn core_match_token_uuid(&self, token: Option<&Uuid>) -> Result {
        let uuid = token.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `Uuid` is laid out as `uuid_t`; a null pointer stands for no token.
        to_result(unsafe { bindings::vfio_pci_core_match_token_uuid(self.as_vfio(), uuid.cast()) })
    }

    /// Keeps `value` until the device is closed.
    ///
    /// # Safety
    ///
    /// The lock of the device set is held, as it is in `open_device` and `close_device`.
    pub(super) unsafe fn replace_open(&self, value: Option<T::Open>) -> Option<T::Open> {
        // SAFETY: The field is used under that lock only.
        unsafe { mem::replace(&mut *self.open.get(), value) }
    }
}

/// Prints a warning about a PCI device of which there is no [`Device`] yet.
// Not `dev_warn!()`, see [`Device::notice`].
#[cold]
#[cfg_attr(not(CONFIG_PRINTK), allow(unused_variables))]
pub(crate) fn warn(pdev: &pci::Device, text: &CStr) {
    let pdev = ptr::from_ref(pdev).cast::<kernel::bindings::pci_dev>();
    #[cfg(CONFIG_PRINTK)]
    // SAFETY: `pci::Device` transparently wraps a valid `struct pci_dev`, and `text` is the C
    // string for which the format asks.
    unsafe {
        kernel::bindings::_dev_warn(
            &raw const (*pdev).dev,
            c"%s\n".as_char_ptr(),
            text.as_char_ptr(),
        )
    };
}

/// What a PCI function is to SR-IOV.
pub(crate) enum Function {
    /// A physical function with the SR-IOV capability.
    Physical,
    /// A virtual function.
    Virtual,
    /// A function without SR-IOV.
    Plain,
}

impl Function {
    /// What `pdev` is.
    pub(crate) fn of(pdev: &pci::Device) -> Self {
        let pdev = ptr::from_ref(pdev).cast::<kernel::bindings::pci_dev>();
        // SAFETY: `pci::Device` transparently wraps a valid `struct pci_dev`, whose two bits are
        // set before a driver sees the device.
        let (is_virtfn, is_physfn) = unsafe {
            (
                kernel::bindings::pci_dev::is_virtfn_raw(pdev),
                kernel::bindings::pci_dev::is_physfn_raw(pdev),
            )
        };
        if is_virtfn != 0 {
            Self::Virtual
        } else if is_physfn != 0 {
            Self::Physical
        } else {
            Self::Plain
        }
    }
}

/// What VFIO knows of a VF's PF.
pub(crate) enum SriovPf<'a, T: Driver> {
    /// The PF is not bound to a VFIO driver.
    None,
    /// The PF is bound to the same driver.
    Same(&'a Device<T>),
    /// The PF is bound to another VFIO driver.
    Other,
}

/// The data of a `VFIO_DEVICE_FEATURE` call in user space: an address and a size in bytes.
#[derive(Clone, Copy)]
pub(crate) struct FeatureArg {
    ptr: UserPtr,
    size: usize,
}

impl FeatureArg {
    /// `size` bytes at `ptr`; nothing is known of either.
    pub(crate) fn new(ptr: UserPtr, size: usize) -> Self {
        Self { ptr, size }
    }

    /// The size in bytes that the caller says there is.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The place of a `V` at the start of the data.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is shorter.
    #[inline(always)]
    pub(crate) fn place_of<V>(self) -> Result<UserPlace<V>> {
        if self.size < mem::size_of::<V>() {
            return Err(EINVAL);
        }
        Ok(UserPlace(self.ptr, PhantomData))
    }

    /// Writes `value` to the data.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the data is shorter, or its address is not writable.
    pub(crate) fn write<V: AsBytes>(self, value: &V) -> Result {
        UserSlice::new(self.ptr, self.size).writer().write(value)
    }
}

/// An address in user space from which on a `V` belongs to the caller; nothing is known of it.
pub(crate) struct UserPlace<V>(UserPtr, PhantomData<V>);

impl<V: FromBytes> UserPlace<V> {
    /// Reads the value and calls `f` with it. It is dropped where it was read to and has never been
    /// anywhere else.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the address is not readable; else those of `f`.
    #[inline(always)]
    pub(crate) fn read_and(self, f: impl FnOnce(&V) -> Result) -> Result {
        struct InPlace<V>(MaybeUninit<V>);

        impl<V> Drop for InPlace<V> {
            fn drop(&mut self) {
                // SAFETY: `read_and()` has written all bytes, which are valid for a `V`.
                unsafe { self.0.assume_init_drop() }
            }
        }

        let mut value = InPlace(MaybeUninit::<V>::uninit());
        // SAFETY: The memory of `value` is that large. The function writes all of it, zeroes for
        // what it cannot read, and treats the other address as one of user space.
        let left = unsafe {
            kernel::bindings::copy_from_user(
                value.0.as_mut_ptr().cast(),
                self.0.as_const_ptr(),
                mem::size_of::<V>(),
            )
        };
        if left != 0 {
            return Err(EFAULT);
        }
        // SAFETY: All bytes are written, and whatever they are, they are valid for a `V`.
        f(unsafe { value.0.assume_init_ref() })
    }
}

/// A device that is being opened for the first time and is not enabled yet.
pub(crate) struct Closed<'a, T: Driver>(&'a Device<T>);

impl<'a, T: Driver> Closed<'a, T> {
    /// # Safety
    ///
    /// The device is in its `open_device` callback.
    pub(super) unsafe fn new(dev: &'a Device<T>) -> Self {
        Self(dev)
    }

    /// The device, which remains when the opening has failed.
    pub(crate) fn device(&self) -> &'a Device<T> {
        self.0
    }

    /// Enables the device: resets it, saves its state, sets up config space and BARs.
    ///
    /// # Errors
    ///
    /// Those of `vfio_pci_core_enable()`, for example `EAGAIN` if the device is locked.
    pub(crate) fn enable(self) -> Result<Enabled<'a, T>> {
        // SAFETY: The device is being opened and is not enabled, by the requirement of `new()`.
        to_result(unsafe { bindings::vfio_pci_core_enable(self.0.as_raw()) })?;
        Ok(Enabled(self.0))
    }
}

impl<T: Driver> Deref for Closed<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}

/// A device that is being opened and is enabled. It is disabled again if this is dropped.
pub(crate) struct Enabled<'a, T: Driver>(&'a Device<T>);

impl<T: Driver> Enabled<'_, T> {
    /// Whether [`Closing::has_failed`] can tell, later, that this opening has failed.
    pub(crate) fn failure_will_be_known(&self) -> bool {
        #[cfg(CONFIG_IOMMUFD)]
        // SAFETY: The device is valid, and the lock of the device set is held, under which the
        // field is written.
        return unsafe { !(*self.0.as_vfio()).iommufd_device.is_null() };
        #[cfg(not(CONFIG_IOMMUFD))]
        false
    }

    /// Finishes the opening: from here on the device is in use.
    pub(super) fn finish(self) {
        // SAFETY: The device is enabled, and its opening is not finished yet.
        unsafe { bindings::vfio_pci_core_finish_enable(self.0.as_raw()) };
        mem::forget(self);
    }
}

impl<T: Driver> Deref for Enabled<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}

impl<T: Driver> Drop for Enabled<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The device is enabled, and the lock of its device set is held in `open_device`.
        unsafe { bindings::vfio_pci_core_disable(self.0.as_raw()) };
    }
}

/// A device that is open, and stays so as long as this lives.
pub(crate) struct Opened<'a, T: Driver>(&'a Device<T>);

impl<'a, T: Driver> Opened<'a, T> {
    /// # Safety
    ///
    /// The device is open for `'a`.
    pub(super) unsafe fn new(dev: &'a Device<T>) -> Self {
        Self(dev)
    }

    /// Lets the core answer a `VFIO_DEVICE_FEATURE` call: with an error of the feature, `ENOTTY` if
    /// it does not know the feature, 0, or for some features a file descriptor.
    pub(crate) fn core_ioctl_feature(&self, flags: u32, arg: FeatureArg) -> IoctlReturn {
        // SAFETY: The device is open during the call; the core checks the size and treats the
        // address as one of user space.
        IoctlReturn::from_raw(unsafe {
            bindings::vfio_pci_core_ioctl_feature(
                self.0.as_vfio(),
                flags,
                arg.ptr.as_mut_ptr(),
                arg.size,
            )
        })
    }
}

impl<T: Driver> Deref for Opened<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}

/// A device that its last user has closed, or whose first opening has failed after all.
pub(crate) struct Closing<'a, T: Driver>(&'a Device<T>);

impl<'a, T: Driver> Closing<'a, T> {
    /// # Safety
    ///
    /// The device is in its `close_device` callback.
    pub(super) unsafe fn new(dev: &'a Device<T>) -> Self {
        Self(dev)
    }

    /// Whether the opening has failed, so that nobody ever had the device.
    ///
    /// It is not known of those who open by a group with a container, or for whom there is no
    /// memory for a file: `false` then.
    pub(crate) fn has_failed(&self) -> bool {
        #[cfg(CONFIG_IOMMUFD)]
        {
            let vdev = self.0.as_vfio();
            // SAFETY: The device is valid, and the lock of the device set is held, under which all
            // of these are written.
            let (bound, attached, by_cdev) = unsafe {
                (
                    !(*vdev).iommufd_device.is_null(),
                    bindings::vfio_device::iommufd_attached_raw(vdev) != 0,
                    bindings::vfio_device::cdev_opened_raw(vdev) != 0,
                )
            };
            // One by the character device is marked when it has succeeded; one by a group is
            // attached by the VFIO core itself, and stays so.
            bound && !attached && !by_cdev
        }
        #[cfg(not(CONFIG_IOMMUFD))]
        false
    }
}

impl<T: Driver> Deref for Closing<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}

/// A device in a callback of the PCI bus, in which its device lock is held.
pub(crate) struct Locked<'a, T: Driver>(&'a Device<T>);

impl<'a, T: Driver> Locked<'a, T> {
    /// # Safety
    ///
    /// The device lock of the PCI device is held for as long as the value lives.
    pub(super) unsafe fn new(dev: &'a Device<T>) -> Self {
        Self(dev)
    }

    /// How many virtual functions are enabled, 0 while SR-IOV is off.
    pub(crate) fn num_vfs(&self) -> c_int {
        #[cfg(CONFIG_PCI_IOV)]
        // SAFETY: `pdev` is valid.
        return unsafe { kernel::bindings::pci_num_vf(self.0.pdev_raw()) };
        #[cfg(not(CONFIG_PCI_IOV))]
        return 0;
    }

    /// Enables `num_vfs` virtual functions, or disables them all if it is 0, and returns how many
    /// are enabled then. Disabling waits until their users have closed them.
    ///
    /// # Errors
    ///
    /// Those of `vfio_pci_core_sriov_configure()`, for example `EINVAL` if VFs are enabled already.
    pub(crate) fn sriov_configure(&self, num_vfs: c_int) -> Result<c_int> {
        // SAFETY: The device is registered or about to be unregistered, and its lock is held.
        to_number(unsafe { bindings::vfio_pci_core_sriov_configure(self.0.as_raw(), num_vfs) })
    }
}

impl<T: Driver> Deref for Locked<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}
