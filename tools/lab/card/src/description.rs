// SPDX-License-Identifier: GPL-2.0-only

//! The file that describes a card.

use serde::Deserialize;

/// A PCI function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Card {
    pub vendor: u16,
    pub device: u16,
    /// The class, subclass and programming interface, in three bytes.
    pub class: u32,
    #[serde(default)]
    pub revision: u8,
    #[serde(default)]
    pub subsystem_vendor: u16,
    #[serde(default)]
    pub subsystem_device: u16,
    /// Has INTA.
    #[serde(default)]
    pub intx: bool,
    /// INTA can be disabled in the command register, as PCI 2.3 has it.
    #[serde(default = "yes")]
    pub intx_mask: bool,
    /// Is a PCI Express endpoint.
    #[serde(default = "yes")]
    pub express: bool,
    /// Can be reset by itself (FLR). Only an Express card can.
    #[serde(default)]
    pub flr: bool,
    #[serde(default)]
    pub bar: Vec<Bar>,
    /// Bytes of configuration space that are not what they are otherwise.
    #[serde(default)]
    pub bytes: Vec<Bytes>,
    /// Where a write asserts INTA; one of zero ends that.
    pub fire: Option<Place>,
    /// Where a write makes all of the card read as ones until QEMU ends, as if it were unplugged.
    pub vanish: Option<Place>,
}

/// A base address register and the memory behind it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bar {
    pub index: usize,
    /// In bytes, a power of two from 16 on.
    pub size: u32,
    /// What each byte is at first.
    #[serde(default)]
    pub fill: u8,
    /// Each access takes so long.
    #[serde(default)]
    pub delay_ms: u64,
}

/// Bytes of configuration space.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bytes {
    pub at: usize,
    pub value: Vec<u8>,
    #[serde(default)]
    pub writable: bool,
}

/// A place behind a BAR.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub bar: usize,
    pub at: u64,
}

fn yes() -> bool {
    true
}

pub const CONFIG_SIZE: usize = 4096;
pub const BARS: usize = 6;

impl Card {
    /// Reads a description. An error is one sentence that begins with the number of a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let line_of = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let card: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(span.start));
            format!("{line}: {}", e.message().replace('\n', "; "))
        })?;
        // What TOML does not know is told with the line of the table that has it.
        let table = |name: &str, n: usize| {
            let header = format!("[[{name}]]");
            text.match_indices(&header)
                .nth(n)
                .map_or(1, |(at, _)| line_of(at))
        };
        if card.class > 0xff_ffff {
            return Err("1: 'class' has three bytes".into());
        }
        for (n, bar) in card.bar.iter().enumerate() {
            let line = table("bar", n);
            if bar.index >= BARS || card.bar[..n].iter().any(|other| other.index == bar.index) {
                return Err(format!(
                    "{line}: 'index' is from 0 to 5, each only once, and not {}",
                    bar.index
                ));
            }
            if !bar.size.is_power_of_two() || bar.size < 16 {
                return Err(format!(
                    "{line}: 'size' is a power of two from 16 on, and not {:#x}",
                    bar.size
                ));
            }
        }
        for (n, bytes) in card.bytes.iter().enumerate() {
            let line = table("bytes", n);
            if bytes
                .at
                .checked_add(bytes.value.len())
                .is_none_or(|end| end > CONFIG_SIZE)
            {
                return Err(format!(
                    "{line}: configuration space ends at {CONFIG_SIZE:#x}"
                ));
            }
        }
        for (name, place) in [("fire", card.fire), ("vanish", card.vanish)] {
            if let Some(place) = place {
                let there = |bar: &Bar| bar.index == place.bar && place.at < bar.size.into();
                if !card.bar.iter().any(there) {
                    let line = text.find(name).map_or(1, line_of);
                    return Err(format!("{line}: '{name}' is in no BAR of the card"));
                }
            }
        }
        if card.flr && !card.express {
            return Err("1: 'flr' needs 'express = true'".into());
        }
        Ok(card)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "vendor = 0x8086\ndevice = 1\nclass = 0x030000\n";

    fn refusal(rest: &str) -> String {
        Card::parse(&format!("{HEAD}{rest}")).unwrap_err()
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            Card::parse("vendor = 1").unwrap_err(),
            "1: missing field `device`"
        );
        for (rest, expected) in [
            ("\ncolour = 1\n", "5: unknown field `colour`"),
            ("revision = 256\n", "4: invalid value: integer `256`"),
            ("intx = maybe\n", "4: "),
            (
                "[[bar]]\nindex = 0\nsize = 16\n[[bar]]\nindex = 0\nsize = 16\n",
                "7: 'index' is",
            ),
            ("[[bar]]\nindex = 6\nsize = 16\n", "4: 'index' is"),
            ("\n[[bar]]\nindex = 0\nsize = 17\n", "5: 'size' is"),
            (
                "[[bytes]]\nat = 0xfff\nvalue = [1, 2]\n",
                "4: configuration space ends",
            ),
            ("fire = { bar = 0, at = 0 }\n", "4: 'fire' is in no BAR"),
            ("express = false\nflr = true\n", "1: 'flr' needs"),
        ] {
            let message = refusal(rest);
            assert!(message.starts_with(expected), "{rest}: {message}");
        }
    }

    #[test]
    fn the_cards_that_come_with_it_are_right() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/cards")).unwrap() {
            let path = file.unwrap().path();
            let card = Card::parse(&std::fs::read_to_string(&path).unwrap());
            assert!(card.is_ok(), "{}:{}", path.display(), card.unwrap_err());
        }
    }
}
