// SPDX-License-Identifier: GPL-2.0-only

//! The part of the safe room that needs no kernel.

#[path = "../../../../vfio/uuid.rs"]
mod uuid;

pub(crate) use self::uuid::Uuid;
