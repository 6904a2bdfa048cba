// SPDX-License-Identifier: GPL-2.0-only

//! The addresses of PCI devices, and their text form.
//!
//! Depends on `core` alone, so that it compiles on the host too.

/// The address of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The PCI domain (segment).
    pub(crate) domain: i32,
    /// The bus in the domain.
    pub(crate) bus: u8,
    /// The number of the device in the upper five bits, that of the function in the lower three.
    pub(crate) devfn: u8,
}

impl Address {
    /// Parses `[domain:]bus:device.function`, in hexadecimal. The domain defaults to 0.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (rest, function) = split_last(text, b'.')?;
        let (rest, device) = split_last(rest, b':')?;
        let (domain, bus) = split_last(rest, b':').unwrap_or((b"0", rest));
        Some(Self {
            domain: i32::try_from(number(domain, u32::MAX)?).ok()?,
            bus: u8::try_from(number(bus, 0xff)?).ok()?,
            devfn: u8::try_from((number(device, 0x1f)? << 3) | number(function, 7)?).ok()?,
        })
    }

    /// The number of the device on its bus.
    pub(crate) fn device(self) -> u8 {
        self.devfn >> 3
    }

    /// The number of the function in its device.
    pub(crate) fn function(self) -> u8 {
        self.devfn & 7
    }
}

/// Splits `text` at the last `byte`.
fn split_last(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = text.rsplitn(2, |other| *other == byte);
    let (last, rest) = (parts.next()?, parts.next()?);
    Some((rest, last))
}

/// Parses a hexadecimal number of up to eight digits, and not above `max`.
fn number(text: &[u8], max: u32) -> Option<u32> {
    if !matches!(text.len(), 1..=8) {
        return None;
    }
    let value = text.iter().try_fold(0, |value, byte| {
        Some((value << 4) | char::from(*byte).to_digit(16)?)
    })?;
    (value <= max).then_some(value)
}
