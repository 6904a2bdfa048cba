// SPDX-License-Identifier: GPL-2.0-only

//! The description of a card: reading and checking the file.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

pub const BARS: usize = 6;
const LARGEST_BAR: u64 = 256 << 20;
/// QEMU waits five seconds for an answer.
const LONGEST_DELAY: u64 = 4000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Card {
    pub vendor: u16,
    pub device: u16,
    #[serde(default)]
    pub subsystem_vendor: u16,
    #[serde(default)]
    pub subsystem: u16,
    /// Class, subclass and programming interface.
    pub class: Spanned<u32>,
    #[serde(default)]
    pub revision: u8,
    pub intx: Option<Intx>,
    pub msi: Option<Msi>,
    pub power: Option<Power>,
    pub express: Option<Express>,
    pub af: Option<Af>,
    pub vendor_specific: Option<VendorSpecific>,
    #[serde(default)]
    pub reset: Reset,
    #[serde(default)]
    pub bar: Vec<Bar>,
    #[serde(default)]
    pub config: Vec<ConfigBytes>,
    #[serde(default)]
    pub trigger: Vec<Trigger>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Intx {
    /// 1 for INTA to 4 for INTD.
    pub pin: Spanned<u8>,
    /// Whether the bit of the command register that masks it can be set.
    #[serde(default = "yes")]
    pub maskable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Msi {
    pub vectors: Spanned<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Power {
    /// Whether the transition from D3hot to D0 resets the function.
    pub resets: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Express {
    pub flr: bool,
}

/// Advanced features, by which conventional functions have an FLR.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Af {
    pub flr: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VendorSpecific {
    /// The bytes after the length of the capability.
    pub bytes: Spanned<Vec<u8>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reset {
    /// Whether a reset of the bus reaches the function.
    #[serde(default = "yes")]
    pub by_bus: bool,
    /// Whether resets restore the contents of the BARs.
    #[serde(default = "yes")]
    pub clears_memory: bool,
}

impl Default for Reset {
    fn default() -> Self {
        Reset {
            by_bus: true,
            clears_memory: true,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    #[default]
    Memory,
    Io,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    #[default]
    Memory,
    AllOnes,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bar {
    pub index: Spanned<u8>,
    pub size: Spanned<u64>,
    #[serde(default)]
    pub space: Space,
    #[serde(default)]
    pub prefetchable: bool,
    /// A 64 bit address, which also occupies the next BAR.
    #[serde(default)]
    pub wide: bool,
    #[serde(default)]
    pub reads: Reads,
    #[serde(default)]
    pub delay_ms: Option<Spanned<u64>>,
    #[serde(default)]
    pub content: Vec<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Content {
    pub at: Spanned<u64>,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigBytes {
    pub at: Spanned<u16>,
    pub bytes: Vec<u8>,
    /// The bits that can be written; none by default.
    pub writable: Option<Spanned<Vec<u8>>>,
    /// Whether written values survive a reset.
    #[serde(default)]
    pub sticky: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    RaiseIntx,
    LowerIntx,
    FireMsi,
    Vanish,
    Disconnect,
}

/// An effect of a write to that byte of the BAR.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Trigger {
    pub bar: Spanned<u8>,
    pub offset: Spanned<u64>,
    pub does: Spanned<Action>,
    /// The vector of fire-msi.
    #[serde(default)]
    pub vector: Option<Spanned<u8>>,
}

fn yes() -> bool {
    true
}

/// What is wrong, with its line and column in the file, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    line: usize,
    column: usize,
    text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.text)
    }
}

impl Mistake {
    fn new(file: &str, place: Range<usize>, text: &str) -> Self {
        let before = file.get(..place.start).unwrap_or(file);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Mistake {
            line,
            column,
            text: text.trim_end().replace('\n', ", "),
        }
    }
}

type Wrong = (Range<usize>, String);

pub fn parse(text: &str) -> Result<Card, Mistake> {
    let card: Card = toml::from_str(text)
        .map_err(|error| Mistake::new(text, error.span().unwrap_or(0..0), error.message()))?;
    match check(&card) {
        Ok(()) => Ok(card),
        Err((place, what)) => Err(Mistake::new(text, place, &what)),
    }
}

fn unless<T>(right: bool, place: &Spanned<T>, what: &str) -> Result<(), Wrong> {
    if right {
        Ok(())
    } else {
        Err((place.span(), what.to_string()))
    }
}

fn check(card: &Card) -> Result<(), Wrong> {
    unless(
        *card.class.get_ref() <= 0xff_ffff,
        &card.class,
        "class has three bytes, as in 0x030000",
    )?;
    if let Some(intx) = &card.intx {
        unless(
            (1..=4).contains(intx.pin.get_ref()),
            &intx.pin,
            "pin is 1 to 4, for INTA to INTD",
        )?;
    }
    if let Some(msi) = &card.msi {
        let vectors = *msi.vectors.get_ref();
        unless(
            vectors.is_power_of_two() && vectors <= 32,
            &msi.vectors,
            "vectors is 1, 2, 4, 8, 16 or 32",
        )?;
    }
    if let Some(vendor) = &card.vendor_specific {
        unless(
            vendor.bytes.get_ref().len() <= 64,
            &vendor.bytes,
            "a vendor's capability has at most 64 bytes here",
        )?;
    }
    check_bars(card)?;
    for config in &card.config {
        check_config(config)?;
    }
    card.trigger
        .iter()
        .try_for_each(|trigger| check_trigger(card, trigger))
}

fn check_bars(card: &Card) -> Result<(), Wrong> {
    let mut taken = [false; BARS];
    for bar in &card.bar {
        let size = *bar.size.get_ref();
        let index = usize::from(*bar.index.get_ref());
        unless(index < BARS, &bar.index, "a BAR's index is 0 to 5")?;
        for slot in index..=index + usize::from(bar.wide) {
            match taken.get_mut(slot) {
                Some(taken) if !*taken => *taken = true,
                Some(_) => unless(false, &bar.index, "another BAR has that place already")?,
                None => unless(false, &bar.index, "a wide BAR has index 0 to 4")?,
            }
        }
        unless(
            bar.space == Space::Memory || !(bar.wide || bar.prefetchable),
            &bar.index,
            "a BAR of I/O ports is neither wide nor prefetchable",
        )?;
        let smallest = if bar.space == Space::Io { 4 } else { 16 };
        let largest = if bar.space == Space::Io {
            256
        } else {
            LARGEST_BAR
        };
        unless(
            size.is_power_of_two() && (smallest..=largest).contains(&size),
            &bar.size,
            &format!("size is a power of two from {smallest} to {largest:#x}"),
        )?;
        if let Some(delay) = &bar.delay_ms {
            unless(
                *delay.get_ref() <= LONGEST_DELAY,
                delay,
                &format!("delay-ms is at most {LONGEST_DELAY}, since QEMU waits no longer"),
            )?;
        }
        for content in &bar.content {
            let end = content.at.get_ref().checked_add(content.bytes.len() as u64);
            unless(
                end.is_some_and(|end| end <= size),
                &content.at,
                "these bytes reach over the BAR's end",
            )?;
        }
    }
    Ok(())
}

fn check_config(config: &ConfigBytes) -> Result<(), Wrong> {
    let at = usize::from(*config.at.get_ref());
    unless(
        at >= 0x40 && at + config.bytes.len() <= crate::config::SIZE,
        &config.at,
        "bytes of configuration space lie from 0x40 to 0xfff, behind the header",
    )?;
    if let Some(writable) = &config.writable {
        unless(
            writable.get_ref().len() == config.bytes.len(),
            writable,
            "writable has as many bytes as bytes has",
        )?;
    }
    Ok(())
}

fn check_trigger(card: &Card, trigger: &Trigger) -> Result<(), Wrong> {
    let Some(bar) = card
        .bar
        .iter()
        .find(|bar| bar.index.get_ref() == trigger.bar.get_ref())
    else {
        return unless(false, &trigger.bar, "there is no such BAR");
    };
    unless(
        trigger.offset.get_ref() < bar.size.get_ref(),
        &trigger.offset,
        "the BAR is not that large",
    )?;
    match trigger.does.get_ref() {
        Action::RaiseIntx | Action::LowerIntx => unless(
            card.intx.is_some(),
            &trigger.does,
            "the card has no [intx] to raise",
        )?,
        Action::FireMsi => unless(
            card.msi.is_some(),
            &trigger.does,
            "the card has no [msi] to fire",
        )?,
        Action::Vanish | Action::Disconnect => {}
    }
    if let Some(vector) = &trigger.vector {
        let vectors = match (trigger.does.get_ref(), &card.msi) {
            (Action::FireMsi, Some(msi)) => *msi.vectors.get_ref(),
            _ => 0,
        };
        unless(
            *vector.get_ref() < vectors,
            vector,
            "vector is one of those of [msi], and of fire-msi alone",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    const IDS: &str = "vendor = 0x8086\ndevice = 0x3e92\nclass = 0x030000\n";

    #[test]
    fn the_smallest_card_has_ids_and_a_class() {
        let card = parse(IDS).unwrap();
        assert_eq!((card.vendor, card.device), (0x8086, 0x3e92));
        assert!(card.reset.by_bus);
    }

    #[test]
    fn every_card_that_comes_with_it_is_right() {
        let mut cards = 0;
        // cargo runs tests in the package's folder.
        for file in std::fs::read_dir("cards").unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            if let Err(error) = parse(&text) {
                panic!("{}:{error}", path.display());
            }
            cards += 1;
        }
        assert!(cards > 0);
    }

    #[test]
    fn mistakes_name_line_and_column() {
        assert!(
            mistake("vendor = 0x8086\nwheels = 4\n").starts_with("2:1: unknown field `wheels`")
        );
        assert!(mistake("vendor = 0x12345\n").starts_with("1:10: "));
        assert!(mistake("vendor = \n").starts_with("1:"));
        let bar = format!("{IDS}[[bar]]\nindex = 0\nsize = 0x1001\n");
        assert_eq!(
            mistake(&bar),
            "6:8: size is a power of two from 16 to 0x10000000"
        );
        assert!(!mistake("[[[").contains('\n'));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (more, text) in [
            ("[intx]\npin = 5\n", "pin is 1 to 4"),
            ("[msi]\nvectors = 3\n", "vectors is 1, 2"),
            (
                "[[bar]]\nindex = 5\nsize = 16\nwide = true\n",
                "a wide BAR has index 0 to 4",
            ),
            (
                "[[bar]]\nindex = 0\nsize = 16\nwide = true\n[[bar]]\nindex = 1\nsize = 16\n",
                "another BAR",
            ),
            (
                "[[bar]]\nindex = 0\nsize = 16\ncontent = [{ at = 15, bytes = [1, 2] }]\n",
                "over the BAR's end",
            ),
            ("[[config]]\nat = 0x10\nbytes = [1]\n", "behind the header"),
            (
                "[[config]]\nat = 0xfff\nbytes = [1, 2]\n",
                "behind the header",
            ),
            (
                "[[config]]\nat = 0xfc\nbytes = [1]\nwritable = []\n",
                "as many bytes",
            ),
            (
                "[[trigger]]\nbar = 0\noffset = 0\ndoes = \"vanish\"\n",
                "no such BAR",
            ),
            (
                "[[bar]]\nindex = 0\nsize = 16\n[[trigger]]\nbar = 0\noffset = 0\ndoes = \"fire-msi\"\n",
                "no [msi]",
            ),
        ] {
            let got = mistake(&format!("{IDS}{more}"));
            assert!(got.contains(text), "{got}");
        }
    }
}
