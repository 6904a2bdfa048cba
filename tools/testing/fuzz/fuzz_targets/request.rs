// SPDX-License-Identifier: GPL-2.0-only

//! The checks of a request, compared with a second statement of them. An input is the flags (4
//! bytes), what the feature offers (1), how many bytes it has (4) and how many the caller has (4).

#![no_main]
#![allow(dead_code)]

#[path = "../../../../vfio/feature/request.rs"]
mod request;

#[path = "../../host/src/contract.rs"]
mod contract;

use libfuzzer_sys::fuzz_target;
use request::{Operations, Request};

fn number(bytes: &[u8]) -> u32 {
    let mut array = [0; 4];
    array[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(array)
}

fuzz_target!(|input: [u8; 13]| {
    let flags = number(&input[..4]);
    let offered = Operations {
        get: input[4] & 1 != 0,
        set: input[4] & 2 != 0,
    };
    let needed = number(&input[5..9]) as usize;
    let given = number(&input[9..]) as usize;

    let answer = Request::new(flags).and_then(|request| request.check(offered, needed, given));
    assert_eq!(answer, contract::expected(flags, offered, needed, given));
});
