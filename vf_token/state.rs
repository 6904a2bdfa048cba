// SPDX-License-Identifier: GPL-2.0-only

//! The state machine of a PF's VF token.
//!
//! Pure: no lock, no pointer, no device. The owner of a [`State`] protects it with a lock. The same
//! file compiles on the host, where it is tested.

use crate::vfio::Uuid;
use kernel::prelude::*;

/// The number of a value of the token: equal generations of one PF mean the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(crate) struct Generation(u64);

impl Generation {
    /// No value of any token: what a VF has seen if no token ever matched.
    pub(crate) const NONE: Self = Self(0);

    /// What a VF has seen whose opener presented no token, since the VF was admitted. It stands for
    /// the generation in which the VF is admitted when the claim is made.
    const ADMITTED: Self = Self(u64::MAX);

    /// The generation as a number, to store it in an atomic variable.
    pub(crate) const fn to_raw(self) -> u64 {
        self.0
    }

    const fn next(self) -> Self {
        // With one change per nanosecond it would wrap after 584 years.
        Self(self.0.wrapping_add(1))
    }

    /// The counterpart of [`Generation::to_raw`].
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// An opener of the PF, identified by its thread. A thread opens one device at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(crate) struct Opener(pub(crate) i32);

/// What an opener of the PF presents.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug, Hash))]
enum Presented {
    Nothing,
    /// The current token, by its generation.
    Current(Generation),
    /// Another token, which the opening sets.
    New,
}

/// When the token can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// While SR-IOV is enabled and no VF is open.
    Strict,
    /// Also while there are no VFs; and the same token again at any time.
    Lenient,
}

/// Whether the PF is already open when a program wants to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PfUse {
    /// It is not open.
    Closed,
    /// It is open, and its user opens it once more. `open_device` is not called for that.
    Again,
    /// It is open, and cannot be opened again: the opening will be refused.
    Taken,
}

/// The token of a PF, and how many of its VFs are open.
///
/// Changes are first offered to a second keeper of the token, a closure: it returns an error if VFs
/// that this state does not know of forbid the change.
#[cfg_attr(test, derive(Clone, Debug, Hash, PartialEq, Eq))]
pub(crate) struct State {
    token: Uuid,
    generation: Generation,
    claims: u32,
    retired: bool,
    /// Whether a user has set the token; if not, it is random.
    is_set: bool,
    /// The generation in which the PF was last admitted.
    admitted: Generation,
    /// The opener that was last allowed to open the PF and has not done so yet, and what it
    /// presented.
    opener: Option<(Opener, Presented)>,
    /// The token of an opener that presents a new one; otherwise zeroes.
    presented: Uuid,
    /// The token that an opening of the PF has replaced, while that opening can still fail;
    /// otherwise zeroes.
    previous: Uuid,
    /// Whether a user had set the previous token.
    previous_is_set: bool,
    /// The generation that began with that opening.
    undoable: Generation,
    /// The number of VFs, or `None` while they are being created or removed.
    vfs: Option<u32>,
    /// How many of them are bound to the same driver as the PF.
    own_vfs: u32,
    /// How often `vfs` or `own_vfs` has changed.
    roster: u64,
}

impl State {
    const FIRST: Generation = Generation(1);

    /// A state without a token, which [`State::start`] adds, and without an open VF.
    pub(crate) const fn new() -> Self {
        Self {
            token: Uuid::nil(),
            generation: Self::FIRST,
            claims: 0,
            retired: false,
            is_set: false,
            admitted: Generation::NONE,
            opener: None,
            presented: Uuid::nil(),
            previous: Uuid::nil(),
            previous_is_set: false,
            undoable: Generation::NONE,
            vfs: Some(0),
            own_vfs: 0,
            roster: 0,
        }
    }

    /// Lets `fill` write the first token in place.
    pub(crate) fn start(&mut self, fill: impl FnOnce(&mut Uuid)) {
        fill(&mut self.token);
    }

    /// The current token, for the second keeper only.
    pub(crate) fn token(&self) -> &Uuid {
        &self.token
    }

    /// Whether a user has set the token; if not, it is a random one that nobody knows.
    pub(crate) fn is_set(&self) -> bool {
        self.is_set
    }

    /// How often the token has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.generation.0.wrapping_sub(Self::FIRST.0)
    }

    /// How many claims there are.
    pub(crate) fn claims(&self) -> u32 {
        self.claims
    }

    /// Sets the number of VFs; `None` while they are being created or removed.
    pub(crate) fn set_vfs(&mut self, vfs: Option<u32>) {
        self.vfs = vfs;
        self.roster = self.roster.wrapping_add(1);
    }

    /// Counts a VF that is bound to the driver of the PF.
    pub(crate) fn add_own_vf(&mut self) {
        self.own_vfs = self.own_vfs.saturating_add(1);
        self.roster = self.roster.wrapping_add(1);
    }

    /// Counts a VF as unbound again, after [`State::add_own_vf`].
    pub(crate) fn remove_own_vf(&mut self) {
        self.own_vfs = self.own_vfs.saturating_sub(1);
        self.roster = self.roster.wrapping_add(1);
    }

    /// Whether no VF can be foreign, so that every VF that is open or being opened has a claim or
    /// will ask for one.
    pub(crate) fn owns_all_vfs(&self) -> bool {
        self.vfs == Some(self.own_vfs)
    }

    /// A number that changes whenever VFs are created or removed, or one is bound to the driver of
    /// the PF or unbound from it; `None` while they are being created or removed.
    pub(crate) fn roster(&self) -> Option<u64> {
        self.vfs.map(|_| self.roster)
    }

    /// Sets the token, as `VFIO_DEVICE_FEATURE` does.
    ///
    /// `offer` is called at most once. A keeper with open VFs accepts only the token that it has,
    /// which is that of this state, and refuses `None`. So a new token is offered as it is, and
    /// `None` in place of the current one.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if SR-IOV is not enabled and the rules are strict, or the PF is being unbound.
    /// - `EBUSY` if a VF is open; if the rules are lenient, only for another token.
    ///
    /// After an error the token is unchanged.
    pub(crate) fn set(
        &mut self,
        rules: Rules,
        sriov_enabled: bool,
        new: &Uuid,
        offer: impl Fn(Option<&Uuid>) -> Result,
    ) -> Result {
        if self.retired || (rules == Rules::Strict && !sriov_enabled) {
            return Err(ENODEV);
        }
        let same = self.token.ct_eq(new);
        if same && rules == Rules::Lenient {
            return Ok(());
        }
        if self.claims != 0 {
            return Err(EBUSY);
        }
        if same {
            return offer(None).map_err(|_| EBUSY);
        }
        offer(Some(new)).map_err(|_| EBUSY)?;
        // This overwrites the old one.
        self.token.copy_from(new);
        self.is_set = true;
        self.generation = self.generation.next();
        // The PF is in use, so its opening has not failed.
        self.previous.wipe();
        Ok(())
    }

    /// Whether `token` is the current one, so that setting it again would change nothing.
    pub(crate) fn has(&self, token: &Uuid) -> bool {
        !self.retired && self.token.ct_eq(token)
    }

    /// Decides whether `opener` may go on to open the PF with `given`, and records it if so. The
    /// token does not change before [`State::open_pf`], which is only called if the PF was closed.
    ///
    /// # Errors
    ///
    /// - `EACCES` if a VF is open and the token is missing or wrong; or if the PF is opened again
    ///   and the token is wrong.
    /// - `ENODEV` if the PF is being unbound.
    pub(crate) fn match_pf(
        &mut self,
        opener: Opener,
        given: Option<&Uuid>,
        pf: PfUse,
        offer: impl Fn(Option<&Uuid>) -> Result,
    ) -> Result {
        if self.retired {
            return Err(ENODEV);
        }
        let presented = match given {
            None => Presented::Nothing,
            Some(token) if self.token.ct_eq(token) => Presented::Current(self.generation),
            Some(_) => Presented::New,
        };
        match presented {
            Presented::Nothing => self.check_pf_without_token(offer)?,
            Presented::Current(_) => (),
            Presented::New => self.check_no_vf_open(offer)?,
        }
        match pf {
            PfUse::Taken => return Ok(()),
            PfUse::Again if presented == Presented::New => return Err(EACCES),
            PfUse::Again => return Ok(()),
            PfUse::Closed => (),
        }
        match given {
            Some(token) if presented == Presented::New => self.presented.copy_from(token),
            _ => self.presented.wipe(),
        }
        self.opener = Some((opener, presented));
        Ok(())
    }

    /// Decides whether a program that presents no token may open the PF now.
    ///
    /// # Errors
    ///
    /// - `EACCES` if a VF is open and the PF is not admitted.
    /// - `ENODEV` if the PF is being unbound.
    pub(crate) fn check_pf_without_token(&self, offer: impl Fn(Option<&Uuid>) -> Result) -> Result {
        if self.retired {
            return Err(ENODEV);
        }
        if self.admitted == self.generation {
            return Ok(());
        }
        self.check_no_vf_open(offer)
    }

    fn check_no_vf_open(&self, offer: impl Fn(Option<&Uuid>) -> Result) -> Result {
        if self.claims != 0 {
            return Err(EACCES);
        }
        offer(None).map_err(|_| EACCES)
    }

    /// What `opener` was allowed to open the PF with.
    fn presented_by(&self, opener: Opener) -> Presented {
        match self.opener {
            Some((last, presented)) if last == opener => presented,
            // Other threads came in between, with the same group file descriptor.
            _ => Presented::Nothing,
        }
    }

    /// Whether the opening of the PF by `opener` will change the token.
    pub(crate) fn will_change(&self, opener: Opener) -> bool {
        self.presented_by(opener) == Presented::New
    }

    /// Forgets what was presented for an opening of the PF that has failed.
    pub(crate) fn forget_opener(&mut self) {
        self.opener = None;
        self.presented.wipe();
    }

    /// Lets the opening of the PF by `opener` take effect: a new token that was presented becomes
    /// the token. The previous one is kept until [`State::end_opening`].
    ///
    /// # Errors
    ///
    /// - `EACCES` if a VF has been opened since [`State::match_pf`] and the opener did not present
    ///   its token and the PF is not admitted, or if the token that was presented has been
    ///   replaced.
    /// - `ENODEV` if the PF is being unbound.
    pub(crate) fn open_pf(
        &mut self,
        opener: Opener,
        offer: impl Fn(Option<&Uuid>) -> Result,
    ) -> Result {
        let result = self.take_effect(self.presented_by(opener), offer);
        self.forget_opener();
        result
    }

    fn take_effect(
        &mut self,
        presented: Presented,
        offer: impl Fn(Option<&Uuid>) -> Result,
    ) -> Result {
        if self.retired {
            return Err(ENODEV);
        }
        match presented {
            Presented::Nothing => self.check_pf_without_token(offer),
            Presented::Current(generation) if generation == self.generation => Ok(()),
            Presented::Current(_) => Err(EACCES),
            Presented::New => {
                if self.claims != 0 {
                    return Err(EACCES);
                }
                offer(Some(&self.presented))?;
                self.previous.copy_from(&self.token);
                self.previous_is_set = self.is_set;
                self.token.copy_from(&self.presented);
                self.is_set = true;
                self.generation = self.generation.next();
                self.undoable = self.generation;
                Ok(())
            }
        }
    }

    /// Whether the previous token is to be restored if the opening fails after [`State::open_pf`].
    /// If a VF has been opened with the new token by then, the new one stays.
    pub(crate) fn can_take_back(&self) -> bool {
        !self.retired && self.claims == 0 && self.generation == self.undoable
    }

    /// Restores the previous token, if that is possible. The second keeper may refuse, too.
    pub(crate) fn take_back(&mut self, offer: impl Fn(Option<&Uuid>) -> Result) {
        if self.can_take_back() && offer(Some(&self.previous)).is_ok() {
            self.token.copy_from(&self.previous);
            self.is_set = self.previous_is_set;
            self.generation = self.generation.next();
        }
    }

    /// Forgets the previous token, since the opening can no longer fail, or has failed.
    pub(crate) fn end_opening(&mut self) {
        self.previous.wipe();
        self.undoable = Generation::NONE;
    }

    /// Compares the token `given`, and returns the generation for which it is right.
    ///
    /// # Errors
    ///
    /// - `EACCES` if the token is wrong.
    /// - `ENODEV` if the PF is being unbound.
    pub(crate) fn admit(&self, given: &Uuid) -> Result<Generation> {
        if self.retired {
            return Err(ENODEV);
        }
        if !self.token.ct_eq(given) {
            return Err(EACCES);
        }
        Ok(self.generation)
    }

    /// Admits the PF until its token changes, if `given` is the token; `None` withdraws the
    /// admission.
    ///
    /// # Errors
    ///
    /// Those of [`State::admit`].
    pub(crate) fn admit_pf(&mut self, given: Option<&Uuid>) -> Result {
        self.admitted = given.map_or(Ok(Generation::NONE), |token| self.admit(token))?;
        Ok(())
    }

    /// Compares the token that the opener of a VF presents, and returns the generation that
    /// [`State::claim`] asks for. An opener may present none if `admitted`, the generation in which
    /// the VF was admitted, is the current one.
    ///
    /// # Errors
    ///
    /// - `EACCES` if the token is missing or wrong.
    /// - `ENODEV` if the PF is being unbound.
    pub(crate) fn match_vf(
        &self,
        given: Option<&Uuid>,
        admitted: Generation,
    ) -> Result<Generation> {
        match given {
            Some(token) => self.admit(token),
            None if self.retired => Err(ENODEV),
            None if admitted == self.generation => Ok(Generation::ADMITTED),
            None => Err(EACCES),
        }
    }

    /// Counts a VF as open, if `seen`, which [`State::match_vf`] returned, is the current
    /// generation; or if it stands for an admission, and `admitted` is the current generation.
    ///
    /// # Errors
    ///
    /// - `EACCES` if the token has changed since, or the admission has been withdrawn.
    /// - `ENODEV` if the PF is being unbound.
    /// - `EOVERFLOW` if the count is at its limit, which is above the number of VFs a PF can have.
    pub(crate) fn claim(&mut self, seen: Generation, admitted: Generation) -> Result {
        if self.retired {
            return Err(ENODEV);
        }
        let seen = if seen == Generation::ADMITTED {
            admitted
        } else {
            seen
        };
        if seen != self.generation {
            return Err(EACCES);
        }
        self.claims = self.claims.checked_add(1).ok_or(EOVERFLOW)?;
        Ok(())
    }

    /// Counts a VF as closed again, after a successful [`State::claim`].
    pub(crate) fn release(&mut self) {
        self.claims = self.claims.saturating_sub(1);
    }

    /// Ends the life of the token: its bytes are overwritten, and it can no longer be set.
    pub(crate) fn retire(&mut self) {
        self.token.wipe();
        self.presented.wipe();
        self.previous.wipe();
        self.retired = true;
    }
}
