// SPDX-License-Identifier: GPL-2.0-only

//! Tables of features.
//!
//! A line of a [`feature_table!`] has an index, the operations, the type of the data, and the
//! handlers. What is the same for all features is here: sizes, which follow from the type; copies
//! from and to user space; the order of the checks.

use super::{
    request::{
        Action,
        Operations,
        Request, //
    },
    FeatureArg, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

/// Defines the function that answers the `VFIO_DEVICE_FEATURE` calls for one type of device.
///
/// The lines have these forms, where `INDEX` is a constant, and the functions take the device
/// first:
///
/// ```ignore
/// INDEX => get: Data = get_data;                      // fn(&Device) -> Result<Data>
/// INDEX => set: Data = set_data;                      // fn(&Device, &Data) -> Result
/// INDEX => get_set: Data = get_data, set_data;
/// INDEX => set: Data = set_data where has_it;         // fn(&Device) -> bool, on any line
/// ```
///
/// All other requests are passed to the device's `core_ioctl_feature()` unchanged.
///
/// For GET, `Data` must be `AsBytes`, and for SET, `FromBytes`. A type that must not cross to user
/// space does not compile, nor does an index that occurs twice.
///
/// # Errors
///
/// If the device has a feature of the table, the first condition that applies decides:
///
/// - `EINVAL` if the flags are invalid, see [`Request::new`].
/// - `EINVAL` if the feature does not offer the operation, or there is too little data, see
///   [`Request::check`].
/// - `EFAULT` if the data cannot be read, or written.
/// - The error of the feature's function, which SET calls only after all these checks.
macro_rules! feature_table {
    (
        $(#[$attr:meta])*
        $vis:vis fn $name:ident($dev:ident: &$device:ty);
        $($index:path => $how:ident: $data:ty = $first:path $(, $second:path)?
            $(where $supported:path)?;)*
    ) => {
        $(#[$attr])*
        $vis fn $name(
            $dev: &$device,
            flags: u32,
            arg: $crate::vfio::FeatureArg,
        ) -> $crate::vfio::IoctlReturn {
            const {
                assert!(
                    $crate::vfio::feature::table::are_distinct(&[$($index),*]),
                    "a feature index is in the table twice"
                );
            }

            match $crate::vfio::feature::request::index(flags) {
                $($index $(if $supported($dev))? => $crate::vfio::feature_table!(
                    @$how flags, arg, $dev, $data, $first $(, $second)?
                ),)*
                _ => $dev.core_ioctl_feature(flags, arg),
            }
        }
    };
    (@get $flags:ident, $arg:ident, $dev:ident, $data:ty, $get:path) => {
        $crate::vfio::feature::table::get::<_, $data>($flags, $arg, $dev, $get).into()
    };
    (@set $flags:ident, $arg:ident, $dev:ident, $data:ty, $set:path) => {
        $crate::vfio::feature::table::set::<_, $data>($flags, $arg, $dev, $set).into()
    };
    (@get_set $flags:ident, $arg:ident, $dev:ident, $data:ty, $get:path, $set:path) => {
        $crate::vfio::feature::table::get_set::<_, $data>($flags, $arg, $dev, $get, $set).into()
    };
}

pub(crate) use feature_table;

/// Whether no number occurs twice.
pub(crate) const fn are_distinct(numbers: &[u32]) -> bool {
    let mut i = 0;
    while i < numbers.len() {
        let mut j = i + 1;
        while j < numbers.len() {
            if numbers[i] == numbers[j] {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}

/// Answers a request for a feature that offers GET.
#[allow(dead_code, reason = "not every driver has such a feature")]
pub(crate) fn get<D, T: AsBytes>(
    flags: u32,
    arg: FeatureArg,
    dev: &D,
    get: impl FnOnce(&D) -> Result<T>,
) -> Result {
    let offered = Operations {
        get: true,
        set: false,
    };
    match Request::new(flags)?.check(offered, size_of::<T>(), arg.size())? {
        Action::Probe => Ok(()),
        Action::Get => arg.write(&get(dev)?),
        // Not offered.
        Action::Set => Err(EINVAL),
    }
}

/// Answers a request for a feature that offers SET.
#[allow(dead_code, reason = "not every driver has such a feature")]
pub(crate) fn set<D, T: FromBytes>(
    flags: u32,
    arg: FeatureArg,
    dev: &D,
    set: impl FnOnce(&D, &T) -> Result,
) -> Result {
    let offered = Operations {
        get: false,
        set: true,
    };
    match Request::new(flags)?.check(offered, size_of::<T>(), arg.size())? {
        Action::Probe => Ok(()),
        Action::Set => arg.read_and(|data| set(dev, data)),
        // Not offered.
        Action::Get => Err(EINVAL),
    }
}

/// Answers a request for a feature that offers GET and SET.
#[allow(dead_code, reason = "not every driver has such a feature")]
pub(crate) fn get_set<D, T: AsBytes + FromBytes>(
    flags: u32,
    arg: FeatureArg,
    dev: &D,
    get: impl FnOnce(&D) -> Result<T>,
    set: impl FnOnce(&D, &T) -> Result,
) -> Result {
    let offered = Operations {
        get: true,
        set: true,
    };
    match Request::new(flags)?.check(offered, size_of::<T>(), arg.size())? {
        Action::Probe => Ok(()),
        Action::Get => arg.write(&get(dev)?),
        Action::Set => arg.read_and(|data| set(dev, data)),
    }
}
