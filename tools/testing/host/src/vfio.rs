// SPDX-License-Identifier: GPL-2.0-only

//! The part of `vfio` that needs no kernel.

#[path = "../../../../vfio/address.rs"]
mod address;

#[path = "../../../../vfio/id.rs"]
mod id;

#[path = "../../../../vfio/module/list.rs"]
pub(crate) mod list;

#[path = "../../../../vfio/name.rs"]
mod name;

#[path = "../../../../vfio/span.rs"]
mod span;

#[path = "../../../../vfio/uuid.rs"]
mod uuid;

pub(crate) use self::address::Address;
pub(crate) use self::id::Id;
pub(crate) use self::name::Name;
pub(crate) use self::span::Span;
pub(crate) use self::uuid::Uuid;
