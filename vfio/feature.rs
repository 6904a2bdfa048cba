// SPDX-License-Identifier: GPL-2.0-only

//! `VFIO_DEVICE_FEATURE`: the data of a call, and its answer.

use core::mem;
use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// The data of a `VFIO_DEVICE_FEATURE` call in user space: an address and a size in bytes.
#[derive(Clone, Copy)]
pub(crate) struct FeatureArg {
    pub(super) ptr: UserPtr,
    pub(super) size: usize,
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

    /// Reads a `V` from the start of the data and calls `f` with it. It is dropped where it was
    /// read to and has never been anywhere else.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is shorter, `EFAULT` if its address is not readable; else those of `f`.
    // Not inlined, so that PROBE and what goes to the core need no stack.
    #[inline(never)]
    pub(crate) fn read_and<V: FromBytes>(self, f: impl FnOnce(&V) -> Result) -> Result {
        if self.size < mem::size_of::<V>() {
            return Err(EINVAL);
        }
        // SAFETY: Whatever the bytes of a `V` are, they are valid.
        let mut value: V = unsafe { mem::zeroed() };
        // SAFETY: `value` is that large, and the function treats the other address as one of user
        // space.
        let left = unsafe {
            kernel::bindings::copy_from_user(
                (&raw mut value).cast(),
                self.ptr.as_const_ptr(),
                mem::size_of::<V>(),
            )
        };
        if left != 0 {
            return Err(EFAULT);
        }
        f(&value)
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

/// What an ioctl returns: a number that is not negative, or a negative errno.
///
/// It is as C has it, so that what the core returns is handed on as it is. A `Result` would be
/// made of it and unmade again, for every feature of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct IoctlReturn(pub(crate) c_int);

impl From<Result> for IoctlReturn {
    fn from(result: Result) -> Self {
        match result {
            Ok(()) => Self(0),
            Err(e) => Self(e.to_errno()),
        }
    }
}
