// SPDX-License-Identifier: GPL-2.0-only

//! What is specific to the module of this driver: its parameters, and its link in `/sys/module`.
//! Nothing else below `vfio` uses it.

mod link;
pub(crate) mod list;
pub(crate) mod params;

pub(crate) use self::link::ModuleLink;
