// SPDX-License-Identifier: GPL-2.0-only

//! What a user sees of the OpRegion of Intel graphics.
//!
//! The OpRegion is a table in memory with which the firmware informs the graphics driver. A part of
//! it, the Video BIOS Table (VBT), may be elsewhere if the OpRegion has no room for it. The user
//! always finds it right behind the OpRegion, as in version 2.1 and later.
//!
//! Depends on `core` alone, so that it compiles on the host too.

use super::vfio::Span;

/// The size of the OpRegion in bytes, without a VBT elsewhere.
pub(crate) const SIZE: usize = 0x2000;

/// The signature, with which the header starts.
pub(crate) const SIGNATURE: &[u8; 16] = b"IntelGraphicsMem";
/// The offset of the size in units of 1024 bytes, a `u32`.
pub(crate) const SIZE_KB: usize = 0x10;
/// The offset of the version, a `u16`: the major one in the upper byte.
pub(crate) const VERSION: usize = 0x16;
/// The offset of the address of a VBT elsewhere, a `u64`.
pub(crate) const RVDA: usize = 0x3ba;
/// The offset of the size in bytes of a VBT elsewhere, a `u32`.
pub(crate) const RVDS: usize = 0x3c2;

const RVDA_END: usize = RVDA + size_of::<u64>();
const VERSION_END: usize = VERSION + size_of::<u16>();

/// The sizes and addresses in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) size_kb: u32,
    pub(crate) version: u16,
    pub(crate) rvda: u64,
    pub(crate) rvds: u32,
}

/// Physical memory: its address, and its size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) len: u32,
}

impl Header {
    /// The place of a VBT that is not in the OpRegion; the OpRegion itself is at `base`.
    pub(crate) fn vbt(&self, base: u32) -> Option<Place> {
        if self.version < 0x0200 || self.rvda == 0 || self.rvds == 0 {
            return None;
        }
        let address = if self.version == 0x0200 {
            self.rvda
        } else {
            // A sum beyond the last address becomes the last one, which cannot be mapped either.
            u64::from(base).saturating_add(self.rvda)
        };
        Some(Place {
            address,
            len: self.rvds,
        })
    }

    /// The size of the region in bytes, computed in 32 bits as in C.
    pub(crate) fn region_size(&self) -> usize {
        let vbt = self.vbt(0).map_or(0, |vbt| vbt.len);
        self.size_kb.wrapping_mul(1024).wrapping_add(vbt) as usize
    }
}

/// Where bytes come from. A span that goes with it counts from the start of this source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The OpRegion itself.
    OpRegion,
    /// The version, see [`version()`].
    Version,
    /// The address of the VBT, see [`rvda()`].
    Rvda,
    /// The VBT outside of the OpRegion.
    Vbt,
    /// Nowhere: the header claims a larger size than there can be.
    Nothing,
}

/// Where the bytes `at` come from, in order, if the VBT outside of the OpRegion has `vbt_len`
/// bytes.
pub(crate) fn pieces(mut at: Span, vbt_len: usize) -> impl Iterator<Item = (Source, Span)> {
    // The source; the offset in the region of its start (for parts of the OpRegion, of the start of
    // the OpRegion); and the offset of its end.
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

/// The version that the user reads: not 2.0 with a VBT, whose address would be a physical one.
pub(crate) fn version(found: [u8; 2], has_vbt: bool) -> [u8; 2] {
    if has_vbt && found == [0x00, 0x02] {
        [0x01, 0x02]
    } else {
        found
    }
}

/// The address of the VBT that the user reads, relative to the start of the OpRegion.
pub(crate) fn rvda(has_vbt: bool) -> [u8; 8] {
    let address = if has_vbt { SIZE as u64 } else { 0 };
    address.to_le_bytes()
}
