// SPDX-License-Identifier: GPL-2.0-only

//! What a user sees of Intel's OpRegion, byte by byte. An input is a version, the length of the
//! VBT, the size of the region, and where to read how many bytes, in two bytes each; for the last
//! two, in units of a byte.

#![no_main]
#![allow(dead_code)]

#[path = "../../../../igd/view.rs"]
mod view;

#[path = "../../../../vfio/span.rs"]
mod span;

mod vfio {
    pub(crate) use super::span::Span;
}

use libfuzzer_sys::fuzz_target;
use vfio::Span;
use view::Source;

/// Byte `i` of the region: its source, and its offset there.
fn expected(i: usize, vbt_len: usize) -> (Source, usize) {
    match i {
        0x16 | 0x17 => (Source::Version, i - 0x16),
        0x3ba..=0x3c1 => (Source::Rvda, i - 0x3ba),
        0..=0x1fff => (Source::OpRegion, i),
        _ if i - 0x2000 < vbt_len => (Source::Vbt, i - 0x2000),
        _ => (Source::Nothing, i - 0x2000),
    }
}

fuzz_target!(|input: [u16; 5]| {
    let [version, vbt_len, size, start, len] = input;
    let (vbt_len, size) = (vbt_len as usize, size as usize);
    let Some(at) = Span::clip(start.into(), len.into(), size) else {
        assert!(usize::from(start) >= size);
        return;
    };
    let mut i = usize::from(start);
    for (source, part) in view::pieces(at, vbt_len) {
        for place in part.range() {
            // Missing bytes are counted from the end of the VBT.
            assert_eq!((source, place), expected(i, vbt_len));
            i += 1;
        }
    }
    assert_eq!(i, at.range().end);

    let seen = view::version(version.to_le_bytes(), vbt_len > 0);
    let patched = version == 0x0200 && vbt_len > 0;
    assert_eq!(u16::from_le_bytes(seen), version + u16::from(patched));
});
