// SPDX-License-Identifier: GPL-2.0-only

//! Ranges of bytes.
//!
//! Depends on `core` alone, so that it compiles on the host too.

use core::{
    cmp::min,
    ops::Range, //
};

/// The bytes of a region that a user has asked for, or a part of them.
///
/// # Invariants
///
/// `start` is not greater than `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// The `len` bytes from `start` on in a region of `size` bytes: fewer if the region ends before
    /// that, and `None` if `start` is not in it.
    pub(crate) fn clip(start: u64, len: usize, size: usize) -> Option<Self> {
        let start = usize::try_from(start).ok()?;
        // INVARIANT: A saturating sum with `start` is not less than `start`, and neither is `size`.
        (start < size).then(|| Self {
            start,
            end: min(start.saturating_add(len), size),
        })
    }

    /// The number of bytes.
    pub(crate) fn size(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// The offsets of the bytes.
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The part of `bytes` at these offsets, if it has all of them.
    pub(crate) fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.range())
    }

    /// The same bytes with offsets from `base`, for a span that does not start before that.
    pub(crate) fn from(self, base: usize) -> Self {
        // INVARIANT: A saturating subtraction of the same number from both keeps their order.
        Self {
            start: self.start.saturating_sub(base),
            end: self.end.saturating_sub(base),
        }
    }

    /// Removes the bytes before `end` and returns them; `None` if there are none.
    pub(crate) fn take_before(&mut self, end: usize) -> Option<Self> {
        let end = min(end, self.end);
        if self.start >= end {
            return None;
        }
        // INVARIANT: `end` is greater than `start`, and not greater than the end of this span.
        let part = Self {
            start: self.start,
            end,
        };
        self.start = end;
        Some(part)
    }

    /// Removes the first 4, 2 or 1 bytes and returns them, as many as exist and are naturally
    /// aligned; `None` if none is left.
    pub(crate) fn take_aligned(&mut self) -> Option<Self> {
        let width = if self.start & 3 == 0 && self.size() >= 4 {
            4
        } else if self.start & 1 == 0 && self.size() >= 2 {
            2
        } else {
            1
        };
        self.take_before(self.start.saturating_add(width))
    }
}
