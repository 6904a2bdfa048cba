// SPDX-License-Identifier: GPL-2.0-only

//! Addresses of PCI functions.

use std::{fmt, str::FromStr};

/// The address of a PCI function: `domain:bus:device.function`, as `lspci -D` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    domain: u32,
    /// Bus, device and function, as in PCI Express's routing ID.
    routing: u16,
}

impl Address {
    /// The address that is `offset` routing IDs after this one, as those of VFs are after their PF's.
    /// `None` if the domain has no such address.
    pub fn behind(self, offset: u32) -> Option<Self> {
        let routing = u16::try_from(u32::from(self.routing).checked_add(offset)?).ok()?;
        Some(Self { routing, ..self })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bus, slot, function) = (
            self.routing >> 8,
            (self.routing >> 3) & 0x1f,
            self.routing & 7,
        );
        write!(f, "{:04x}:{bus:02x}:{slot:02x}.{function}", self.domain)
    }
}

impl FromStr for Address {
    type Err = ();

    /// Parses an address. The domain defaults to 0.
    fn from_str(text: &str) -> Result<Self, ()> {
        let field = |text: &str, digits: std::ops::RangeInclusive<usize>, max: u32| {
            let hex = digits.contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
            u32::from_str_radix(text, 16)
                .ok()
                .filter(|n| hex && *n <= max)
                .ok_or(())
        };
        let (rest, function) = text.rsplit_once('.').ok_or(())?;
        let (rest, slot) = rest.rsplit_once(':').ok_or(())?;
        let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
        let routing = (field(bus, 1..=2, 0xff)? << 8)
            | (field(slot, 1..=2, 0x1f)? << 3)
            | field(function, 1..=1, 7)?;
        Ok(Self {
            domain: field(domain, 1..=8, u32::MAX)?,
            routing: u16::try_from(routing).map_err(drop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<Address>()
            .ok()
            .map(|address| address.to_string())
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for text in ["0000:01:10.2", "01:10.2", "1:10.2", "0:1:10.2"] {
            assert_eq!(read(text).as_deref(), Some("0000:01:10.2"), "{text}");
        }
        assert_eq!(read("10000:E1:1F.7").as_deref(), Some("10000:e1:1f.7"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "eth0",
            "01:10",
            "01:10.8",
            "01:20.0",
            "100:00.0",
            "001:00.0",
            "01:010.0",
            "0000:01:10.",
            "0000:01:+1.0",
            "a:b:c:d.0",
            "vfio0",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn vfs_lie_behind_their_pf() {
        let pf: Address = "0000:01:00.0".parse().unwrap();
        assert_eq!(pf.behind(0x80).unwrap().to_string(), "0000:01:10.0");
        assert_eq!(pf.behind(0x100).unwrap().to_string(), "0000:02:00.0");
        assert_eq!(pf.behind(0xff00), None);
    }
}
