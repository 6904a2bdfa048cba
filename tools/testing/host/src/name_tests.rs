// SPDX-License-Identifier: GPL-2.0-only

//! Names by which devices are opened, compared with a second parser that works like C's.

use crate::vfio::{Name, Uuid};
use proptest::prelude::*;

const ADDRESS: &[u8] = b"0000:01:10.0";
const TOKEN: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

fn parse(behind: &str) -> Name {
    Name::parse(&[ADDRESS, behind.as_bytes()].concat(), ADDRESS)
}

/// A name with the token at this offset.
fn with_token(begin: usize) -> Name {
    Name::WithToken(begin..begin + Uuid::TEXT_LEN)
}

#[test]
fn the_address_alone_is_a_name() {
    assert_eq!(parse(""), Name::Bare);
    assert_eq!(parse(" "), Name::Bare);
    assert_eq!(parse("    "), Name::Bare);
}

#[test]
fn other_devices_have_other_names() {
    assert_eq!(Name::parse(b"", ADDRESS), Name::Other);
    assert_eq!(Name::parse(b"0000:01:10.", ADDRESS), Name::Other);
    assert_eq!(Name::parse(b"0000:01:10.2", ADDRESS), Name::Other);
    assert_eq!(Name::parse(b" 0000:01:10.0", ADDRESS), Name::Other);
    // Not even with a token after it, which is for that device.
    assert_eq!(parse("2"), Name::Other);
    assert_eq!(parse(&format!("2 vf_token={TOKEN}")), Name::Other);
    assert_eq!(parse(&format!("\tvf_token={TOKEN}")), Name::Other);
}

#[test]
fn a_token_follows_after_blanks() {
    assert_eq!(parse(&format!(" vf_token={TOKEN}")), with_token(22));
    assert_eq!(parse(&format!("   vf_token={TOKEN}")), with_token(24));
    assert_eq!(parse(&format!(" vf_token={TOKEN}  ")), with_token(22));
}

#[test]
fn what_else_follows_is_malformed() {
    for behind in [
        " vf_token".to_string(),
        " vf_token=".to_string(),
        " vf_token= ".to_string(),
        format!(" vf_token={}", &TOKEN[1..]),
        format!(" vf_token={TOKEN}0"),
        format!(" vf_token={TOKEN} vf_token={TOKEN}"),
        format!(" vf_token={TOKEN}vf_token={TOKEN}"),
        format!(" token={TOKEN}"),
        format!(" vf_token={TOKEN} x"),
        " x".to_string(),
    ] {
        assert_eq!(parse(&behind), Name::Malformed, "{behind:?}");
    }
    // Whether the text is a UUID is checked elsewhere.
    let text = "x".repeat(Uuid::TEXT_LEN);
    assert_eq!(parse(&format!(" vf_token={text}")), with_token(22));
}

/// C's result, computed with indices in place of pointers.
fn expected(name: &[u8]) -> Name {
    if !name.starts_with(ADDRESS) {
        return Name::Other;
    }
    let at = |i: usize| name.get(i).copied().unwrap_or(0);
    let mut i = ADDRESS.len();
    if at(i) != 0 && at(i) != b' ' {
        return Name::Other;
    }
    let mut token = None;
    while at(i) != 0 {
        if at(i) == b' ' {
            i += 1;
        } else if token.is_none() && name[i..].starts_with(b"vf_token=") {
            i += 9;
            if name.len() - i < Uuid::TEXT_LEN {
                return Name::Malformed;
            }
            token = Some(i..i + Uuid::TEXT_LEN);
            i += Uuid::TEXT_LEN;
        } else {
            return Name::Malformed;
        }
    }
    token.map_or(Name::Bare, Name::WithToken)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_name_is_read_as_c_reads_it(
        parts in prop::collection::vec(
            prop_oneof![
                Just("0000:01:10.0".to_string()),
                Just(" ".to_string()),
                Just("vf_token=".to_string()),
                Just(TOKEN.to_string()),
                "[ -~]{0,40}",
            ],
            0..8,
        ),
    ) {
        let name = parts.concat().into_bytes();
        prop_assert_eq!(Name::parse(&name, ADDRESS), expected(&name));
    }
}
