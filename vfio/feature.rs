// SPDX-License-Identifier: GPL-2.0-only

//! `VFIO_DEVICE_FEATURE`: the data of a call, and its answer.

pub(crate) mod request;
pub(crate) mod table;

use super::uapi;
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

// `request` repeats these numbers, so that it depends on nothing else.
const _: () = assert!(
    request::INDEX_MASK == uapi::VFIO_DEVICE_FEATURE_MASK
        && request::GET == uapi::VFIO_DEVICE_FEATURE_GET
        && request::SET == uapi::VFIO_DEVICE_FEATURE_SET
        && request::PROBE == uapi::VFIO_DEVICE_FEATURE_PROBE
);

/// The data of a `VFIO_DEVICE_FEATURE` call in user space: an address and a size in bytes.
#[derive(Clone, Copy)]
pub(crate) struct FeatureArg {
    pub(super) ptr: UserPtr,
    pub(super) size: usize,
}

impl FeatureArg {
    /// `size` bytes at `ptr`; neither has been checked.
    pub(crate) fn new(ptr: UserPtr, size: usize) -> Self {
        Self { ptr, size }
    }

    /// The size in bytes that the caller has given.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Reads a `V` from the start of the data and calls `f` with it. The value is never moved
    /// before it is dropped, so no copy of it is left behind.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is shorter, `EFAULT` if its address is not readable; else those of `f`.
    // Not inlined, so that PROBE and requests for the core need no stack for it.
    #[inline(never)]
    pub(crate) fn read_and<V: FromBytes>(self, f: impl FnOnce(&V) -> Result) -> Result {
        if self.size < mem::size_of::<V>() {
            return Err(EINVAL);
        }
        // SAFETY: Any bytes are a valid `V`, which is `FromBytes`.
        let mut value: V = unsafe { mem::zeroed() };
        // SAFETY: `value` is that large, and the function treats the other address as a user space
        // address.
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
/// This is C's form, in which the answer of the core is passed on unchanged. A `Result` would have
/// to be made from it and taken apart again, for every feature of the core.
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
