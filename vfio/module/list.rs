// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters that are lists.
//!
//! Depends on `core` alone, so that it compiles on the host too.

/// The entries of a list that is separated by commas, without the blanks around them. Empty entries
/// are skipped.
pub(crate) fn entries(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}
