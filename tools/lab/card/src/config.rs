// SPDX-License-Identifier: GPL-2.0-only

//! Configuration space: what a card's registers are, and which of their bits can be written.

use crate::description::{Bar, Card, CONFIG_SIZE};

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const BAR_0: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
/// Where the capability of PCI Express begins.
const EXPRESS: usize = 0x40;

const COMMAND_IO_MEMORY_MASTER: u16 = 0x7;
const COMMAND_INTX_DISABLE: u16 = 0x400;
const STATUS_INTERRUPT: u8 = 0x8;
const STATUS_CAPABILITIES: u8 = 0x10;
const EXPRESS_ID: u8 = 0x10;
const EXPRESS_FLR: u32 = 1 << 28;

/// The configuration space of a card.
pub struct Config {
    bytes: [u8; CONFIG_SIZE],
    writable: [u8; CONFIG_SIZE],
}

impl Config {
    /// That of the card when it is new.
    pub fn new(card: &Card) -> Self {
        let mut config = Self {
            bytes: [0; CONFIG_SIZE],
            writable: [0; CONFIG_SIZE],
        };
        config.set(0, &card.vendor.to_le_bytes());
        config.set(2, &card.device.to_le_bytes());
        config.set(
            REVISION,
            &((card.class << 8) | u32::from(card.revision)).to_le_bytes(),
        );
        config.set(SUBSYSTEM, &card.subsystem_vendor.to_le_bytes());
        config.set(SUBSYSTEM + 2, &card.subsystem_device.to_le_bytes());
        config.set(INTERRUPT_PIN, &[card.intx.into()]);

        let intx_disable = if card.intx_mask {
            COMMAND_INTX_DISABLE
        } else {
            0
        };
        config.allow(
            COMMAND,
            &(COMMAND_IO_MEMORY_MASTER | intx_disable).to_le_bytes(),
        );
        config.allow(INTERRUPT_LINE, &[0xff]);
        for Bar { index, size, .. } in &card.bar {
            config.allow(BAR_0 + 4 * index, &(!(size - 1)).to_le_bytes());
        }
        if card.express {
            config.set(STATUS, &[STATUS_CAPABILITIES]);
            config.set(CAPABILITIES, &[EXPRESS as u8]);
            // Version 2, an endpoint.
            config.set(EXPRESS, &[EXPRESS_ID, 0, 2, 0]);
            let abilities = if card.flr { EXPRESS_FLR } else { 0 };
            config.set(EXPRESS + 4, &abilities.to_le_bytes());
        }
        for bytes in &card.bytes {
            config.set(bytes.at, &bytes.value);
            config.allow(
                bytes.at,
                &vec![if bytes.writable { 0xff } else { 0 }; bytes.value.len()],
            );
        }
        config
    }

    fn set(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn allow(&mut self, at: usize, bits: &[u8]) {
        self.writable[at..at + bits.len()].copy_from_slice(bits);
    }

    /// Whether INTA is allowed.
    pub fn intx_is_on(&self) -> bool {
        self.bytes[COMMAND + 1] & (COMMAND_INTX_DISABLE >> 8) as u8 == 0
    }

    /// Shows that there is an interrupt, or that there is none.
    pub fn show_interrupt(&mut self, pending: bool) {
        self.bytes[STATUS] &= !STATUS_INTERRUPT;
        if pending {
            self.bytes[STATUS] |= STATUS_INTERRUPT;
        }
    }

    /// Reads; what is behind the end is all ones.
    pub fn read(&self, at: u64, to: &mut [u8]) {
        for (i, byte) in to.iter_mut().enumerate() {
            *byte = *self.bytes.get(at as usize + i).unwrap_or(&0xff);
        }
    }

    /// Writes the bits that can be written.
    pub fn write(&mut self, at: u64, from: &[u8]) {
        for (i, byte) in from.iter().enumerate() {
            let at = at as usize + i;
            if let (Some(old), Some(bits)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *old = (*old & !bits) | (byte & bits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rest: &str) -> Config {
        let text = format!("vendor = 0x8086\ndevice = 0x3e92\nclass = 0x030000\n{rest}");
        Config::new(&Card::parse(&text).unwrap())
    }

    fn dword(config: &Config, at: u64) -> u32 {
        let mut bytes = [0; 4];
        config.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn registers_are_where_pci_has_them() {
        let config = config(
            "revision = 2\nsubsystem-vendor = 1\nsubsystem-device = 3\nintx = true\nflr = true",
        );
        assert_eq!(dword(&config, 0), 0x3e92_8086);
        assert_eq!(dword(&config, 8), 0x0300_0002);
        assert_eq!(dword(&config, 0x2c), 0x0003_0001);
        assert_eq!(dword(&config, 0x3c), 0x100);
        assert_eq!(dword(&config, 4) >> 16, 0x10);
        assert_eq!(dword(&config, 0x34), 0x40);
        assert_eq!(dword(&config, 0x40), 0x0002_0010);
        assert_eq!(dword(&config, 0x44), 1 << 28);
        assert_eq!(dword(&config, 4095), 0xffff_ff00);
    }

    #[test]
    fn what_can_be_written_is_as_pci_has_it() {
        let mut config = config(
            "[[bar]]\nindex = 1\nsize = 0x2000\n[[bytes]]\nat = 0xfc\nvalue = [1, 2, 3, 4]\nwritable = true",
        );
        for at in (0..4096).step_by(4) {
            config.write(at, &[0xff; 4]);
        }
        config.write(4094, &[0xff; 4]);
        let written: Vec<_> = (0..1024)
            .map(|n| 4 * n)
            .filter(|at| ![0, 8, 0x34, 0x40].contains(at))
            .map(|at| (at, dword(&config, at)))
            .filter(|(_, value)| *value != 0)
            .collect();
        let expected = [
            (4, 0x0010_0407),
            (0x14, 0xffff_e000),
            (0x3c, 0xff),
            (0xfc, u32::MAX),
        ];
        assert_eq!(written, expected);
    }

    #[test]
    fn the_status_shows_an_interrupt() {
        let mut config = config("");
        config.show_interrupt(true);
        assert_eq!(dword(&config, 4) >> 16, 0x18);
        config.show_interrupt(false);
        assert_eq!(dword(&config, 4) >> 16, 0x10);
        assert!(config.intx_is_on());
        config.write(4, &[0, 4]);
        assert!(!config.intx_is_on());
    }

    #[test]
    fn intx_may_not_be_maskable() {
        let mut config = config("intx-mask = false");
        config.write(4, &[0, 4]);
        assert_eq!(dword(&config, 4) & 0xffff, 0);
    }
}
