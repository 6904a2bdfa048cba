// SPDX-License-Identifier: GPL-2.0-only

//! What a user sees of Intel's OpRegion, compared with a plain copy of it; and ranges of bytes.

use crate::igd_view::{self as view, Header, Source};
use crate::vfio::Span;
use proptest::prelude::*;

const HEADER: Header = Header {
    size_kb: 8,
    version: 0x0100,
    rvda: 0,
    rvds: 0,
};

/// Bytes that depend on their offsets.
fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + i / 256) ^ salt) as u8).collect()
}

fn op_region(version: u16) -> Vec<u8> {
    let mut bytes = pattern(view::SIZE, 0);
    bytes[view::VERSION..][..2].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// Everything that a user sees, as one array.
fn model(op_region: &[u8], vbt: &[u8]) -> Vec<u8> {
    let mut all = op_region.to_vec();
    if !vbt.is_empty() && all[0x16..0x18] == [0, 2] {
        all[0x16] = 1;
    }
    let rvda: u64 = if vbt.is_empty() { 0 } else { 0x2000 };
    all[0x3ba..0x3c2].copy_from_slice(&rvda.to_le_bytes());
    all.extend(vbt);
    all
}

/// What is read, piece by piece, and whether it is complete.
fn read(op_region: &[u8], vbt: &[u8], at: Span) -> (Vec<u8>, bool) {
    let mut seen = Vec::new();
    for (source, part) in view::pieces(at, vbt.len()) {
        let version = [op_region[view::VERSION], op_region[view::VERSION + 1]];
        let version = view::version(version, !vbt.is_empty());
        let rvda = view::rvda(!vbt.is_empty());
        seen.extend(match source {
            Source::OpRegion => part.of(op_region).unwrap(),
            Source::Version => part.of(&version).unwrap(),
            Source::Rvda => part.of(&rvda).unwrap(),
            Source::Vbt => part.of(vbt).unwrap(),
            Source::Nothing => return (seen, false),
        });
    }
    (seen, true)
}

fn check(version: u16, vbt_len: usize, size: usize, start: usize, len: usize) {
    let (op_region, vbt) = (op_region(version), pattern(vbt_len, 0x55));
    let all = model(&op_region, &vbt);
    let Some(at) = Span::clip(start as u64, len, size) else {
        assert!(start >= size);
        return;
    };
    let end = (start + len).min(size);
    let there = all.get(start..end.min(all.len())).unwrap_or_default();
    let expected = (there.to_vec(), end <= all.len() || at.size() == 0);
    assert_eq!(
        read(&op_region, &vbt, at),
        expected,
        "{start:#x} {len:#x} of {size:#x}"
    );
}

#[test]
fn around_each_seam_every_byte_is_the_right_one() {
    for version in [0x0100, 0x0200, 0x0201, 0x0002] {
        for vbt_len in [0, 1, 5000] {
            let size = view::SIZE + vbt_len;
            for seam in [0, 0x16, 0x18, 0x3ba, 0x3c2, 0x2000, size] {
                for start in seam.max(10) - 10..seam + 10 {
                    for len in 0..20 {
                        check(version, vbt_len, size, start, len);
                    }
                }
            }
            check(version, vbt_len, size, 0, usize::MAX - size);
        }
    }
}

#[test]
fn the_vbt_is_elsewhere_if_the_header_says_all_of_it() {
    let header = |version, rvda, rvds| Header {
        version,
        rvda,
        rvds,
        ..HEADER
    };
    let vbt = |header: Header| header.vbt(0x7000_0000).map(|at| (at.address, at.len));

    assert_eq!(vbt(header(0x01ff, 0x1000, 1)), None);
    assert_eq!(vbt(header(0x0200, 0, 1)), None);
    assert_eq!(vbt(header(0x0200, 0x1000, 0)), None);
    assert_eq!(vbt(header(0x0200, 0x1000, 9)), Some((0x1000, 9)));
    assert_eq!(vbt(header(0x0201, 0x2000, 9)), Some((0x7000_2000, 9)));
    assert_eq!(vbt(header(0x0300, 0x2000, 9)), Some((0x7000_2000, 9)));
    let far = 0x1_2345_6789;
    assert_eq!(vbt(header(0x0200, far, 9)), Some((far, 9)));
    assert_eq!(vbt(header(0x0201, u64::MAX, 9)), Some((u64::MAX, 9)));
}

#[test]
fn the_size_is_that_of_the_header_with_the_vbt_elsewhere() {
    let size = |size_kb, version, rvda, rvds| {
        Header {
            size_kb,
            version,
            rvda,
            rvds,
        }
        .region_size()
    };
    assert_eq!(size(8, 0x0100, 0x1000, 77), 0x2000);
    assert_eq!(size(8, 0x0200, 0x1000, 77), 0x2000 + 77);
    assert_eq!(size(4, 0x0201, 0x1000, 77), 0x1000 + 77);
    // In 32 bits, as in C.
    assert_eq!(size(0x40_0000, 0x0100, 0, 0), 0);
    assert_eq!(size(0x40_0008, 0x0200, 1, u32::MAX), 0x1fff);
}

proptest! {
    #[test]
    fn a_read_of_the_op_region_is_a_copy_of_what_is_there(
        version in prop_oneof![Just(0x0200u16), any::<u16>()],
        vbt_len in prop_oneof![Just(0usize), 0usize..9000],
        size in 0usize..30000,
        start in 0usize..30000,
        len in 0usize..30000,
    ) {
        check(version, vbt_len, size, start, len);
    }

    #[test]
    fn a_span_is_read_once_in_aligned_words(start in 0usize..5000, len in 0usize..64, size in 1usize..5000) {
        let Some(mut at) = Span::clip(start as u64, len, size) else {
            prop_assert!(start >= size);
            return Ok(());
        };
        let (mut next, end) = (start, at.range().end);
        prop_assert_eq!(end, (start + len).min(size));
        let mut last = 0;
        while let Some(word) = at.take_aligned() {
            prop_assert_eq!(word.range().start, next);
            prop_assert!([1, 2, 4].contains(&word.size()) && next % word.size() == 0);
            // It gets wider and then narrower again, so it is as wide as it can be.
            let wider = word.size() * 2;
            prop_assert!(wider == 8 || next % wider != 0 || next + wider > end);
            next += word.size();
            last += 1;
        }
        prop_assert!(next == end && last <= len);
    }
}
