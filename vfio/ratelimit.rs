// SPDX-License-Identifier: GPL-2.0-only

//! Limits on how often a message is printed.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use super::bindings;
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// The state of a rate limit: 10 events in 5 seconds, C's default.
///
/// # Invariants
///
/// `state` is an initialised `struct ratelimit_state`.
#[pin_data]
#[repr(transparent)]
pub(crate) struct RateLimit {
    #[pin]
    state: Opaque<kernel::bindings::ratelimit_state>,
}

// SAFETY: `struct ratelimit_state` holds nothing that belongs to a thread.
unsafe impl Send for RateLimit {}
// SAFETY: `___ratelimit()`, the one thing done with it, synchronises by itself.
unsafe impl Sync for RateLimit {}

impl RateLimit {
    /// A limit with no event counted yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: The helper initialises all of the state.
            state <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes and stays where it is, since it is pinned.
                unsafe { bindings::vfio_pci_rust_ratelimit_init(slot) }
            }),
        })
    }

    /// Counts an event and returns whether it may be printed.
    pub(crate) fn allow(&self) -> bool {
        // SAFETY: The state is initialised by the type invariant, the name is a C string.
        let allowed =
            unsafe { kernel::bindings::___ratelimit(self.state.get(), c"vfio".as_char_ptr()) };
        allowed != 0
    }
}
