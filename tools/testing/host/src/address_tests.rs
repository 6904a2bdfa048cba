// SPDX-License-Identifier: GPL-2.0-only

//! The text of `devices`: addresses as `lspci` shows them, and lists.

use crate::vfio::{list, Address};
use proptest::prelude::*;

fn address(domain: i32, bus: u8, device: u8, function: u8) -> Option<Address> {
    Some(Address {
        domain,
        bus,
        devfn: device << 3 | function,
    })
}

#[test]
fn the_domain_may_be_left_out() {
    for (text, expected) in [
        ("0000:01:00.0", address(0, 1, 0, 0)),
        ("01:00.0", address(0, 1, 0, 0)),
        ("0000:fE:1f.7", address(0, 0xfe, 0x1f, 7)),
        // A device behind a VMD has a domain of five digits.
        ("10000:e1:00.0", address(0x10000, 0xe1, 0, 0)),
        ("7fffffff:ff:1f.7", address(i32::MAX, 0xff, 0x1f, 7)),
        ("1:2.3", address(0, 1, 2, 3)),
        ("0:1:2.3", address(0, 1, 2, 3)),
    ] {
        assert_eq!(Address::parse(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn what_is_no_address_is_refused() {
    for text in [
        "",
        ".",
        ":.",
        "::.",
        "01:00",
        "01.0",
        "00.0",
        "8086:10c9",
        "0000:01:00.8",
        "0000:01:20.0",
        "0000:100:00.0",
        "80000000:01:00.0",
        "000000000:01:00.0",
        "0000:01:00.",
        "0000:01:.0",
        "0000::00.0",
        ":01:00.0",
        "0:0000:01:00.0",
        "0000:01:00.0.0",
        "0000:01:00.0 ",
        " 0000:01:00.0",
        "0x0:01:00.0",
        "0000:+1:00.0",
        "0000:-1:00.0",
        "0000-01-00.0",
        "0000:01:00.0 vf_token=",
    ] {
        assert_eq!(Address::parse(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn entries_are_separated_by_commas() {
    let list = b",8086:10c9,, bad one\t,1:2, ,";
    let entries: Vec<_> = list::entries(list).collect();
    assert_eq!(entries, [&b"8086:10c9"[..], b"bad one", b"1:2"]);
    assert_eq!(list::entries(b"").count(), 0);
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..100)) {
        for entry in list::entries(&text) {
            prop_assert!(!entry.is_empty());
            let _ = Address::parse(entry);
        }
    }

    /// The name that the kernel gives a device is its address.
    #[test]
    fn what_the_kernel_writes_is_read(domain in 0..=i32::MAX, bus: u8, devfn: u8) {
        let expected = Address { domain, bus, devfn };
        let text = format!("{domain:04x}:{bus:02x}:{:02x}.{}", devfn >> 3, devfn & 7);
        prop_assert_eq!(Address::parse(text.as_bytes()), Some(expected));
        prop_assert_eq!((expected.device(), expected.function()), (devfn >> 3, devfn & 7));
    }
}
