// SPDX-License-Identifier: GPL-2.0-only

//! The state machine of a PF's VF token.
//!
//! Pure: no lock, no pointer, no device. Whoever owns a [`State`] puts a lock around it. The same
//! file compiles on the host, where it is tested.

use crate::vfio::Uuid;
use kernel::prelude::*;

/// A value of the token, by number: two equal generations of one PF mean the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    /// No value of any token: what a VF has seen that never matched.
    pub(crate) const NONE: Self = Self(0);

    /// The generation as a number, to store it in an atomic variable.
    pub(crate) const fn to_raw(self) -> u64 {
        self.0
    }

    /// The counterpart of [`Generation::to_raw`].
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// The token of a PF, and how many of its VFs are open.
///
/// Changes are offered to a second keeper of the token first, as a closure: it returns an error if
/// VFs that this state does not know of forbid the change.
pub(crate) struct State {
    token: Uuid,
    generation: Generation,
    claims: u32,
    retired: bool,
}

impl State {
    /// Starts without a token, which only [`State::start`] gives it, and no open VF.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            token: Uuid::nil(),
            generation: Generation(1),
            claims: 0,
            retired: false,
        }
    }

    /// Lets `fill` write the first token, in the place where it stays.
    pub(crate) fn start(&mut self, fill: impl FnOnce(&mut Uuid)) {
        fill(&mut self.token);
    }

    /// The current token, for the second keeper alone.
    pub(crate) fn token(&self) -> &Uuid {
        &self.token
    }

    /// Replaces the token by another one.
    #[inline]
    fn store(&mut self, other: &Uuid) {
        // This overwrites the old one.
        self.token.copy_from(other);
        // One a nanosecond would wrap after 584 years.
        self.generation = Generation(self.generation.0.wrapping_add(1));
    }

    /// Sets the token, as `VFIO_DEVICE_FEATURE` does.
    ///
    /// `offer` is called once. A keeper that has open VFs accepts none but the token it has, which
    /// is the one of this state; and never none at all. So a new token is offered as it is, and if
    /// it is the one that is set already, `None` is offered.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if SR-IOV is not enabled, or the PF is being unbound.
    /// - `EBUSY` if a VF is open.
    ///
    /// The token is the old one then.
    pub(crate) fn set(
        &mut self,
        sriov_enabled: bool,
        new: &Uuid,
        offer: impl Fn(Option<&Uuid>) -> Result,
    ) -> Result {
        if !sriov_enabled || self.retired {
            return Err(ENODEV);
        }
        if self.claims != 0 {
            return Err(EBUSY);
        }
        if self.token.ct_eq(new) {
            return offer(None).map_err(|_| EBUSY);
        }
        offer(Some(new)).map_err(|_| EBUSY)?;
        self.store(new);
        Ok(())
    }

    /// Decides whether the PF itself may be opened with `given`. If no VF is open, a token given
    /// becomes the token, unless the opening will fail for another reason: `will_fail`.
    ///
    /// # Errors
    ///
    /// - `EACCES` if a VF is open and the token is missing or wrong.
    /// - `ENODEV` if the PF is being unbound.
    pub(crate) fn open_pf(
        &mut self,
        given: Option<&Uuid>,
        will_fail: bool,
        offer: impl Fn(Option<&Uuid>) -> Result,
    ) -> Result {
        if self.retired {
            return Err(ENODEV);
        }
        if self.claims != 0 {
            return match given {
                Some(token) if self.token.ct_eq(token) => Ok(()),
                _ => Err(EACCES),
            };
        }
        match given {
            Some(token) if !self.token.ct_eq(token) => {
                if will_fail {
                    return offer(None);
                }
                offer(given)?;
                self.store(token);
            }
            _ => offer(given)?,
        }
        Ok(())
    }

    /// Compares the token that the opener of a VF presents and returns what it is good for.
    ///
    /// # Errors
    ///
    /// `EACCES` if the token is missing or wrong.
    pub(crate) fn match_vf(&self, given: Option<&Uuid>) -> Result<Generation> {
        match given {
            Some(token) if self.token.ct_eq(token) => Ok(self.generation),
            _ => Err(EACCES),
        }
    }

    /// Counts a VF as open, if its opener `seen` the token that is current now.
    ///
    /// # Errors
    ///
    /// - `EACCES` if the token has changed since.
    /// - `EOVERFLOW` if the count is at its limit, which is above the number of VFs a PF can have.
    #[inline]
    pub(crate) fn claim(&mut self, seen: Generation) -> Result {
        if seen != self.generation {
            return Err(EACCES);
        }
        self.claims = self.claims.checked_add(1).ok_or(EOVERFLOW)?;
        Ok(())
    }

    /// Counts a VF as closed again, after a [`State::claim`] that succeeded.
    pub(crate) fn release(&mut self) {
        self.claims = self.claims.saturating_sub(1);
    }

    /// Ends the life of the token: its bytes are overwritten, and nothing can set it any more.
    pub(crate) fn retire(&mut self) {
        self.token.wipe();
        self.retired = true;
    }
}
