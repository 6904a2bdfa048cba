// SPDX-License-Identifier: GPL-2.0-only

//! What a user sees of the OpRegion of Intel graphics.
//!
//! The OpRegion is a table in memory by which the firmware tells the driver of the graphics what it
//! has to know. A part of it, the VBT, may be somewhere else if the OpRegion has no room for it.
//! Its user finds one behind the other all the same, as version 2.1 and later have it.
//!
//! Depends on `core` alone, so that it compiles on the host too.

use super::vfio::Span;

/// The bytes of the OpRegion without a VBT elsewhere.
pub(crate) const SIZE: usize = 0x2000;

/// Where the header has what: the signature, in the first bytes.
pub(crate) const SIGNATURE: &[u8; 16] = b"IntelGraphicsMem";
/// The size in units of 1024 bytes, a `u32`.
pub(crate) const SIZE_KB: usize = 0x10;
/// The version, a `u16`: the major one in the upper byte.
pub(crate) const VERSION: usize = 0x16;
/// The address of the VBT if it is elsewhere, a `u64`.
pub(crate) const RVDA: usize = 0x3ba;
/// The size of the VBT if it is elsewhere, in bytes, a `u32`.
pub(crate) const RVDS: usize = 0x3c2;

const RVDA_END: usize = RVDA + size_of::<u64>();
const VERSION_END: usize = VERSION + size_of::<u16>();

/// What a header says of sizes and places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) size_kb: u32,
    pub(crate) version: u16,
    pub(crate) rvda: u64,
    pub(crate) rvds: u32,
}

/// Physical memory: its address and how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) len: u32,
}

impl Header {
    /// Where the VBT is if it is not in the OpRegion, for one at `base`.
    pub(crate) fn vbt(&self, base: u32) -> Option<Place> {
        if self.version < 0x0200 || self.rvda == 0 || self.rvds == 0 {
            return None;
        }
        let address = if self.version == 0x0200 {
            self.rvda
        } else {
            // An address behind the last one there is cannot be mapped, and is as good as the last.
            u64::from(base).saturating_add(self.rvda)
        };
        Some(Place {
            address,
            len: self.rvds,
        })
    }

    /// How many bytes its user finds, in 32 bits as in C.
    pub(crate) fn region_size(&self) -> usize {
        let vbt = self.vbt(0).map_or(0, |vbt| vbt.len);
        self.size_kb.wrapping_mul(1024).wrapping_add(vbt) as usize
    }
}

/// Where bytes come from. A span that is with it counts from the start of what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The OpRegion itself.
    OpRegion,
    /// The version, see [`version()`].
    Version,
    /// The address of the VBT, see [`rvda()`].
    Rvda,
    /// The VBT that is elsewhere.
    Vbt,
    /// There is none: the header says that it is larger than it can be.
    Nothing,
}

/// Where the bytes `at` come from, in their order, if the VBT elsewhere has so many bytes.
pub(crate) fn pieces(mut at: Span, vbt_len: usize) -> impl Iterator<Item = (Source, Span)> {
    // Each with where it begins in the region, or for parts of the OpRegion that does, and ends.
    [
        (Source::OpRegion, 0, VERSION),
        (Source::Version, VERSION, VERSION_END),
        (Source::OpRegion, 0, RVDA),
        (Source::Rvda, RVDA, RVDA_END),
        (Source::OpRegion, 0, SIZE),
        (Source::Vbt, SIZE, SIZE.saturating_add(vbt_len)),
        (Source::Nothing, SIZE, usize::MAX),
    ]
    .into_iter()
    .filter_map(move |(source, base, end)| {
        at.take_before(end).map(|part| (source, part.from(base)))
    })
}

/// The version that the user reads: in 2.0 the VBT would be at an address of the machine's memory.
pub(crate) fn version(found: [u8; 2], has_vbt: bool) -> [u8; 2] {
    if has_vbt && found == [0x00, 0x02] {
        [0x01, 0x02]
    } else {
        found
    }
}

/// The address of the VBT that the user reads: from the start of the OpRegion.
pub(crate) fn rvda(has_vbt: bool) -> [u8; 8] {
    let address = if has_vbt { SIZE as u64 } else { 0 };
    address.to_le_bytes()
}
