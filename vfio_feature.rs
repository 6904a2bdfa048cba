// SPDX-License-Identifier: GPL-2.0-only

//! `VFIO_DEVICE_FEATURE`: the features that the driver implements itself. Requests for all others
//! are passed to the core.
//!
//! The table at the end of this file lists them: index, operations, data, handler. `feature_table!`
//! turns its lines into answers, and makes the checks that every request must pass.
//!
//! UAPI: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

#[cfg(CONFIG_VFIO_PCI_RUST_KUNIT_TEST)]
mod tests;

use crate::vfio::{
    feature_table,
    uapi,
    Device,
    Opened,
    Uuid, //
};
use crate::{
    vf_token,
    VfioPciRust, //
};

feature_table! {
    /// Answers a `VFIO_DEVICE_FEATURE` call on a device of this driver.
    pub(crate) fn dispatch(dev: &Device<VfioPciRust, Opened>);

    // There is no GET: it would reveal the token of the previous user.
    uapi::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN => set: Uuid = vf_token::set where vf_token::is_pf;
}
