// SPDX-License-Identifier: GPL-2.0-only

//! Devices that must not be given to untrusted users.
//!
//! Pure: the same file compiles on the host, where it is tested.

/// The vendor of all of them: Intel.
pub(crate) const VENDOR: u16 = 0x8086;

/// Accelerators with which a user can harm the machine: QuickAssist (C3xxx, C62x, DH895xCC, each
/// with its VFs), and DSA and IAX of Sapphire Rapids.
pub(crate) const DEVICES: [u16; 8] = [
    0x19e2, 0x19e3, 0x37c8, 0x37c9, 0x0435, 0x0443, 0x0b25, 0x0cfe,
];

/// Whether the device is one of them.
pub(crate) fn has(vendor: u16, device: u16) -> bool {
    vendor == VENDOR && DEVICES.contains(&device)
}
