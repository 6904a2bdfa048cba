// SPDX-License-Identifier: GPL-2.0-only

//! Results as C has them.
//!
//! The functions of `kernel::error` do the same, but they are calls even where the compiler knows
//! the result, and every ioctl passes them.

use core::mem;
use kernel::{
    error::Error,
    prelude::*, //
};

pub(super) const fn to_errno(error: Error) -> c_int {
    // SAFETY: An `Error` has the size of a `c_int`, or this would not compile, and is one number.
    // For a `c_int` every number is valid; that it is the errno is checked below.
    unsafe { mem::transmute::<Error, c_int>(error) }
}

const _: () = assert!(
    to_errno(EPERM) == -(kernel::bindings::EPERM as c_int)
        && to_errno(ENOTTY) == -(kernel::bindings::ENOTTY as c_int)
);

/// Calls `f` and returns its number, or its error as a negative errno.
#[inline(always)]
pub(super) fn from_result(f: impl FnOnce() -> Result<c_int>) -> c_int {
    match f() {
        Ok(number) => number,
        Err(e) => to_errno(e),
    }
}

/// Takes what C returned: a number, or a negative errno.
#[inline(always)]
pub(super) fn to_number(ret: c_int) -> Result<c_int> {
    if ret < 0 {
        return Err(Error::from_errno(ret));
    }
    Ok(ret)
}

/// Takes what C returned: no error, or a negative errno.
#[inline(always)]
pub(super) fn to_result(ret: c_int) -> Result {
    to_number(ret).map(|_| ())
}

/// What an ioctl returns: a number that is not negative, or a negative errno.
///
/// It is as C has it, so that what the core returns is handed on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct IoctlReturn(c_int);

impl IoctlReturn {
    /// Takes what a function of C returned.
    pub(crate) const fn from_raw(ret: c_int) -> Self {
        Self(ret)
    }

    /// What C returns.
    pub(super) const fn to_raw(self) -> c_int {
        self.0
    }
}

impl From<Result> for IoctlReturn {
    #[inline(always)]
    fn from(result: Result) -> Self {
        Self(from_result(|| result.map(|()| 0)))
    }
}

impl PartialEq<Result> for IoctlReturn {
    #[inline]
    fn eq(&self, other: &Result) -> bool {
        *self == Self::from(*other)
    }
}
