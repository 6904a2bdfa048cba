// SPDX-License-Identifier: GPL-2.0-only

//! What is specific to the module of this driver: its parameters, and what it does for them when it
//! is loaded. Nothing else below `vfio` uses it.

mod link;
pub(crate) mod list;
mod overrides;
pub(crate) mod params;

pub(crate) use self::link::ModuleLink;
pub(crate) use self::overrides::{
    tell_kept_by,
    Overrides, //
};
