// SPDX-License-Identifier: GPL-2.0-only

//! The checks that every `VFIO_DEVICE_FEATURE` request must pass.
//!
//! Pure: the same file compiles on the host, where it is tested.
//!
//! UAPI: `struct vfio_device_feature` in
//! [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

use kernel::prelude::*;

/// The bits of the flags that hold the feature index.
pub(crate) const INDEX_MASK: u32 = 0xffff;
/// Read the feature's data.
pub(crate) const GET: u32 = 1 << 16;
/// Write the feature's data.
pub(crate) const SET: u32 = 1 << 17;
/// Ask whether the feature is supported, and GET and SET, if their bits are set.
pub(crate) const PROBE: u32 = 1 << 18;
/// The bits that select operations.
const OPERATIONS: u32 = GET | SET | PROBE;

/// The feature index in the flags of a request.
pub(crate) const fn index(flags: u32) -> u32 {
    flags & INDEX_MASK
}

/// The operations that a feature offers.
#[derive(Clone, Copy)]
pub(crate) struct Operations {
    /// Its data can be read.
    pub(crate) get: bool,
    /// Its data can be written.
    pub(crate) set: bool,
}

impl Operations {
    const fn bits(self) -> u32 {
        (if self.get { GET } else { 0 }) | (if self.set { SET } else { 0 })
    }
}

/// What remains to be done when all checks have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Answer that the feature and the requested operations are supported.
    Probe,
    /// Write the feature's data to the caller.
    Get,
    /// Read the feature's data from the caller.
    Set,
}

/// The flags of a request, in a valid combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request(u32);

impl Request {
    /// Takes the `flags` of `struct vfio_device_feature`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a bit above 18 is set, or GET and SET without PROBE.
    pub(crate) fn new(flags: u32) -> Result<Self> {
        if flags & !(INDEX_MASK | OPERATIONS) != 0 || flags & OPERATIONS == GET | SET {
            return Err(EINVAL);
        }
        Ok(Self(flags))
    }

    /// Checks the request against a feature with the operations `offered` and `needed` bytes of
    /// data, for a caller that provides `given` bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if an operation is requested that the feature does not offer; or, without PROBE, if
    /// none is requested, or the caller provides too little data.
    pub(crate) fn check(self, offered: Operations, needed: usize, given: usize) -> Result<Action> {
        let asked = self.0 & (GET | SET);
        if asked & !offered.bits() != 0 {
            return Err(EINVAL);
        }
        if self.0 & PROBE != 0 {
            return Ok(Action::Probe);
        }
        // GET and SET are not both set, see `new()`.
        if asked == 0 || given < needed {
            return Err(EINVAL);
        }
        Ok(if asked & SET != 0 {
            Action::Set
        } else {
            Action::Get
        })
    }
}
