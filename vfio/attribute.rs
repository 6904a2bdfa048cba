// SPDX-License-Identifier: GPL-2.0-only

//! Files in sysfs that a device has while it is bound.
//!
//! A driver puts its [`File`]s into a [`Folder`], which the driver core creates after it has bound
//! a device, and removes before it unbinds it.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use super::{
    Device,
    Driver, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr,
    slice, //
};
use kernel::{
    bindings::{
        attribute,
        attribute_group,
        device,
        device_attribute,
        kobject,
        umode_t, //
    },
    container_of,
    prelude::*, //
};

/// The line that a file shows.
pub(crate) enum Shown {
    /// A number.
    Number(u64),
    /// A word.
    Word(&'static CStr),
}

/// A file of a device: which devices have it, and how it is read and written.
///
/// # Invariants
///
/// The functions in `raw` are those of this file, for devices of `T`.
#[repr(C)]
pub(crate) struct File<T: Driver> {
    raw: device_attribute,
    is_visible: fn(&Device<T>) -> bool,
    show: fn(&Device<T>) -> Result<Shown>,
    store: fn(&Device<T>, &mut [u8]) -> Result,
}

impl<T: Driver> File<T> {
    /// A file of this name that everybody may read and nobody may write. `read(2)` fails with the
    /// error of `show`.
    pub(crate) const fn new(
        name: &'static CStr,
        is_visible: fn(&Device<T>) -> bool,
        show: fn(&Device<T>) -> Result<Shown>,
    ) -> Self {
        // SAFETY: All fields are numbers, pointers, and functions that may be missing.
        let mut raw: device_attribute = unsafe { mem::zeroed() };
        raw.attr.name = name.to_bytes_with_nul().as_ptr().cast();
        raw.attr.mode = 0o444;
        raw.__bindgen_anon_1.show = Some(show_file::<T>);
        // INVARIANT: The function is that of this file.
        Self {
            raw,
            is_visible,
            show,
            store: |_, _| Err(EACCES),
        }
    }

    /// The same file, which only root may read and write. `store` takes the text of one `write(2)`,
    /// without the newline that may end it; the text is overwritten afterwards. `write(2)` fails
    /// with the error of `store`.
    pub(crate) const fn writable(mut self, store: fn(&Device<T>, &mut [u8]) -> Result) -> Self {
        self.raw.attr.mode = 0o600;
        // INVARIANT: The function is that of this file.
        self.raw.__bindgen_anon_2.store = Some(store_file::<T>);
        self.store = store;
        self
    }
}

/// A directory of files, in the sysfs directory of every bound device.
///
/// # Invariants
///
/// `attrs` of the group is a list of [`File`]s of `T` with a null pointer at its end.
#[repr(transparent)]
pub(crate) struct Folder<T: Driver>(attribute_group, PhantomData<T>);

impl<T: Driver> Folder<T> {
    /// A directory of this name. The last of `files` is `None`, and ends the list. A device without
    /// the first file does not have the directory either.
    pub(crate) const fn new<const N: usize>(
        name: &'static CStr,
        files: &'static [Option<&'static File<T>>; N],
    ) -> Self {
        assert!(matches!(files.as_slice(), [.., None]));
        const {
            // A pointer to a file is also one to the `struct attribute` in it.
            assert!(mem::offset_of!(File<T>, raw) == 0);
            assert!(mem::offset_of!(device_attribute, attr) == 0);
        }

        // SAFETY: All fields are pointers, and functions that may be missing.
        let mut group: attribute_group = unsafe { mem::zeroed() };
        group.name = name.to_bytes_with_nul().as_ptr().cast();
        group.__bindgen_anon_1.is_visible = Some(is_visible::<T>);
        // CAST: An optional reference is laid out as a pointer that may be null. Nobody writes
        // through it.
        group.__bindgen_anon_2.attrs = ptr::from_ref(files).cast_mut().cast::<*mut attribute>();
        // INVARIANT: `files` is such a list, by its type and the assertion.
        Self(group, PhantomData)
    }
}

/// A list of directories for `dev_groups` of a driver.
pub(super) const fn groups<T: Driver>() -> *mut *const attribute_group {
    struct Static<T>(PhantomData<T>);

    impl<T: Driver> Static<T> {
        const GROUPS: &'static [Option<&'static Folder<T>>; 2] = &[T::FOLDER, None];
    }

    // CAST: As above, and `Folder` is a transparent wrapper.
    ptr::from_ref(Static::<T>::GROUPS).cast_mut().cast()
}

impl<T: Driver> Device<T> {
    /// Wakes those who wait with `poll(2)` for a change of a file in a directory of the device.
    pub(crate) fn file_changed(&self, folder: &CStr, file: &CStr) {
        // SAFETY: A bound device is in sysfs. The function looks the file up by its name, and does
        // nothing if it does not exist, or no longer exists.
        unsafe {
            kernel::bindings::sysfs_notify(
                &raw mut (*self.pdev_raw()).dev.kobj,
                folder.as_char_ptr(),
                file.as_char_ptr(),
            )
        }
    }
}

/// # Safety
///
/// `dev` is bound to a driver for `Device<T>`, and stays so for as long as `'a`.
unsafe fn of_dev<'a, T: Driver>(dev: *mut device) -> &'a Device<T> {
    // SAFETY: By the requirement of this function. The driver data is the device, from before it is
    // bound until after it is unbound.
    unsafe { Device::from_raw(kernel::bindings::dev_get_drvdata(dev).cast()) }
}

/// # Safety
///
/// Called by the driver core for a file of a [`Folder`] of `T` in the directory of a bound device.
unsafe extern "C" fn is_visible<T: Driver>(
    kobj: *mut kobject,
    attr: *mut attribute,
    _number: c_int,
) -> umode_t {
    // SAFETY: The directory is that of a device, which the driver core has just bound.
    let dev = unsafe { of_dev::<T>(container_of!(kobj, device, kobj)) };
    // SAFETY: By the invariants of `Folder`, `attr` is the start of a `File<T>`.
    let file = unsafe { &*attr.cast::<File<T>>() };
    if (file.is_visible)(dev) {
        file.raw.attr.mode
    } else {
        // For the first file this hides the directory, and for others only the file.
        kernel::bindings::SYSFS_GROUP_INVISIBLE as umode_t
    }
}

/// # Safety
///
/// Called by the driver core for a [`File`] of a bound device of `T`; `buf` is a page, as
/// `sysfs_emit()` requires.
unsafe extern "C" fn show_file<T: Driver>(
    dev: *mut device,
    attr: *mut device_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The driver core removes the file, and waits for this call, before it unbinds.
    let (dev, file) = unsafe { (of_dev::<T>(dev), &*attr.cast::<File<T>>()) };
    let written = match (file.show)(dev) {
        // SAFETY: By the requirement of this function; the number is of the type in the format.
        Ok(Shown::Number(number)) => unsafe {
            kernel::bindings::sysfs_emit(buf, c"%llu\n".as_char_ptr(), number)
        },
        // SAFETY: As above, for a C string.
        Ok(Shown::Word(word)) => unsafe {
            kernel::bindings::sysfs_emit(buf, c"%s\n".as_char_ptr(), word.as_char_ptr())
        },
        Err(e) => e.to_errno(),
    };
    written as isize
}

/// # Safety
///
/// Called by the driver core for a [`File`] of a bound device of `T`; `buf` has `count` bytes that
/// were copied for this call.
unsafe extern "C" fn store_file<T: Driver>(
    dev: *mut device,
    attr: *mut device_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: The driver core removes the file, and waits for this call, before it unbinds.
    let (dev, file) = unsafe { (of_dev::<T>(dev), &*attr.cast::<File<T>>()) };
    // SAFETY: By the requirement of this function. kernfs provides the buffer for one call, and
    // frees or overwrites it when that has returned; nobody else accesses it.
    let all = unsafe { slice::from_raw_parts_mut(buf.cast_mut().cast::<u8>(), count) };
    let text = match all {
        [text @ .., b'\n'] => text,
        _ => &mut *all,
    };
    let result = (file.store)(dev, text);
    all.fill(0);
    match result {
        Ok(()) => count as isize,
        Err(e) => e.to_errno() as isize,
    }
}
