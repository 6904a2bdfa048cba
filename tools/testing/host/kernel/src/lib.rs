// SPDX-License-Identifier: GPL-2.0-only

//! The part of the `kernel` crate that the driver's pure logic uses: the error type.

pub mod prelude {
    //! The names that `use kernel::prelude::*` imports.

    /// An errno.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Error(pub i32);

    /// The result of functions that can fail.
    pub type Result<T = (), E = Error> = core::result::Result<T, E>;

    macro_rules! errno {
        ($($name:ident = $number:literal),* $(,)?) => {
            $(#[doc = stringify!($name)] pub const $name: Error = Error($number);)*
        };
    }

    errno! {
        EACCES = 13,
        EBUSY = 16,
        ENODEV = 19,
        EINVAL = 22,
        ENOTTY = 25,
        EOVERFLOW = 75,
    }
}
