// SPDX-License-Identifier: GPL-2.0-only

//! A UUID that is a secret.
//!
//! Depends on `core` alone, so that it compiles on the host too.
//!
//! C header: [`include/linux/uuid.h`](srctree/include/linux/uuid.h)

use core::arch::asm;

/// A UUID that is a secret, in the byte order of C's `uuid_t` (16 bytes, big endian).
///
/// It cannot be copied or printed, it is compared in constant time, and its bytes are overwritten
/// when it is dropped.
// The models in the host's tests copy it.
#[cfg_attr(test, derive(Clone, Debug, Hash, PartialEq, Eq))]
#[repr(transparent)]
pub(crate) struct Uuid([u8; 16]);

impl Uuid {
    /// The length of a UUID as text, in bytes.
    pub(crate) const TEXT_LEN: usize = 36;

    /// The UUID of 16 zero bytes, a place to copy another one into.
    pub(crate) const fn nil() -> Self {
        Self([0; 16])
    }

    /// Compares both, in a time that does not depend on their bytes.
    pub(crate) fn ct_eq(&self, other: &Self) -> bool {
        let difference = u128::from_ne_bytes(self.0) ^ u128::from_ne_bytes(other.0);
        // Fold it into one machine word.
        let mut any = 0;
        for shift in (0..u128::BITS).step_by(usize::BITS as usize) {
            any |= (difference >> shift) as usize;
        }
        // SAFETY: The assembly is empty. But the compiler does not know that, and so cannot stop at
        // the first difference: this is C's `OPTIMIZER_HIDE_VAR()`.
        unsafe {
            asm!("/* {0} */", inout(reg) any, options(pure, nomem, nostack, preserves_flags))
        };
        any == 0
    }

    /// Makes this a copy of `other`.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0 = other.0;
    }

    /// Overwrites the bytes with zeroes, in a way that the compiler cannot optimise away.
    pub(crate) fn wipe(&mut self) {
        self.0 = [0; 16];
        // SAFETY: The assembly is empty. But to the compiler it reads the bytes, which must
        // therefore be in memory: this is `barrier_data()`, on which C's `memzero_explicit()` is
        // built.
        unsafe { asm!("/* {0} */", in(reg) &raw mut self.0, options(nostack, preserves_flags)) };
    }
}

impl Drop for Uuid {
    fn drop(&mut self) {
        self.wipe();
    }
}
