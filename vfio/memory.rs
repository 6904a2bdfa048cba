// SPDX-License-Identifier: GPL-2.0-only

//! Physical memory that the firmware has filled.
//!
//! C header: [`include/linux/io.h`](srctree/include/linux/io.h)

use super::Span;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    uaccess::UserSliceWriter, //
};

/// Physical memory, mapped with a write-back cache. Others may change it at any time.
///
/// # Invariants
///
/// `start` is what `memremap()` returned for `len` bytes.
pub(crate) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: The mapping belongs to no thread, and any thread may call `memunmap()`.
unsafe impl Send for Memory {}

// SAFETY: The memory is only read, and read as memory that may change.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps `len` bytes from `address` on.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if they cannot be mapped, for example because only a part of them is RAM.
    pub(crate) fn map(address: u64, len: usize) -> Result<Self> {
        // `resource_size_t` has 32 bits on some machines.
        #[allow(clippy::useless_conversion)]
        let address = address.try_into().map_err(|_| ENOMEM)?;
        // SAFETY: The function can be called with any address and size. (It warns about one that
        // the processor does not have.)
        let start = unsafe {
            bindings::memremap(address, len, bindings::MEMREMAP_WB as kernel::ffi::c_ulong)
        };
        // INVARIANT: `start` is what `memremap()` returned.
        NonNull::new(start.cast())
            .map(|start| Self { start, len })
            .ok_or(ENOMEM)
    }

    /// How many bytes are mapped.
    pub(crate) fn size(&self) -> usize {
        self.len
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of them are mapped.
    pub(crate) fn read<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Fills `bytes` with those from `at` on. Fails like `read`.
    fn fill(&self, bytes: &mut [u8], at: usize) -> Result {
        let end = at.checked_add(bytes.len()).filter(|end| *end <= self.len);
        end.ok_or(EFAULT)?;
        for (i, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: The byte is mapped, by the type invariants and the check above. It may
            // change, so the read is volatile.
            *byte = unsafe { self.start.add(at.wrapping_add(i)).read_volatile() };
        }
        Ok(())
    }

    /// Copies the bytes `at` to a user.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of them are mapped, or the user's memory is not writable.
    pub(crate) fn copy_to(&self, mut at: Span, to: &mut UserSliceWriter) -> Result {
        const CHUNK: usize = 64;
        while let Some(part) = at.take_before(at.range().start.saturating_add(CHUNK)) {
            let mut chunk = [0; CHUNK];
            let chunk = chunk.get_mut(..part.size()).ok_or(EFAULT)?;
            self.fill(chunk, part.range().start)?;
            to.write_slice(chunk)?;
        }
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `start` comes from `memremap()`, by the type invariants.
        unsafe { bindings::memunmap(self.start.as_ptr().cast()) };
    }
}
