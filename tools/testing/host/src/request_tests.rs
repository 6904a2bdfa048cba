// SPDX-License-Identifier: GPL-2.0-only

//! Every combination of operation bits, reserved bits and sizes.

use crate::contract::{expected, GET, PROBE, SET};
use crate::request::{index, Action, Operations, Request};
use kernel::prelude::*;

const NEEDED: usize = 16;

fn answer(flags: u32, offered: Operations, given: usize) -> Result<Action> {
    Request::new(flags)?.check(offered, NEEDED, given)
}

#[test]
fn answers_are_those_of_the_contract() {
    let indices = [0, 1, 3, 5, 11, 13, 0x7fff, 0x8000, 0xfffe, 0xffff];
    let mut cases = 0;

    for operations in 0..8 {
        for reserved in (19..=32).map(|bit| if bit == 32 { 0 } else { 1 << bit }) {
            for index in indices {
                let flags = operations << 16 | reserved | index;
                for (get, set) in [(false, false), (false, true), (true, false), (true, true)] {
                    let offered = Operations { get, set };
                    for given in (0..=64).chain([usize::MAX]) {
                        assert_eq!(
                            answer(flags, offered, given),
                            expected(flags, offered, NEEDED, given),
                            "flags {flags:#x}, get {get}, set {set}, {given} bytes"
                        );
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 8 * 14 * 10 * 4 * 66);
}

/// These are checked before the feature is looked up.
#[test]
fn bad_flags_are_refused_whatever_the_feature() {
    for index in [0, 1, 0x7fff, 0xffff] {
        for operations in 0..8 {
            let flags = operations << 16 | index;
            let bad = flags & PROBE == 0 && flags & GET != 0 && flags & SET != 0;
            assert_eq!(Request::new(flags).is_err(), bad, "flags {flags:#x}");
        }
        for bit in 19..32 {
            for operations in [0, GET, SET, PROBE] {
                assert_eq!(Request::new(1 << bit | operations | index), Err(EINVAL));
            }
        }
    }
}

#[test]
fn index_is_the_low_half() {
    for flags in [
        0,
        PROBE,
        SET | 0xffff,
        GET | 0x1234,
        PROBE | GET | SET | 0x8001,
    ] {
        assert_eq!(index(flags), flags & 0xffff);
    }
}
