// SPDX-License-Identifier: GPL-2.0-only

//! The names by which devices are opened through a group.
//!
//! Depends on `core` alone, so that it compiles on the host too.

use super::Uuid;
use core::ops::Range;

/// What a name in `VFIO_GROUP_GET_DEVICE_FD` means for one device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// It names another device.
    Other,
    /// It is the address of the device, and nothing else.
    Bare,
    /// It names the device, and has [`Uuid::TEXT_LEN`] bytes at this place that should be a token.
    WithToken(Range<usize>),
    /// It names the device, and the text after the address is invalid.
    Malformed,
}

impl Name {
    /// Parses `ADDRESS[ vf_token=UUID]`, with any number of blanks after the address and after the
    /// UUID, as `vfio_pci_core_match()` does.
    pub(crate) fn parse(name: &[u8], address: &[u8]) -> Self {
        let Some(mut rest) = name.strip_prefix(address) else {
            return Self::Other;
        };
        if !matches!(rest.first(), None | Some(b' ')) {
            return Self::Other;
        }

        let mut token = None;
        loop {
            while let [b' ', others @ ..] = rest {
                rest = others;
            }
            if rest.is_empty() {
                break;
            }
            // An unknown option, or one that occurs twice.
            let (None, Some(text)) = (&token, rest.strip_prefix(b"vf_token=")) else {
                return Self::Malformed;
            };
            let Some((_, after)) = text.split_at_checked(Uuid::TEXT_LEN) else {
                return Self::Malformed;
            };
            let begin = name.len().saturating_sub(text.len());
            token = Some(begin..name.len().saturating_sub(after.len()));
            rest = after;
        }
        token.map_or(Self::Bare, Self::WithToken)
    }
}
