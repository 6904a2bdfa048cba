// SPDX-License-Identifier: GPL-2.0-only

//! A UUID that is a secret.
//!
//! Depends on `core` alone, so that it compiles on the host too.
//!
//! C header: [`include/linux/uuid.h`](srctree/include/linux/uuid.h)

use core::arch::asm;

/// A UUID that stands for a right, in the byte order of C's `uuid_t` (16 bytes, big endian).
///
/// It cannot be copied or printed, it is compared in constant time, and its bytes are overwritten
/// when it is dropped.
// Models of it on the host are copied.
#[cfg_attr(test, derive(Clone, Debug, Hash, PartialEq, Eq))]
#[repr(transparent)]
pub(crate) struct Uuid([u8; 16]);

impl Uuid {
    /// The UUID of 16 zero bytes, a place to copy another one into.
    pub(crate) const fn nil() -> Self {
        Self([0; 16])
    }

    /// Whether both are the same, in a time that does not depend on their bytes.
    pub(crate) fn ct_eq(&self, other: &Self) -> bool {
        let difference = u128::from_ne_bytes(self.0) ^ u128::from_ne_bytes(other.0);
        // In words of the machine, two on one of 64 bits.
        let mut any = 0;
        for shift in (0..u128::BITS).step_by(usize::BITS as usize) {
            any |= (difference >> shift) as usize;
        }
        // SAFETY: It does nothing. But the compiler does not know that, and so cannot leave at the
        // first difference: this is C's `OPTIMIZER_HIDE_VAR()`.
        unsafe {
            asm!("/* {0} */", inout(reg) any, options(pure, nomem, nostack, preserves_flags))
        };
        any == 0
    }

    /// Becomes a copy of `other`.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0 = other.0;
    }

    /// Overwrites the bytes with zeroes, in a way that the compiler may not leave out.
    pub(crate) fn wipe(&mut self) {
        self.0 = [0; 16];
        // SAFETY: It does nothing. But for the compiler it reads the bytes, which therefore have to
        // be there: this is `barrier_data()`, on which C's `memzero_explicit()` stands.
        unsafe { asm!("/* {0} */", in(reg) &raw mut self.0, options(nostack, preserves_flags)) };
    }
}

impl Drop for Uuid {
    fn drop(&mut self) {
        self.wipe();
    }
}
