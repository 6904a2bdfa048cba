// SPDX-License-Identifier: GPL-2.0-only

//! Memory for KUnit tests: user memory, and that of dropped values.
//!
//! C header: [`include/kunit/test.h`](srctree/include/kunit/test.h)

use super::{
    bindings as vfio,
    compat,
    IoctlReturn, //
};
use core::{
    mem::{
        size_of,
        MaybeUninit, //
    },
    ptr, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// A page of user memory, for as long as the test runs, with no memory behind it.
pub(crate) struct UserPage(usize);

impl UserPage {
    /// Maps a page.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is none, `EINVAL` outside of a test.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: There is no requirement.
        let test = unsafe { bindings::kunit_get_current_test() };
        if test.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: `test` is the running test; without a file this is anonymous memory.
        let address = unsafe {
            bindings::kunit_vm_mmap(
                test,
                ptr::null_mut(),
                0,
                2 * PAGE_SIZE,
                (vfio::PROT_READ | vfio::PROT_WRITE) as c_ulong,
                (vfio::MAP_ANONYMOUS | vfio::MAP_PRIVATE) as c_ulong,
                0,
            )
        };
        if address == 0 {
            return Err(ENOMEM);
        }
        let page = Self(address);
        // SAFETY: The second page belongs to the memory above, and nobody uses it.
        kernel::error::to_result(unsafe { bindings::vm_munmap(page.end(), PAGE_SIZE) })?;
        Ok(page)
    }

    fn end(&self) -> usize {
        self.0.wrapping_add(PAGE_SIZE)
    }

    /// The address of the last `size` bytes of the page.
    pub(crate) fn last(&self, size: usize) -> UserPtr {
        UserPtr::from_addr(self.end().wrapping_sub(size))
    }

    /// Writes to the last bytes of the page.
    pub(crate) fn fill_last(&self, bytes: &[u8]) -> Result {
        UserSlice::new(self.last(bytes.len()), bytes.len())
            .writer()
            .write_slice(bytes)
    }

    /// Reads the last bytes of the page.
    pub(crate) fn read_last(&self, bytes: &mut [u8]) -> Result {
        UserSlice::new(self.last(bytes.len()), bytes.len())
            .reader()
            .read_slice(bytes)
    }
}

/// Creates a value, uses it, drops it, and returns the bytes that it leaves behind in its memory.
pub(crate) fn bytes_after_drop<T, E>(
    init: impl PinInit<T, E>,
    act: impl FnOnce(&T),
) -> Result<KVec<u8>>
where
    Error: From<E>,
{
    // Zeroes, so that bytes between the fields are initialised, too.
    let mut memory = KBox::new(MaybeUninit::<T>::zeroed(), GFP_KERNEL)?;
    let value = memory.as_mut_ptr();

    // SAFETY: `value` is valid for writes, and the box does not move until the value is dropped.
    unsafe { compat::raw_try_init(value, init) }?;
    // SAFETY: The value has been initialised.
    act(unsafe { &*value });
    // SAFETY: The value is initialised, and nobody uses it after this.
    unsafe { value.drop_in_place() };

    let mut bytes = KVec::with_capacity(size_of::<T>(), GFP_KERNEL)?;
    for i in 0..size_of::<T>() {
        // SAFETY: The byte is inside of the box's memory, all of which has been written to.
        let byte = unsafe { value.cast::<u8>().add(i).read_volatile() };
        bytes.push(byte, GFP_KERNEL)?;
    }
    Ok(bytes)
}

impl PartialEq<Result> for IoctlReturn {
    fn eq(&self, other: &Result) -> bool {
        *self == Self::from(*other)
    }
}
