// SPDX-License-Identifier: GPL-2.0-only

//! The text of the parameter `ids`, compared with the results of C's `strsep()` and `sscanf()`. An
//! input is the text.

#![no_main]
#![allow(dead_code)]

#[path = "../../../../vfio/id.rs"]
mod id;

#[path = "../../../../vfio/module/list.rs"]
mod list;

use id::Id;
use libfuzzer_sys::fuzz_target;

/// The blanks of the kernel's `isspace()`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

/// `%x`: the number at the beginning of a text, and the rest.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut at = text.iter().take_while(|byte| is_space(**byte)).count();
    if !text.get(at).copied().is_some_and(is_digit) {
        return None;
    }
    if text[at] == b'0' && text.get(at + 1).is_some_and(|byte| byte | 0x20 == b'x') {
        at += 2;
    }
    let end = text[at..]
        .iter()
        .position(|byte| !is_digit(*byte))
        .map_or(text.len(), |count| at + count);
    let last = std::str::from_utf8(&text[at.max(end.saturating_sub(8))..end]).unwrap();
    // The prefix alone is a zero.
    Some((u32::from_str_radix(last, 16).unwrap_or(0), &text[end..]))
}

/// `sscanf(text, "%x:%x:%x:%x:%x:%x", ...)`, of which two numbers are required.
fn expected(mut text: &[u8]) -> Option<Id> {
    let mut fields = vec![];
    while let Some((value, rest)) = number(text) {
        fields.push(value);
        match rest {
            [b':', rest @ ..] if fields.len() < 6 => text = rest,
            _ => break,
        }
    }
    let field = |index: usize, otherwise| fields.get(index).copied().unwrap_or(otherwise);
    (fields.len() >= 2).then(|| Id {
        vendor: fields[0],
        device: fields[1],
        subvendor: field(2, Id::ANY),
        subdevice: field(3, Id::ANY),
        class: field(4, 0),
        class_mask: field(5, 0),
    })
}

fuzz_target!(|input: &[u8]| {
    // In the kernel, the text ends with a zero.
    let text = input.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut entries = list::entries(text);
    for entry in text.split(|byte| *byte == b',') {
        // An entry of only blanks is not an error here.
        if !entry.trim_ascii().is_empty() {
            assert_eq!(Id::parse(entries.next().unwrap()), expected(entry));
        }
    }
    assert_eq!(entries.next(), None);
});
