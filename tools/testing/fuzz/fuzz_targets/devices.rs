// SPDX-License-Identifier: GPL-2.0-only

//! The text of the parameter `devices`, compared with a second parser. An input is the text.

#![no_main]
#![allow(dead_code)]

#[path = "../../../../vfio/address.rs"]
mod address;

#[path = "../../../../vfio/module/list.rs"]
mod list;

use address::Address;
use libfuzzer_sys::fuzz_target;

/// A number with at most this many digits.
fn number(text: &str) -> Option<u64> {
    let is_one = text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// The four numbers, from the left.
fn expected(entry: &str) -> Option<Address> {
    let (rest, function) = entry.split_once('.')?;
    let fields: Vec<_> = rest.split(':').collect();
    let (domain, bus, device) = match fields[..] {
        [domain, bus, device] => (domain, bus, device),
        [bus, device] => ("0000", bus, device),
        _ => return None,
    };
    let (device, function) = (number(device)?, number(function)?);
    (device < 32 && function < 8).then_some(())?;
    Some(Address {
        domain: number(domain)?.try_into().ok()?,
        bus: number(bus)?.try_into().ok()?,
        devfn: (device * 8 + function) as u8,
    })
}

fuzz_target!(|input: &[u8]| {
    // In the kernel, the text ends with a zero.
    let text = input.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut entries = list::entries(text);
    for entry in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if !entry.is_empty() {
            assert_eq!(entries.next(), Some(entry));
            let expected = std::str::from_utf8(entry).ok().and_then(expected);
            assert_eq!(Address::parse(entry), expected);
        }
    }
    assert_eq!(entries.next(), None);
});
