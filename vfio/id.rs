// SPDX-License-Identifier: GPL-2.0-only

//! Patterns for the IDs of PCI devices, and their text form.
//!
//! Depends on `core` alone, so that it compiles on the host too.

/// A pattern for the IDs of PCI devices, as the file `new_id` of a driver accepts it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Id {
    /// The vendor of the device.
    pub(crate) vendor: u32,
    /// The device, by its vendor.
    pub(crate) device: u32,
    /// The vendor of the subsystem, or [`Id::ANY`].
    pub(crate) subvendor: u32,
    /// The subsystem, by its vendor, or [`Id::ANY`].
    pub(crate) subdevice: u32,
    /// The class, in the bits that `class_mask` has.
    pub(crate) class: u32,
    /// The bits of the class that count.
    pub(crate) class_mask: u32,
}

impl Id {
    /// Matches any ID: C's `PCI_ANY_ID`.
    pub(crate) const ANY: u32 = u32::MAX;

    /// Parses `vendor:device[:subvendor[:subdevice[:class[:class_mask]]]]`, in hexadecimal, and
    /// returns `None` if vendor or device is missing.
    ///
    /// Like C's `sscanf()` it accepts blanks and a `0x` before a number, keeps the last 32 bits of
    /// one, and ignores what follows the last number that it understands.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = [None; 6];
        for (field, number) in fields.iter_mut().zip(numbers(text)) {
            *field = Some(number);
        }
        let [Some(vendor), Some(device), subvendor, subdevice, class, class_mask] = fields else {
            return None;
        };
        Some(Self {
            vendor,
            device,
            subvendor: subvendor.unwrap_or(Self::ANY),
            subdevice: subdevice.unwrap_or(Self::ANY),
            class: class.unwrap_or(0),
            class_mask: class_mask.unwrap_or(0),
        })
    }
}

/// The numbers of a text that are separated by colons, up to where one is missing.
fn numbers(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut left = Some(text);
    core::iter::from_fn(move || {
        let mut text = left.take()?;
        // The blanks of the kernel's `isspace()`.
        while let [b'\t'..=b'\r' | b' ' | 0xa0, rest @ ..] = text {
            text = rest;
        }
        // As in C, there may be no digits after the prefix.
        let (text, mut value) = match text {
            [b'0', b'x' | b'X', rest @ ..] => (rest, Some(0)),
            _ => (text, None),
        };

        let mut rest = text;
        while let [first, others @ ..] = rest {
            let Some(digit) = char::from(*first).to_digit(16) else {
                break;
            };
            value = Some((value.unwrap_or(0) << 4) | digit);
            rest = others;
        }
        if let [b':', others @ ..] = rest {
            left = Some(others);
        }
        value
    })
}
