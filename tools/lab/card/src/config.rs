// SPDX-License-Identifier: GPL-2.0-only

//! Configuration space: its contents, and the effects of a write.

use crate::description::{BARS, Bar, Card, Space};

pub const SIZE: usize = 4096;
pub const COMMAND: usize = 0x04;
pub const STATUS: usize = 0x06;
pub const COMMAND_MASKS_INTX: u16 = 1 << 10;
pub const STATUS_INTX: u8 = 1 << 3;
const STATUS_CAPABILITIES: u8 = 1 << 4;
const BAR0: usize = 0x10;
const FIRST_CAPABILITY: usize = 0x40;

/// The offsets of the registers that do more than keep a value.
#[derive(Clone, Copy, Default)]
pub struct Places {
    power: Option<usize>,
    express: Option<usize>,
    af: Option<usize>,
}

/// What the function must do after a write.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub reset: bool,
}

pub struct Config {
    bytes: Vec<u8>,
    writable: Vec<u8>,
    /// Bits that writing 1 clears.
    clears: Vec<u8>,
    initial: Vec<u8>,
    /// The offsets of the bytes that survive a reset.
    sticky: Vec<usize>,
    places: Places,
    power_resets: bool,
    express_resets: bool,
    af_resets: bool,
}

impl Config {
    pub fn new(card: &Card) -> Self {
        let mut config = Config {
            bytes: vec![0; SIZE],
            writable: vec![0; SIZE],
            clears: vec![0; SIZE],
            initial: Vec::new(),
            sticky: Vec::new(),
            places: Places::default(),
            power_resets: card.power.as_ref().is_some_and(|power| power.resets),
            express_resets: card.express.as_ref().is_some_and(|express| express.flr),
            af_resets: card.af.as_ref().is_some_and(|af| af.flr),
        };
        config.header(card);
        for bar in &card.bar {
            config.bar(bar);
        }
        config.capabilities(card);
        for part in &card.config {
            let at = usize::from(*part.at.get_ref());
            config.put(at, &part.bytes);
            if let Some(writable) = &part.writable {
                config.allow(at, writable.get_ref());
            }
            if part.sticky {
                config.sticky.extend(at..at + part.bytes.len());
            }
        }
        config.initial = config.bytes.clone();
        config
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        copy(&mut self.bytes, at, bytes);
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        copy(&mut self.writable, at, mask);
    }

    fn header(&mut self, card: &Card) {
        self.put(0, &card.vendor.to_le_bytes());
        self.put(2, &card.device.to_le_bytes());
        let class = (card.class.get_ref() << 8) | u32::from(card.revision);
        self.put(8, &class.to_le_bytes());
        self.put(0x2c, &card.subsystem_vendor.to_le_bytes());
        self.put(0x2e, &card.subsystem.to_le_bytes());
        // I/O, memory, bus master, parity, SERR.
        let mut command: u16 = 0x147;
        if let Some(intx) = &card.intx {
            self.put(0x3d, &[*intx.pin.get_ref()]);
            if intx.maskable {
                command |= COMMAND_MASKS_INTX;
            }
        }
        self.allow(COMMAND, &command.to_le_bytes());
        copy(&mut self.clears, STATUS, &0xf900_u16.to_le_bytes());
        // Cache line size and latency; interrupt line.
        self.allow(0x0c, &[0xff, 0xff]);
        self.allow(0x3c, &[0xff]);
    }

    fn bar(&mut self, bar: &Bar) {
        let index = usize::from(*bar.index.get_ref());
        if index >= BARS {
            return;
        }
        let at = BAR0 + 4 * index;
        let flags = match bar.space {
            Space::Io => 1,
            Space::Memory => (u8::from(bar.wide) << 2) | (u8::from(bar.prefetchable) << 3),
        };
        self.put(at, &[flags]);
        let mask = (!(bar.size.get_ref() - 1)).to_le_bytes();
        self.allow(at, if bar.wide { &mask } else { &mask[..4] });
    }

    fn capabilities(&mut self, card: &Card) {
        let mut chain = Chain {
            link: 0x34,
            next: FIRST_CAPABILITY,
        };
        if let Some(power) = &card.power {
            // Version 3; bit 3 says that there is no reset.
            let state = u8::from(!power.resets) << 3;
            let at = chain.add(self, &[0x01, 0, 3, 0, state, 0, 0, 0]);
            self.allow(at + 4, &[3]);
            self.places.power = Some(at);
        }
        if let Some(msi) = &card.msi {
            let mut body = [0; 14];
            body[0] = 0x05;
            // 64 bit addresses.
            body[2] = ((msi.vectors.get_ref().trailing_zeros() as u8) << 1) | 0x80;
            let at = chain.add(self, &body);
            self.allow(at + 2, &[0x71]);
            self.allow(at + 4, &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
            self.allow(at + 12, &[0xff, 0xff]);
        }
        if let Some(express) = &card.express {
            let mut body = [0; 0x3c];
            body[0] = 0x10;
            // Version 2, an endpoint; role-based errors; one lane of 2.5 GT/s.
            body[2] = 2;
            let capabilities = (1_u32 << 15) | (u32::from(express.flr) << 28);
            body[4..8].copy_from_slice(&capabilities.to_le_bytes());
            body[12] = 0x11;
            body[18] = 0x11;
            let at = chain.add(self, &body);
            self.allow(at + 8, &[0xff, 0x7f]);
            copy(&mut self.clears, at + 10, &[0x0f]);
            self.allow(at + 16, &[0xfb, 0x01]);
            self.places.express = Some(at);
        }
        if let Some(af) = &card.af {
            // Transactions pending, and FLR.
            let can = if af.flr { 3 } else { 1 };
            self.places.af = Some(chain.add(self, &[0x13, 0, 6, can, 0, 0]));
        }
        if let Some(vendor) = &card.vendor_specific {
            let bytes = vendor.bytes.get_ref();
            let mut body = vec![0x09, 0, bytes.len() as u8 + 3];
            body.extend_from_slice(bytes);
            chain.add(self, &body);
        }
    }

    /// Reads bytes; those beyond the end are ones.
    pub fn read(&self, at: usize, data: &mut [u8]) {
        data.fill(0xff);
        let there = self.bytes.get(at..).unwrap_or_default();
        for (to, from) in data.iter_mut().zip(there) {
            *to = *from;
        }
    }

    pub fn write(&mut self, at: usize, data: &[u8]) -> Asked {
        let mut asked = Asked::default();
        for (place, new) in (at..SIZE).zip(data) {
            asked.reset |= self.resets(place, *new);
            let (Some(byte), Some(writable), Some(clears)) = (
                self.bytes.get_mut(place),
                self.writable.get(place),
                self.clears.get(place),
            ) else {
                break;
            };
            *byte = ((*byte & !writable) | (new & writable)) & !(new & clears);
        }
        asked
    }

    /// Whether writing this byte there resets the function.
    fn resets(&self, place: usize, new: u8) -> bool {
        let is = |capability: Option<usize>, offset: usize| {
            capability.is_some_and(|at| at + offset == place)
        };
        if is(self.places.express, 9) {
            return self.express_resets && new & 0x80 != 0;
        }
        if is(self.places.af, 4) {
            return self.af_resets && new & 1 != 0;
        }
        is(self.places.power, 4)
            && self.power_resets
            && self.bytes.get(place).is_some_and(|old| old & 3 == 3)
            && new & 3 == 0
    }

    pub fn reset(&mut self) {
        let old = std::mem::replace(&mut self.bytes, self.initial.clone());
        for &at in &self.sticky {
            if let (Some(byte), Some(kept)) = (self.bytes.get_mut(at), old.get(at)) {
                *byte = *kept;
            }
        }
    }

    pub fn masks_intx(&self) -> bool {
        let mut command = [0; 2];
        self.read(COMMAND, &mut command);
        u16::from_le_bytes(command) & COMMAND_MASKS_INTX != 0
    }

    pub fn set_intx_status(&mut self, pending: bool) {
        if let Some(status) = self.bytes.get_mut(STATUS) {
            *status = (*status & !STATUS_INTX) | if pending { STATUS_INTX } else { 0 };
        }
    }
}

/// The offset of the next capability, and the byte that points to it.
struct Chain {
    link: usize,
    next: usize,
}

impl Chain {
    fn add(&mut self, config: &mut Config, body: &[u8]) -> usize {
        let at = self.next;
        config.put(at, body);
        config.put(self.link, &[at as u8]);
        if let Some(status) = config.bytes.get_mut(STATUS) {
            *status |= STATUS_CAPABILITIES;
        }
        self.link = at + 1;
        self.next = (at + body.len()).next_multiple_of(4);
        at
    }
}

/// Copies bytes, except for those that would be beyond the end.
fn copy(to: &mut [u8], at: usize, from: &[u8]) {
    for (to, from) in to.iter_mut().skip(at).zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::parse;

    fn config(more: &str) -> Config {
        let text =
            format!("vendor = 0x8086\ndevice = 0x3e92\nclass = 0x030000\nrevision = 2\n{more}");
        Config::new(&parse(&text).unwrap())
    }

    fn read<const N: usize>(config: &Config, at: usize) -> [u8; N] {
        let mut data = [0; N];
        config.read(at, &mut data);
        data
    }

    #[test]
    fn ids_and_class_cannot_be_written() {
        let mut config = config("");
        config.write(0, &[0; 12]);
        assert_eq!(read(&config, 0), [0x86, 0x80, 0x92, 0x3e]);
        assert_eq!(read(&config, 8), [2, 0, 0, 3]);
    }

    #[test]
    fn bars_tell_their_size() {
        let mut config = config(
            "[[bar]]\nindex = 0\nsize = 0x1000\nwide = true\nprefetchable = true\n[[bar]]\nindex = 2\nsize = 8\nspace = \"io\"\n",
        );
        config.write(0x10, &[0xff; 24]);
        assert_eq!(read(&config, 0x10), 0xffff_ffff_ffff_f00c_u64.to_le_bytes());
        assert_eq!(read(&config, 0x18), 0xffff_fff9_u32.to_le_bytes());
        assert_eq!(read(&config, 0x1c), [0; 4]);
    }

    #[test]
    fn the_command_register_masks_intx_where_it_can() {
        for maskable in [true, false] {
            let mut config = config(&format!("[intx]\npin = 1\nmaskable = {maskable}\n"));
            config.write(COMMAND + 1, &[4]);
            assert_eq!(config.masks_intx(), maskable);
        }
    }

    #[test]
    fn capabilities_are_a_chain() {
        let config = config(
            "[power]\nresets = true\n[msi]\nvectors = 4\n[express]\nflr = true\n[af]\nflr = true\n[vendor-specific]\nbytes = [7]\n",
        );
        let (mut ids, [mut at]) = (Vec::new(), read::<1>(&config, 0x34));
        while at != 0 {
            let [id, next] = read(&config, at.into());
            ids.push(id);
            at = next;
        }
        assert_eq!(ids, [1, 5, 0x10, 0x13, 9]);
    }

    #[test]
    fn resets_are_asked_for_where_they_exist() {
        for flr in [true, false] {
            let mut card = config(&format!("[express]\nflr = {flr}\n"));
            assert_eq!(card.write(0x48, &[0, 0x80]).reset, flr);
            let mut card = config(&format!("[af]\nflr = {flr}\n"));
            assert_eq!(card.write(0x44, &[1]).reset, flr);
            let mut card = config(&format!("[power]\nresets = {flr}\n"));
            assert!(!card.write(0x44, &[3]).reset);
            assert_eq!(card.write(0x44, &[0]).reset, flr);
        }
    }

    #[test]
    fn bytes_of_ones_own_are_writable_where_they_say() {
        let mut config = config(
            "[[config]]\nat = 0xfc\nbytes = [0, 0, 0, 0x70]\nwritable = [0, 0xf0, 0xff, 0xff]\n\
             [[config]]\nat = 0xf8\nbytes = [0, 1]\nwritable = [0, 0xff]\nsticky = true\n",
        );
        config.write(0xf8, &[7, 7]);
        config.write(0xfc, &[0xff; 4]);
        assert_eq!(read(&config, 0xfc), [0, 0xf0, 0xff, 0xff]);
        config.reset();
        assert_eq!(read(&config, 0xfc), [0, 0, 0, 0x70]);
        assert_eq!(read(&config, 0xf8), [0, 7]);
    }

    #[test]
    fn nothing_lies_behind_the_end() {
        let mut config = config("");
        for at in [SIZE - 1, SIZE, usize::MAX] {
            config.write(at, &[0; 8]);
            assert_eq!(read::<8>(&config, at)[1..], [0xff; 7]);
        }
    }
}
