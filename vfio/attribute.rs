// SPDX-License-Identifier: GPL-2.0-only

//! Files in sysfs that a device has as long as it is bound.
//!
//! A driver writes an [`Attribute`] for every file and puts them into a [`Folder`], which the
//! driver core makes after it has bound a device and removes before it unbinds it.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use super::{
    result::to_errno,
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

/// One line that a file shows.
pub(crate) enum Shown {
    /// A number.
    Number(u64),
    /// A word.
    Word(&'static CStr),
}

/// A file of a device.
pub(crate) trait Attribute<T: Driver> {
    /// Its name.
    const NAME: &'static CStr;

    /// Who may read and write it, for example `0o444`.
    const MODE: u16;

    /// Whether `dev` has it.
    fn is_visible(dev: &Device<T>) -> bool;

    /// What it shows.
    ///
    /// # Errors
    ///
    /// Any error is that of `read(2)`.
    fn show(dev: &Device<T>) -> Result<Shown>;

    /// Takes the text of one `write(2)`, without the newline that may end it. The text is
    /// overwritten afterwards. A file whose mode lets nobody write does not need this.
    ///
    /// # Errors
    ///
    /// Any error is that of `write(2)`.
    fn store(_dev: &Device<T>, _text: &mut [u8]) -> Result {
        Err(EACCES)
    }
}

/// An [`Attribute`] as the driver core wants it.
///
/// # Invariants
///
/// The functions in `raw` are those of this file, for devices of `T`.
#[repr(C)]
pub(crate) struct File<T: Driver> {
    raw: device_attribute,
    is_visible: fn(&Device<T>) -> bool,
}

impl<T: Driver> File<T> {
    /// The file that `A` describes.
    pub(crate) const fn of<A: Attribute<T>>() -> &'static Self {
        struct Static<T, A>(PhantomData<(T, A)>);

        impl<T: Driver, A: Attribute<T>> Static<T, A> {
            const FILE: &'static File<T> = &File::new::<A>();
        }

        Static::<T, A>::FILE
    }

    const fn new<A: Attribute<T>>() -> Self {
        // SAFETY: All fields are numbers, pointers, and functions that may be missing.
        let mut raw: device_attribute = unsafe { mem::zeroed() };
        raw.attr.name = A::NAME.to_bytes_with_nul().as_ptr().cast();
        raw.attr.mode = A::MODE;
        raw.__bindgen_anon_1.show = Some(show::<T, A>);
        if A::MODE & 0o222 != 0 {
            raw.__bindgen_anon_2.store = Some(store::<T, A>);
        }
        // INVARIANT: The functions are those of this file.
        Self {
            raw,
            is_visible: A::is_visible,
        }
    }
}

/// A folder of files, in the folder of every device that is bound.
///
/// # Invariants
///
/// `attrs` of the group is a list of [`File`]s of `T` with a null pointer at its end.
#[repr(transparent)]
pub(crate) struct Folder<T: Driver>(attribute_group, PhantomData<T>);

impl<T: Driver> Folder<T> {
    /// A folder of this name. The last one of `files` is `None`, and ends the list. A device that
    /// does not have the first one does not have the folder.
    pub(crate) const fn new<const N: usize>(
        name: &'static CStr,
        files: &'static [Option<&'static File<T>>; N],
    ) -> Self {
        assert!(matches!(files.as_slice(), [.., None]));
        const {
            // So that a pointer to a file is one to the `struct attribute` in it.
            assert!(mem::offset_of!(File<T>, raw) == 0);
            assert!(mem::offset_of!(device_attribute, attr) == 0);
        }

        // SAFETY: All fields are pointers, and functions that may be missing.
        let mut group: attribute_group = unsafe { mem::zeroed() };
        group.name = name.to_bytes_with_nul().as_ptr().cast();
        group.__bindgen_anon_1.is_visible = Some(is_visible::<T>);
        // CAST: A reference that may be missing is a pointer that may be null. Nobody writes to
        // what it points to.
        group.__bindgen_anon_2.attrs = ptr::from_ref(files).cast_mut().cast::<*mut attribute>();
        // INVARIANT: `files` is such a list, by its type and the assertion.
        Self(group, PhantomData)
    }
}

/// A list of folders for `dev_groups` of a driver.
pub(super) const fn groups<T: Driver>() -> *mut *const attribute_group {
    struct Static<T>(PhantomData<T>);

    impl<T: Driver> Static<T> {
        const GROUPS: &'static [Option<&'static Folder<T>>; 2] = &[T::FOLDER, None];
    }

    // CAST: As above, and `Folder` is a transparent wrapper.
    ptr::from_ref(Static::<T>::GROUPS).cast_mut().cast()
}

impl<T: Driver> Device<T> {
    /// Wakes those who wait with `poll(2)` for a change of the file `A` in the folder `folder`.
    pub(crate) fn attribute_changed<A: Attribute<T>>(&self, folder: &CStr) {
        // SAFETY: A bound device is in sysfs. The function looks for the file by its name, and does
        // nothing if it is not there, or not any more.
        unsafe {
            kernel::bindings::sysfs_notify(
                &raw mut (*self.pdev_raw()).dev.kobj,
                folder.as_char_ptr(),
                A::NAME.as_char_ptr(),
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
/// Called by the driver core for a file of a [`Folder`] of `T` in the folder of a bound device.
unsafe extern "C" fn is_visible<T: Driver>(
    kobj: *mut kobject,
    attr: *mut attribute,
    _number: c_int,
) -> umode_t {
    // SAFETY: The folder is that of a device, which the driver core has just bound.
    let dev = unsafe { of_dev::<T>(container_of!(kobj, device, kobj)) };
    // SAFETY: By the invariants of `Folder` it is the start of such a file.
    let file = unsafe { &*attr.cast::<File<T>>() };
    if (file.is_visible)(dev) {
        file.raw.attr.mode
    } else {
        // For the first file it means the folder, and for another one that file.
        kernel::bindings::SYSFS_GROUP_INVISIBLE as umode_t
    }
}

/// # Safety
///
/// Called by the driver core for a file of a bound device; `buf` is a page, as `sysfs_emit()` needs
/// it.
unsafe extern "C" fn show<T: Driver, A: Attribute<T>>(
    dev: *mut device,
    _attr: *mut device_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The driver core removes the file, and waits for this call, before it unbinds.
    let dev = unsafe { of_dev::<T>(dev) };
    let written = match A::show(dev) {
        // SAFETY: By the requirement of this function; the number is what the format asks for.
        Ok(Shown::Number(number)) => unsafe {
            kernel::bindings::sysfs_emit(buf, c"%llu\n".as_char_ptr(), number)
        },
        // SAFETY: The same; and so is the C string.
        Ok(Shown::Word(word)) => unsafe {
            kernel::bindings::sysfs_emit(buf, c"%s\n".as_char_ptr(), word.as_char_ptr())
        },
        Err(e) => to_errno(e),
    };
    written as isize
}

/// # Safety
///
/// Called by the driver core for a file of a bound device; `buf` has `count` bytes that were copied
/// for this call.
unsafe extern "C" fn store<T: Driver, A: Attribute<T>>(
    dev: *mut device,
    _attr: *mut device_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: The driver core removes the file, and waits for this call, before it unbinds.
    let dev = unsafe { of_dev::<T>(dev) };
    // SAFETY: By the requirement of this function. kernfs makes the buffer for one call, and frees
    // it, or writes over it, when that has returned; no one else looks at it.
    let all = unsafe { slice::from_raw_parts_mut(buf.cast_mut().cast::<u8>(), count) };
    let text = match all {
        [text @ .., b'\n'] => text,
        _ => &mut *all,
    };
    let result = A::store(dev, text);
    all.fill(0);
    match result {
        Ok(()) => count as isize,
        Err(e) => to_errno(e) as isize,
    }
}
