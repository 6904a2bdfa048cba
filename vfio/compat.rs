// SPDX-License-Identifier: GPL-2.0-only

//! Differences between the kernels for which this driver is built.
//!
//! Kbuild sets a `cfg` option for the kernel at hand.

#[cfg(not(VFIO_PIN_INIT_WITHOUT_RAW))]
pub(super) use pin_init::{
    raw_init,
    raw_try_init, //
};

/// `EOPNOTSUPP`, which `kernel::error::code` of Linux 7.2 does not have.
pub(crate) fn eopnotsupp() -> kernel::error::Error {
    kernel::error::Error::from_errno(-(kernel::bindings::EOPNOTSUPP as kernel::ffi::c_int))
}

#[cfg(VFIO_PIN_INIT_WITHOUT_RAW)]
pub(super) use self::linux_7_2::{
    raw_init,
    raw_try_init, //
};

#[cfg(VFIO_PIN_INIT_WITHOUT_RAW)]
mod linux_7_2 {
    use core::convert::Infallible;
    use kernel::prelude::*;

    /// Initialises `slot`.
    ///
    /// # Safety
    ///
    /// `slot` is valid for writes, and what it holds afterwards does not move until it is dropped.
    pub(in crate::vfio) unsafe fn raw_init<T>(slot: *mut T, init: impl PinInit<T, Infallible>) {
        // SAFETY: By the safety requirements.
        match unsafe { init.__pinned_init(slot) } {
            Ok(()) => (),
            Err(e) => match e {},
        }
    }

    /// The same with an initialiser that can fail.
    ///
    /// # Safety
    ///
    /// As above, and `slot` is not used after an error.
    pub(in crate::vfio) unsafe fn raw_try_init<T, E>(
        slot: *mut T,
        init: impl PinInit<T, E>,
    ) -> Result<(), E> {
        // SAFETY: By the safety requirements.
        unsafe { init.__pinned_init(slot) }
    }
}
