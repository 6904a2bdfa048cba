// SPDX-License-Identifier: GPL-2.0-only

//! A second statement of the checks of a request, with which the driver's own is compared.

use crate::request::{Action, Operations};
use kernel::prelude::*;

pub(crate) const GET: u32 = 1 << 16;
pub(crate) const SET: u32 = 1 << 17;
pub(crate) const PROBE: u32 = 1 << 18;

/// The contract as a table: the first line that applies decides.
pub(crate) fn expected(
    flags: u32,
    offered: Operations,
    needed: usize,
    given: usize,
) -> Result<Action> {
    let (get, set, probe) = (flags & GET != 0, flags & SET != 0, flags & PROBE != 0);
    let table = [
        (flags >> 19 != 0, Err(EINVAL)),
        (get && set && !probe, Err(EINVAL)),
        (get && !offered.get, Err(EINVAL)),
        (set && !offered.set, Err(EINVAL)),
        (probe, Ok(Action::Probe)),
        (!get && !set, Err(EINVAL)),
        (given < needed, Err(EINVAL)),
        (get, Ok(Action::Get)),
        (set, Ok(Action::Set)),
    ];
    table.into_iter().find(|line| line.0).unwrap().1
}
