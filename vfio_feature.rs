// SPDX-License-Identifier: GPL-2.0-only

//! `VFIO_DEVICE_FEATURE`: which features are the driver's own. Whatever is not goes to the core,
//! which knows what else there is.
//!
//! The table at the end of this file is all there is: index, operations, data, handler. How a line
//! becomes an answer is in `table`, the checks that every request has to pass are in `request`.
//!
//! UAPI: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

mod request;
mod table;
#[cfg(CONFIG_VFIO_PCI_RUST_KUNIT_TEST)]
mod tests;

use self::table::feature_table;
use crate::{
    vf_token,
    vfio::{
        uapi,
        Device,
        Opened,
        Uuid, //
    },
    VfioPciRust, //
};

// `request` has these as numbers of its own, to depend on nothing.
const _: () = assert!(
    request::INDEX_MASK == uapi::VFIO_DEVICE_FEATURE_MASK
        && request::GET == uapi::VFIO_DEVICE_FEATURE_GET
        && request::SET == uapi::VFIO_DEVICE_FEATURE_SET
        && request::PROBE == uapi::VFIO_DEVICE_FEATURE_PROBE
);

feature_table! {
    /// Answers a `VFIO_DEVICE_FEATURE` call on a device of this driver.
    pub(crate) fn dispatch(dev: &Device<VfioPciRust, Opened>);

    // There is no GET: it would show the token of the previous user.
    uapi::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN => set: Uuid = vf_token::set where vf_token::is_pf;
}
