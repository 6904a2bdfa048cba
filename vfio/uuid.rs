// SPDX-License-Identifier: GPL-2.0-only

//! A UUID that is a secret.
//!
//! Depends on `core` alone, so that it compiles on the host too.
//!
//! C header: [`include/linux/uuid.h`](srctree/include/linux/uuid.h)

use core::{
    hint::black_box,
    ptr, //
};

/// A UUID that stands for a right, in the byte order of C's `uuid_t` (16 bytes, big endian).
///
/// It cannot be copied or printed, it is compared in constant time, and its bytes are overwritten
/// when it is dropped.
#[repr(transparent)]
pub(crate) struct Uuid([u8; 16]);

impl Uuid {
    /// The UUID of 16 zero bytes, a place to copy another one into.
    pub(crate) const fn nil() -> Self {
        Self([0; 16])
    }

    /// Whether both are the same, in a time that does not depend on their bytes.
    pub(crate) fn ct_eq(&self, other: &Self) -> bool {
        // On a 64-bit machine this is two XORs and an OR. `black_box` keeps the compiler from
        // turning it into a comparison that leaves at the first difference.
        black_box(u128::from_ne_bytes(self.0) ^ u128::from_ne_bytes(other.0)) == 0
    }

    /// Becomes a copy of `other`.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0 = other.0;
    }

    /// Overwrites the bytes with zeroes, in a way that the compiler may not leave out.
    pub(crate) fn wipe(&mut self) {
        // SAFETY: `self.0` is a valid, aligned place for writes and `[u8; 16]` has no destructor.
        unsafe { ptr::write_volatile(&mut self.0, [0; 16]) };
    }
}

impl Default for Uuid {
    fn default() -> Self {
        Self::nil()
    }
}

impl Drop for Uuid {
    fn drop(&mut self) {
        self.wipe();
    }
}
