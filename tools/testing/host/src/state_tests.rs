// SPDX-License-Identifier: GPL-2.0-only

//! The token's state machine: every row of the contract, and every sequence of a few steps compared
//! with a second, simpler model.

use crate::state::{Generation, Opener, PfUse, Rules, State};
use crate::state_with;
use crate::vfio::Uuid;
use kernel::prelude::*;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};

fn uuid(last: u8) -> Uuid {
    let mut bytes = [0x5a; 16];
    bytes[15] = last;
    // SAFETY: `Uuid` is a transparent wrapper of `[u8; 16]`.
    unsafe { std::mem::transmute(bytes) }
}

fn bytes(uuid: &Uuid) -> [u8; 16] {
    // SAFETY: As above.
    unsafe { *std::ptr::from_ref(uuid).cast() }
}

fn yes(_: Option<&Uuid>) -> Result {
    Ok(())
}

fn no(_: Option<&Uuid>) -> Result {
    Err(EACCES)
}

/// Opens the PF, which is closed, at once.
fn open_pf(state: &mut State, given: Option<&Uuid>) -> Result {
    state.match_pf(ME, given, PfUse::Closed, yes)?;
    state.open_pf(ME, yes)?;
    state.end_opening();
    Ok(())
}

/// No admission.
const NONE: Generation = Generation::NONE;

const ME: Opener = Opener(7);
const OTHER: Opener = Opener(8);

#[test]
fn set_needs_sriov() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.set(Rules::Strict, false, &uuid(2), yes), Err(ENODEV));
    assert!(state.match_vf(Some(&uuid(1)), NONE).is_ok());
    assert_eq!(state.set(Rules::Strict, true, &uuid(2), yes), Ok(()));
    assert_eq!(state.match_vf(Some(&uuid(1)), NONE), Err(EACCES));
    assert!(state.match_vf(Some(&uuid(2)), NONE).is_ok());
}

#[test]
fn set_is_busy_while_a_vf_is_open() {
    let mut state = state_with(uuid(1));
    let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
    state.claim(seen, NONE).unwrap();
    state.claim(seen, NONE).unwrap();
    assert_eq!(state.set(Rules::Strict, true, &uuid(2), yes), Err(EBUSY));
    assert_eq!(state.set(Rules::Strict, true, &uuid(1), yes), Err(EBUSY));
    state.release();
    assert_eq!(state.set(Rules::Strict, true, &uuid(2), yes), Err(EBUSY));
    state.release();
    assert_eq!(state.set(Rules::Strict, true, &uuid(2), yes), Ok(()));
}

#[test]
fn set_is_busy_while_a_vf_is_open_elsewhere() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.set(Rules::Strict, true, &uuid(2), no), Err(EBUSY));
    // The second keeper accepts its own token again, even with open VFs.
    let knows = |token: Option<&Uuid>| match token {
        Some(token) if token.ct_eq(&uuid(1)) => Ok(()),
        _ => Err(EACCES),
    };
    assert_eq!(state.set(Rules::Strict, true, &uuid(1), knows), Err(EBUSY));
    assert!(state.match_vf(Some(&uuid(1)), NONE).is_ok());
}

#[test]
fn changes_are_offered_before_they_are_made() {
    let offers = RefCell::new(Vec::new());
    let keep = |token: Option<&Uuid>| {
        offers.borrow_mut().push(token.map(bytes));
        Ok(())
    };
    let mut state = state_with(uuid(1));
    state.set(Rules::Strict, true, &uuid(2), keep).unwrap();
    // The current token is no change, and a keeper with open VFs would accept it.
    state.set(Rules::Strict, true, &uuid(2), keep).unwrap();
    assert_eq!(*offers.borrow(), [Some(bytes(&uuid(2))), None]);
    offers.borrow_mut().clear();

    // The check before an opening offers no token; only the opening does.
    state
        .match_pf(ME, Some(&uuid(3)), PfUse::Closed, keep)
        .unwrap();
    assert_eq!(*offers.borrow(), [None]);
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
    state.open_pf(ME, keep).unwrap();
    assert_eq!(*offers.borrow(), [None, Some(bytes(&uuid(3)))]);
    assert_eq!(bytes(state.token()), bytes(&uuid(3)));

    assert_eq!(
        state.match_pf(ME, Some(&uuid(4)), PfUse::Closed, no),
        Err(EACCES)
    );
    state
        .match_pf(ME, Some(&uuid(4)), PfUse::Closed, yes)
        .unwrap();
    assert_eq!(state.open_pf(ME, no), Err(EACCES));
    assert_eq!(bytes(state.token()), bytes(&uuid(3)));
}

#[test]
fn vf_needs_the_token() {
    let state = state_with(uuid(1));
    assert_eq!(state.match_vf(None, NONE), Err(EACCES));
    assert_eq!(state.match_vf(Some(&uuid(2)), NONE), Err(EACCES));
    assert!(state.match_vf(Some(&uuid(1)), NONE).is_ok());
}

#[test]
fn every_bit_of_the_token_counts() {
    let state = state_with(uuid(1));
    for bit in 0..128 {
        let mut other = bytes(&uuid(1));
        other[bit / 8] ^= 1 << (bit % 8);
        // SAFETY: `Uuid` is a transparent wrapper of `[u8; 16]`.
        let other: Uuid = unsafe { std::mem::transmute(other) };
        assert_eq!(state.match_vf(Some(&other), NONE), Err(EACCES), "bit {bit}");
    }
}

#[test]
fn claim_needs_the_generation_that_matched() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.claim(Generation::NONE, NONE), Err(EACCES));
    let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
    state.set(Rules::Strict, true, &uuid(2), yes).unwrap();
    assert_eq!(state.claim(seen, NONE), Err(EACCES));
    // The same bytes again are not the same generation.
    state.set(Rules::Strict, true, &uuid(1), yes).unwrap();
    assert_eq!(state.claim(seen, NONE), Err(EACCES));
    let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
    // Setting the current token again does not change the generation.
    state.set(Rules::Strict, true, &uuid(1), yes).unwrap();
    assert_eq!(state.claim(seen, NONE), Ok(()));
}

#[test]
fn pf_opens_freely_without_open_vfs_and_brings_its_token() {
    let mut state = state_with(uuid(1));
    assert_eq!(open_pf(&mut state, None), Ok(()));
    assert!(state.match_vf(Some(&uuid(1)), NONE).is_ok());
    assert_eq!(open_pf(&mut state, Some(&uuid(2))), Ok(()));
    assert!(state.match_vf(Some(&uuid(2)), NONE).is_ok());
}

#[test]
fn pf_needs_the_token_with_an_open_vf() {
    for pf in [PfUse::Closed, PfUse::Again, PfUse::Taken] {
        let mut state = state_with(uuid(1));
        let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
        state.claim(seen, NONE).unwrap();
        assert_eq!(state.match_pf(ME, None, pf, yes), Err(EACCES));
        assert_eq!(state.match_pf(ME, Some(&uuid(2)), pf, yes), Err(EACCES));
        assert_eq!(state.match_pf(ME, Some(&uuid(1)), pf, yes), Ok(()));
        assert!(state.match_vf(Some(&uuid(1)), NONE).is_ok());
    }
}

#[test]
fn a_presented_token_waits_for_the_opening() {
    let mut state = state_with(uuid(1));
    let match_it = |state: &mut State, who, token: Option<&Uuid>| {
        state.match_pf(who, token, PfUse::Closed, yes).unwrap()
    };
    // It has no effect if the PF is not opened.
    match_it(&mut state, ME, Some(&uuid(2)));
    assert!(state.will_change(ME));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    // The next opener does not open it with another opener's token.
    match_it(&mut state, ME, None);
    assert_eq!(state.open_pf(ME, yes), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    match_it(&mut state, OTHER, Some(&uuid(2)));
    assert!(!state.will_change(ME));
    assert_eq!(state.open_pf(ME, yes), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    // Nor does the one that presented it, in a later opening without a token.
    assert_eq!(state.open_pf(OTHER, yes), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
}

#[test]
fn a_vf_that_opens_first_keeps_the_pf_closed() {
    for (given, answer) in [
        (None, Err(EACCES)),
        (Some(1), Ok(())),
        (Some(2), Err(EACCES)),
    ] {
        let mut state = state_with(uuid(1));
        let given = given.map(uuid);
        state
            .match_pf(ME, given.as_ref(), PfUse::Closed, yes)
            .unwrap();
        let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
        state.claim(seen, NONE).unwrap();
        assert_eq!(state.open_pf(ME, yes), answer);
        assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    }
}

#[test]
fn a_pf_that_is_open_keeps_its_token() {
    let mut state = state_with(uuid(1));
    // Its user opens it again: `open_device` is not called for that.
    let again =
        |state: &mut State, token: Option<&Uuid>| state.match_pf(ME, token, PfUse::Again, yes);
    assert_eq!(again(&mut state, Some(&uuid(2))), Err(EACCES));
    assert_eq!(again(&mut state, Some(&uuid(1))), Ok(()));
    assert_eq!(again(&mut state, None), Ok(()));
    // The core will refuse another user.
    for token in [None, Some(1), Some(2)] {
        let token = token.map(uuid);
        assert_eq!(
            state.match_pf(ME, token.as_ref(), PfUse::Taken, yes),
            Ok(())
        );
        assert!(!state.will_change(ME));
    }
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
}

/// The state after the PF was opened with the token 2 instead of 1, as far as the driver knows.
fn opened_with_another() -> State {
    let mut state = state_with(uuid(1));
    state
        .match_pf(ME, Some(&uuid(2)), PfUse::Closed, yes)
        .unwrap();
    state.open_pf(ME, yes).unwrap();
    state
}

#[test]
fn an_opening_that_fails_after_all_gives_the_token_back() {
    let offers = RefCell::new(Vec::new());
    let keep = |token: Option<&Uuid>| {
        offers.borrow_mut().push(token.map(bytes));
        Ok(())
    };
    let mut state = opened_with_another();
    let seen = state.match_vf(Some(&uuid(2)), NONE).unwrap();
    state.take_back(keep);
    state.end_opening();
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    assert_eq!(*offers.borrow(), [Some(bytes(&uuid(1)))]);
    assert_eq!(state.claim(seen, NONE), Err(EACCES));

    // There is nothing to restore a second time.
    state.take_back(yes);
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
}

#[test]
fn the_token_is_not_given_back_where_it_is_in_use() {
    // The opening has not failed.
    let mut state = opened_with_another();
    state.end_opening();
    state.take_back(yes);
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
    // A VF is open with it, under this driver or another one.
    let mut state = opened_with_another();
    let seen = state.match_vf(Some(&uuid(2)), NONE).unwrap();
    state.claim(seen, NONE).unwrap();
    state.take_back(yes);
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
    let mut state = opened_with_another();
    state.take_back(no);
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
    // Another token has been set.
    let mut state = opened_with_another();
    state.set(Rules::Strict, true, &uuid(3), yes).unwrap();
    state.take_back(yes);
    assert_eq!(bytes(state.token()), bytes(&uuid(3)));
}

#[test]
fn an_opening_that_fails_early_leaves_nothing() {
    let mut state = state_with(uuid(1));
    state
        .match_pf(ME, Some(&uuid(2)), PfUse::Closed, yes)
        .unwrap();
    state.forget_opener();
    assert!(!state.will_change(ME));
    assert_eq!(state.open_pf(ME, yes), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
}

#[test]
fn the_roster_changes_with_every_vf() {
    let mut state = state_with(uuid(1));
    let mut seen = vec![state.roster()];
    let mut is_new = |state: &State| {
        let is_new = !seen.contains(&state.roster());
        seen.push(state.roster());
        is_new
    };
    state.set_vfs(Some(1));
    assert!(is_new(&state));
    state.add_own_vf();
    assert!(is_new(&state));
    state.remove_own_vf();
    assert!(is_new(&state));
    state.set_vfs(None);
    assert_eq!(state.roster(), None);
    // The same number again does not mean the same VFs.
    state.set_vfs(Some(1));
    assert!(is_new(&state));
}

#[test]
fn own_vfs_are_all_or_not() {
    let mut state = state_with(uuid(1));
    assert!(state.owns_all_vfs());
    state.set_vfs(None);
    assert!(!state.owns_all_vfs());
    state.add_own_vf();
    assert!(!state.owns_all_vfs());
    state.set_vfs(Some(2));
    assert!(!state.owns_all_vfs());
    state.add_own_vf();
    assert!(state.owns_all_vfs());
    state.remove_own_vf();
    assert!(!state.owns_all_vfs());
}

#[test]
fn a_retired_token_is_gone() {
    let mut state = state_with(uuid(1));
    let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
    let nil = Uuid::nil();
    state
        .match_pf(ME, Some(&uuid(2)), PfUse::Closed, yes)
        .unwrap();
    state.retire();
    assert_eq!(bytes(state.token()), [0; 16]);
    assert_eq!(state.set(Rules::Strict, true, &uuid(2), yes), Err(ENODEV));
    assert_eq!(state.open_pf(ME, yes), Err(ENODEV));
    for pf in [PfUse::Closed, PfUse::Again, PfUse::Taken] {
        for given in [None, Some(&uuid(2)), Some(&nil)] {
            assert_eq!(state.match_pf(ME, given, pf, yes), Err(ENODEV));
        }
    }
    // The nil UUID, which remains in its place, is not a token and opens nothing.
    assert!(!state.has(&nil));
    assert_eq!(state.match_vf(Some(&nil), NONE), Err(ENODEV));
    assert_eq!(state.claim(seen, NONE), Err(ENODEV));
    state.take_back(yes);
    assert_eq!(bytes(state.token()), [0; 16]);
}

#[test]
fn a_dropped_uuid_is_wiped() {
    let mut place = std::mem::MaybeUninit::new(uuid(7));
    // SAFETY: The value is initialised, and only its bytes are read after the drop.
    let after = unsafe {
        place.assume_init_drop();
        place.as_ptr().cast::<[u8; 16]>().read()
    };
    assert_eq!(after, [0; 16]);
}

#[test]
fn lenient_set_needs_no_vfs() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.set(Rules::Lenient, false, &uuid(2), yes), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
    // The second keeper is asked nevertheless.
    assert_eq!(state.set(Rules::Lenient, false, &uuid(3), no), Err(EBUSY));
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
}

#[test]
fn lenient_set_of_the_same_token_changes_nothing() {
    let mut state = state_with(uuid(1));
    let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
    state.claim(seen, NONE).unwrap();
    let before = state.clone();
    for keeper in [yes, no] {
        assert_eq!(state.set(Rules::Lenient, true, &uuid(1), keeper), Ok(()));
        assert_eq!(state.set(Rules::Lenient, false, &uuid(1), keeper), Ok(()));
        assert_eq!(
            state.set(Rules::Lenient, true, &uuid(2), keeper),
            Err(EBUSY)
        );
    }
    assert!(state == before);
    state.retire();
    assert_eq!(state.set(Rules::Lenient, true, &uuid(1), yes), Err(ENODEV));
    assert_eq!(
        state.set(Rules::Lenient, true, &Uuid::nil(), yes),
        Err(ENODEV)
    );
}

#[test]
fn an_admitted_vf_opens_without_a_token() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.admit(&uuid(2)), Err(EACCES));
    let admitted = state.admit(&uuid(1)).unwrap();
    // Any number of times, but not with a wrong token.
    for _ in 0..2 {
        let seen = state.match_vf(None, admitted).unwrap();
        assert_eq!(state.claim(seen, admitted), Ok(()));
        state.release();
    }
    assert_eq!(state.match_vf(Some(&uuid(2)), admitted), Err(EACCES));
    // Not after it has been withdrawn, even if the opener matched before.
    let seen = state.match_vf(None, admitted).unwrap();
    assert_eq!(state.match_vf(None, NONE), Err(EACCES));
    assert_eq!(state.claim(seen, NONE), Err(EACCES));
    // An opener that presents the token needs no admission.
    let seen = state.match_vf(Some(&uuid(1)), admitted).unwrap();
    assert_eq!(state.claim(seen, NONE), Ok(()));
}

#[test]
fn another_token_ends_an_admission() {
    let mut state = state_with(uuid(1));
    let admitted = state.admit(&uuid(1)).unwrap();
    let seen = state.match_vf(None, admitted).unwrap();
    state.set(Rules::Strict, true, &uuid(2), yes).unwrap();
    assert_eq!(state.match_vf(None, admitted), Err(EACCES));
    assert_eq!(state.claim(seen, admitted), Err(EACCES));
    // The same bytes, set later, are another generation.
    state.set(Rules::Strict, true, &uuid(1), yes).unwrap();
    assert_eq!(state.match_vf(None, admitted), Err(EACCES));
    assert_eq!(state.claim(seen, admitted), Err(EACCES));

    let admitted = state.admit(&uuid(1)).unwrap();
    state.retire();
    assert_eq!(state.match_vf(None, admitted), Err(ENODEV));
    assert_eq!(state.admit(&Uuid::nil()), Err(ENODEV));
}

#[test]
fn an_admitted_pf_opens_without_its_token() {
    let mut state = state_with(uuid(1));
    let seen = state.match_vf(Some(&uuid(1)), NONE).unwrap();
    state.claim(seen, NONE).unwrap();
    // It does not matter under which driver the open VF is.
    for keeper in [yes, no] {
        assert_eq!(state.check_pf_without_token(keeper), Err(EACCES));
        assert_eq!(state.match_pf(ME, None, PfUse::Closed, keeper), Err(EACCES));
        assert_eq!(state.admit_pf(Some(&uuid(2))), Err(EACCES));
        state.admit_pf(Some(&uuid(1))).unwrap();
        assert_eq!(state.check_pf_without_token(keeper), Ok(()));
        assert_eq!(state.match_pf(ME, None, PfUse::Closed, keeper), Ok(()));
        assert_eq!(state.open_pf(ME, keeper), Ok(()));
        let wrong = state.match_pf(ME, Some(&uuid(2)), PfUse::Closed, keeper);
        assert_eq!(wrong, Err(EACCES));
        // An opener that matched in time is refused at its claim.
        state.match_pf(ME, None, PfUse::Closed, keeper).unwrap();
        state.admit_pf(None).unwrap();
        assert_eq!(state.open_pf(ME, keeper), Err(EACCES));
    }
    state.admit_pf(Some(&uuid(1))).unwrap();
    state.release();
    state.set(Rules::Strict, true, &uuid(2), yes).unwrap();
    assert_eq!(state.check_pf_without_token(no), Err(EACCES));
    state.retire();
    assert_eq!(state.check_pf_without_token(yes), Err(ENODEV));
}

#[test]
fn changes_are_counted_and_a_random_token_is_told_from_a_set_one() {
    let mut state = state_with(uuid(1));
    assert_eq!((state.is_set(), state.changes()), (false, 0));
    state.set(Rules::Strict, true, &uuid(1), yes).unwrap();
    assert_eq!((state.is_set(), state.changes()), (false, 0));

    // An opening that fails late restores the random token.
    let mut state = opened_with_another();
    assert_eq!((state.is_set(), state.changes()), (true, 1));
    state.take_back(yes);
    assert_eq!((state.is_set(), state.changes()), (false, 2));
    state.set(Rules::Strict, true, &uuid(2), yes).unwrap();
    assert_eq!((state.is_set(), state.changes()), (true, 3));
}

/// The steps of the sequences below.
#[derive(Clone, Copy, Debug)]
enum Step {
    Set(Rules, u8, bool),
    OpenPf(Option<u8>),
    /// Admits the VF or the PF with a token, or withdraws that.
    Admit(Option<u8>),
    AdmitPf(Option<u8>),
    Match(Option<u8>),
    Claim,
    Release,
}

/// The contract without generations: the model remembers what was presented, and in which state of
/// the token.
#[derive(Default)]
struct Model {
    token: u8,
    changes: u32,
    open: u32,
    matched: Option<Matched>,
    admitted: Option<u32>,
    pf_admitted: Option<u32>,
}

#[derive(Clone, Copy)]
enum Matched {
    Token(u32),
    Admission,
}

impl Model {
    fn take(&mut self, token: u8) {
        if self.token != token {
            self.token = token;
            self.changes += 1;
        }
    }

    /// The admission with `token`, and whether the token is right.
    fn admission(&self, token: Option<u8>) -> Result<Option<u32>> {
        match token {
            None => Ok(None),
            Some(token) if token == self.token => Ok(Some(self.changes)),
            Some(_) => Err(EACCES),
        }
    }

    fn step(&mut self, step: Step) -> Result {
        match step {
            Step::Set(Rules::Strict, _, false) => Err(ENODEV),
            Step::Set(Rules::Lenient, token, _) if token == self.token => Ok(()),
            Step::Set(..) if self.open > 0 => Err(EBUSY),
            Step::Set(_, token, _) => {
                self.take(token);
                Ok(())
            }
            Step::Admit(token) => {
                self.admitted = self.admission(token)?;
                Ok(())
            }
            Step::AdmitPf(token) => {
                self.pf_admitted = self.admission(token)?;
                Ok(())
            }
            Step::OpenPf(None) if self.pf_admitted == Some(self.changes) => Ok(()),
            Step::OpenPf(token) if self.open > 0 => {
                (token == Some(self.token)).then_some(()).ok_or(EACCES)
            }
            Step::OpenPf(token) => {
                token.into_iter().for_each(|token| self.take(token));
                Ok(())
            }
            Step::Match(None) if self.admitted == Some(self.changes) => {
                self.matched = Some(Matched::Admission);
                Ok(())
            }
            Step::Match(token) if token != Some(self.token) => Err(EACCES),
            Step::Match(_) => {
                self.matched = Some(Matched::Token(self.changes));
                Ok(())
            }
            Step::Claim => {
                let of = match self.matched {
                    Some(Matched::Token(changes)) => Some(changes),
                    Some(Matched::Admission) => self.admitted,
                    None => None,
                };
                if of != Some(self.changes) {
                    return Err(EACCES);
                }
                self.open += 1;
                Ok(())
            }
            Step::Release => {
                self.open = self.open.saturating_sub(1);
                Ok(())
            }
        }
    }
}

/// Takes the steps on the state machine and on the model, and compares the answers.
fn walk(steps: impl IntoIterator<Item = Step>) {
    let mut state = state_with(uuid(1));
    let mut model = Model {
        token: 1,
        ..Model::default()
    };
    let matched = Cell::new(NONE);
    let mut admitted = NONE;

    for step in steps {
        let answer = match step {
            Step::Set(rules, token, sriov) => state.set(rules, sriov, &uuid(token), yes),
            Step::Admit(token) => token
                .map_or(Ok(NONE), |token| state.admit(&uuid(token)))
                .map(|generation| admitted = generation),
            Step::AdmitPf(token) => state.admit_pf(token.map(uuid).as_ref()),
            Step::OpenPf(token) => open_pf(&mut state, token.map(uuid).as_ref()),
            Step::Match(token) => state
                .match_vf(token.map(uuid).as_ref(), admitted)
                .map(|generation| matched.set(generation)),
            Step::Claim => state.claim(matched.get(), admitted),
            Step::Release => {
                state.release();
                Ok(())
            }
        };
        assert_eq!(answer, model.step(step), "{step:?}");
        assert_eq!(bytes(state.token()), bytes(&uuid(model.token)));
        assert_eq!(state.changes(), u64::from(model.changes));
        assert_eq!(state.claims(), model.open);
    }
}

fn walk_all(steps: &[Step], length: u32) {
    for number in 0..steps.len().pow(length) {
        walk((0..length).map(|i| steps[number / steps.len().pow(i) % steps.len()]));
    }
}

#[test]
fn every_short_sequence_is_answered_as_the_model_says() {
    let steps = [
        Step::Set(Rules::Strict, 1, true),
        Step::Set(Rules::Strict, 2, true),
        Step::Set(Rules::Strict, 2, false),
        Step::OpenPf(None),
        Step::OpenPf(Some(1)),
        Step::OpenPf(Some(2)),
        Step::Match(None),
        Step::Match(Some(1)),
        Step::Match(Some(2)),
        Step::Claim,
        Step::Release,
    ];
    walk_all(&steps, 6);
}

#[test]
fn every_short_sequence_with_admissions_is_answered_as_the_model_says() {
    let steps = [
        Step::Set(Rules::Lenient, 1, true),
        Step::Set(Rules::Lenient, 2, false),
        Step::OpenPf(None),
        Step::Admit(None),
        Step::Admit(Some(1)),
        Step::Admit(Some(2)),
        Step::AdmitPf(Some(1)),
        Step::Match(None),
        Step::Match(Some(1)),
        Step::Claim,
        Step::Release,
    ];
    walk_all(&steps, 6);
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), 0..4u8, prop::bool::weighted(0.9)).prop_map(|(lenient, token, sriov)| {
            let rules = if lenient {
                Rules::Lenient
            } else {
                Rules::Strict
            };
            Step::Set(rules, token, sriov)
        }),
        prop::option::of(0..4u8).prop_map(Step::OpenPf),
        prop::option::of(0..4u8).prop_map(Step::Admit),
        prop::option::of(0..4u8).prop_map(Step::AdmitPf),
        prop::option::of(0..4u8).prop_map(Step::Match),
        Just(Step::Claim),
        Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..Default::default() })]

    #[test]
    fn long_sequences_are_answered_as_the_model_says(
        steps in prop::collection::vec(any_step(), 0..200)
    ) {
        walk(steps);
    }
}
