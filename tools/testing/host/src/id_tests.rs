// SPDX-License-Identifier: GPL-2.0-only

//! The text of `ids`, as C's vfio-pci reads it with `strsep()` and `sscanf()`; and the denylist.

use crate::{denylist, vfio::Id};
use proptest::prelude::*;

fn id(numbers: [u32; 6]) -> Option<Id> {
    let [vendor, device, subvendor, subdevice, class, class_mask] = numbers;
    Some(Id {
        vendor,
        device,
        subvendor,
        subdevice,
        class,
        class_mask,
    })
}

const ANY: u32 = Id::ANY;

#[test]
fn all_numbers_but_the_first_two_may_be_left_out() {
    let cases: [(&str, [u32; 6]); 5] = [
        ("8086:10c9", [0x8086, 0x10c9, ANY, ANY, 0, 0]),
        ("8086:10c9:1", [0x8086, 0x10c9, 1, ANY, 0, 0]),
        ("8086:10c9:1:2", [0x8086, 0x10c9, 1, 2, 0, 0]),
        ("8086:10c9:1:2:20000", [0x8086, 0x10c9, 1, 2, 0x20000, 0]),
        (
            "8086:10c9:1:2:20000:ffFF00",
            [0x8086, 0x10c9, 1, 2, 0x20000, 0xffff00],
        ),
    ];
    for (text, numbers) in cases {
        assert_eq!(Id::parse(text.as_bytes()), id(numbers), "{text}");
    }
}

#[test]
fn what_follows_is_ignored() {
    for text in [
        "8086:10c9:",
        "8086:10c9:x",
        "8086:10c9 igb",
        "8086:10c9:::",
        " 0x8086: 0X10c9",
        "0008086:10c9-10ca",
        "8086:10c9::1:2:3:4",
    ] {
        let expected = id([0x8086, 0x10c9, ANY, ANY, 0, 0]);
        assert_eq!(Id::parse(text.as_bytes()), expected, "{text}");
    }
    let seven = id([1, 2, 3, 4, 5, 6]);
    assert_eq!(Id::parse(b"1:2:3:4:5:6:7"), seven);
}

#[test]
fn blanks_are_those_of_c() {
    let expected = id([1, 2, 3, 4, 5, 6]);
    let text = b" 1:\t2:\n3:\x0b4:\x0c5:\r\xa06";
    assert_eq!(Id::parse(text), expected);
}

#[test]
fn vendor_and_device_must_be_there() {
    for text in [
        "",
        ":",
        "8086",
        "8086:",
        "8086-10c9",
        "igb",
        "-1:2",
        ":8086:10c9",
        "8086 :10c9",
    ] {
        assert_eq!(Id::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_number_keeps_its_last_bits() {
    let expected = id([0x3456_789a, 0, ANY, ANY, 0, 0]);
    assert_eq!(Id::parse(b"123456789a:0x"), expected);
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Id::parse(&text);
    }

    #[test]
    fn what_is_written_is_read(numbers in any::<[u32; 6]>()) {
        let text = numbers.map(|number| format!("{number:x}")).join(":");
        prop_assert_eq!(Id::parse(text.as_bytes()), id(numbers));
    }
}

#[test]
fn the_denylist_is_of_intel_accelerators() {
    for device in [
        0x19e2, 0x19e3, 0x37c8, 0x37c9, 0x0435, 0x0443, 0x0b25, 0x0cfe,
    ] {
        assert!(denylist::has(0x8086, device));
        assert!(!denylist::has(0x8087, device));
    }
    assert_eq!(
        (0..=u16::MAX)
            .filter(|device| denylist::has(0x8086, *device))
            .count(),
        8
    );
}
