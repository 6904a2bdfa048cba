// SPDX-License-Identifier: GPL-2.0-only

//! Stretches of bytes.
//!
//! Depends on `core` alone, so that it compiles on the host too.

use core::{
    cmp::min,
    ops::Range, //
};

/// A stretch of bytes of a region, for as many of which somebody has asked.
///
/// # Invariants
///
/// `start` is not behind `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// What there is of `len` bytes from `start` on, in a region of `size` bytes: fewer where the
    /// region ends, and nothing if `start` is not in it.
    pub(crate) fn clip(start: u64, len: usize, size: usize) -> Option<Self> {
        let start = usize::try_from(start).ok()?;
        // INVARIANT: Of a sum with `start` the larger one is not before it, and nor is `size`.
        (start < size).then(|| Self {
            start,
            end: min(start.saturating_add(len), size),
        })
    }

    /// How many bytes it is.
    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// The bytes by their numbers.
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// These of `bytes`, if all are there.
    pub(crate) fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.range())
    }

    /// The same bytes of a region of which `base` is the first, for a span that starts there or
    /// later.
    pub(crate) fn from(self, base: usize) -> Self {
        // INVARIANT: The same number is taken from both, but for what would be less than nothing.
        Self {
            start: self.start.saturating_sub(base),
            end: self.end.saturating_sub(base),
        }
    }

    /// Takes away the bytes before `end` and returns them; nothing if there are none.
    pub(crate) fn take_before(&mut self, end: usize) -> Option<Self> {
        let end = min(end, self.end);
        if self.start >= end {
            return None;
        }
        // INVARIANT: `end` is behind `start`, and not behind the end of this span.
        let part = Self {
            start: self.start,
            end,
        };
        self.start = end;
        Some(part)
    }

    /// Takes away the first 4, 2 or 1 bytes, as many as there are and as their number is a multiple
    /// of, and returns them; nothing if none is left.
    pub(crate) fn take_aligned(&mut self) -> Option<Self> {
        let width = if self.start & 3 == 0 && self.len() >= 4 {
            4
        } else if self.start & 1 == 0 && self.len() >= 2 {
            2
        } else {
            1
        };
        self.take_before(self.start.saturating_add(width))
    }
}
