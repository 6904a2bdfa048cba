// SPDX-License-Identifier: GPL-2.0-only

//! The token's state machine: every row of the contract, and every sequence of a few steps against
//! a second, simpler model.

use crate::state::{Generation, Opener, PfUse, State};
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

const ME: Opener = Opener(7);
const OTHER: Opener = Opener(8);

#[test]
fn set_needs_sriov() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.set(false, &uuid(2), yes), Err(ENODEV));
    assert!(state.match_vf(Some(&uuid(1))).is_ok());
    assert_eq!(state.set(true, &uuid(2), yes), Ok(()));
    assert_eq!(state.match_vf(Some(&uuid(1))), Err(EACCES));
    assert!(state.match_vf(Some(&uuid(2))).is_ok());
}

#[test]
fn set_is_busy_while_a_vf_is_open() {
    let mut state = state_with(uuid(1));
    let seen = state.match_vf(Some(&uuid(1))).unwrap();
    state.claim(seen).unwrap();
    state.claim(seen).unwrap();
    assert_eq!(state.set(true, &uuid(2), yes), Err(EBUSY));
    assert_eq!(state.set(true, &uuid(1), yes), Err(EBUSY));
    state.release();
    assert_eq!(state.set(true, &uuid(2), yes), Err(EBUSY));
    state.release();
    assert_eq!(state.set(true, &uuid(2), yes), Ok(()));
}

#[test]
fn set_is_busy_while_a_vf_is_open_elsewhere() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.set(true, &uuid(2), no), Err(EBUSY));
    // The second keeper takes its own token again, even with open VFs.
    let knows = |token: Option<&Uuid>| match token {
        Some(token) if token.ct_eq(&uuid(1)) => Ok(()),
        _ => Err(EACCES),
    };
    assert_eq!(state.set(true, &uuid(1), knows), Err(EBUSY));
    assert!(state.match_vf(Some(&uuid(1))).is_ok());
}

#[test]
fn changes_are_offered_before_they_are_made() {
    let offers = RefCell::new(Vec::new());
    let keep = |token: Option<&Uuid>| {
        offers.borrow_mut().push(token.map(bytes));
        Ok(())
    };
    let mut state = state_with(uuid(1));
    state.set(true, &uuid(2), keep).unwrap();
    // What is set already is no change, and a keeper with open VFs would take it.
    state.set(true, &uuid(2), keep).unwrap();
    assert_eq!(*offers.borrow(), [Some(bytes(&uuid(2))), None]);
    offers.borrow_mut().clear();

    // Whether a PF may be opened is asked without a token; only the opening offers it.
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
    assert_eq!(state.match_vf(None), Err(EACCES));
    assert_eq!(state.match_vf(Some(&uuid(2))), Err(EACCES));
    assert!(state.match_vf(Some(&uuid(1))).is_ok());
}

#[test]
fn every_bit_of_the_token_counts() {
    let state = state_with(uuid(1));
    for bit in 0..128 {
        let mut other = bytes(&uuid(1));
        other[bit / 8] ^= 1 << (bit % 8);
        // SAFETY: `Uuid` is a transparent wrapper of `[u8; 16]`.
        let other: Uuid = unsafe { std::mem::transmute(other) };
        assert_eq!(state.match_vf(Some(&other)), Err(EACCES), "bit {bit}");
    }
}

#[test]
fn claim_needs_the_generation_that_matched() {
    let mut state = state_with(uuid(1));
    assert_eq!(state.claim(Generation::NONE), Err(EACCES));
    let seen = state.match_vf(Some(&uuid(1))).unwrap();
    state.set(true, &uuid(2), yes).unwrap();
    assert_eq!(state.claim(seen), Err(EACCES));
    // Back to the same bytes is not back to the same time.
    state.set(true, &uuid(1), yes).unwrap();
    assert_eq!(state.claim(seen), Err(EACCES));
    let seen = state.match_vf(Some(&uuid(1))).unwrap();
    // Setting what is set already moves nothing on.
    state.set(true, &uuid(1), yes).unwrap();
    assert_eq!(state.claim(seen), Ok(()));
}

#[test]
fn pf_opens_freely_without_open_vfs_and_brings_its_token() {
    let mut state = state_with(uuid(1));
    assert_eq!(open_pf(&mut state, None), Ok(()));
    assert!(state.match_vf(Some(&uuid(1))).is_ok());
    assert_eq!(open_pf(&mut state, Some(&uuid(2))), Ok(()));
    assert!(state.match_vf(Some(&uuid(2))).is_ok());
}

#[test]
fn pf_needs_the_token_with_an_open_vf() {
    for pf in [PfUse::Closed, PfUse::Again, PfUse::Taken] {
        let mut state = state_with(uuid(1));
        let seen = state.match_vf(Some(&uuid(1))).unwrap();
        state.claim(seen).unwrap();
        assert_eq!(state.match_pf(ME, None, pf, yes), Err(EACCES));
        assert_eq!(state.match_pf(ME, Some(&uuid(2)), pf, yes), Err(EACCES));
        assert_eq!(state.match_pf(ME, Some(&uuid(1)), pf, yes), Ok(()));
        assert!(state.match_vf(Some(&uuid(1))).is_ok());
    }
}

#[test]
fn a_presented_token_waits_for_the_opening() {
    let mut state = state_with(uuid(1));
    let match_it = |state: &mut State, who, token: Option<&Uuid>| {
        state.match_pf(who, token, PfUse::Closed, yes).unwrap()
    };
    // It comes to nothing if nobody opens the PF.
    match_it(&mut state, ME, Some(&uuid(2)));
    assert!(state.will_change(ME));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    // The next one who opens it does not do so with the token of somebody else.
    match_it(&mut state, ME, None);
    assert_eq!(state.open_pf(ME, yes), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    match_it(&mut state, OTHER, Some(&uuid(2)));
    assert!(!state.will_change(ME));
    assert_eq!(state.open_pf(ME, yes), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    // Nor does the one who presented it, later and without.
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
        let seen = state.match_vf(Some(&uuid(1))).unwrap();
        state.claim(seen).unwrap();
        assert_eq!(state.open_pf(ME, yes), answer);
        assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    }
}

#[test]
fn a_pf_that_is_open_keeps_its_token() {
    let mut state = state_with(uuid(1));
    // Its user opens it again: the driver would not be told.
    let again =
        |state: &mut State, token: Option<&Uuid>| state.match_pf(ME, token, PfUse::Again, yes);
    assert_eq!(again(&mut state, Some(&uuid(2))), Err(EACCES));
    assert_eq!(again(&mut state, Some(&uuid(1))), Ok(()));
    assert_eq!(again(&mut state, None), Ok(()));
    // Somebody else will be refused by the core.
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

/// The state after the PF was opened with the token 2 in the place of 1, as far as the driver knows.
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
    let seen = state.match_vf(Some(&uuid(2))).unwrap();
    state.take_back(keep);
    state.end_opening();
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    assert_eq!(*offers.borrow(), [Some(bytes(&uuid(1)))]);
    assert_eq!(state.claim(seen), Err(EACCES));

    // There is nothing to give back a second time.
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
    let seen = state.match_vf(Some(&uuid(2))).unwrap();
    state.claim(seen).unwrap();
    state.take_back(yes);
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
    let mut state = opened_with_another();
    state.take_back(no);
    assert_eq!(bytes(state.token()), bytes(&uuid(2)));
    // Another one has been set.
    let mut state = opened_with_another();
    state.set(true, &uuid(3), yes).unwrap();
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
    // The same number again is not the same VFs.
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
    let seen = state.match_vf(Some(&uuid(1))).unwrap();
    let nil = Uuid::nil();
    state
        .match_pf(ME, Some(&uuid(2)), PfUse::Closed, yes)
        .unwrap();
    state.retire();
    assert_eq!(bytes(state.token()), [0; 16]);
    assert_eq!(state.set(true, &uuid(2), yes), Err(ENODEV));
    assert_eq!(state.open_pf(ME, yes), Err(ENODEV));
    for pf in [PfUse::Closed, PfUse::Again, PfUse::Taken] {
        for given in [None, Some(&uuid(2)), Some(&nil)] {
            assert_eq!(state.match_pf(ME, given, pf, yes), Err(ENODEV));
        }
    }
    // The nil UUID, which is what is left in its place, opens nothing.
    assert_eq!(state.match_vf(Some(&nil)), Err(ENODEV));
    assert_eq!(state.claim(seen), Err(ENODEV));
    state.take_back(yes);
    assert_eq!(bytes(state.token()), [0; 16]);
}

#[test]
fn a_dropped_uuid_is_wiped() {
    let mut place = std::mem::MaybeUninit::new(uuid(7));
    // SAFETY: The value is initialised, and only its bytes are looked at after the drop.
    let after = unsafe {
        place.assume_init_drop();
        place.as_ptr().cast::<[u8; 16]>().read()
    };
    assert_eq!(after, [0; 16]);
}

/// The steps of the sequences below.
#[derive(Clone, Copy, Debug)]
enum Step {
    Set(u8, bool),
    OpenPf(Option<u8>),
    Match(Option<u8>),
    Claim,
    Release,
}

/// What the contract says, without generations: the model remembers what was presented and in which
/// state of the token.
#[derive(Default)]
struct Model {
    token: u8,
    changes: u32,
    open: u32,
    matched: Option<u32>,
}

impl Model {
    fn take(&mut self, token: u8) {
        if self.token != token {
            self.token = token;
            self.changes += 1;
        }
    }

    fn step(&mut self, step: Step) -> Result {
        match step {
            Step::Set(_, false) => Err(ENODEV),
            Step::Set(_, true) if self.open > 0 => Err(EBUSY),
            Step::Set(token, true) => {
                self.take(token);
                Ok(())
            }
            Step::OpenPf(token) if self.open > 0 => {
                (token == Some(self.token)).then_some(()).ok_or(EACCES)
            }
            Step::OpenPf(token) => {
                token.into_iter().for_each(|token| self.take(token));
                Ok(())
            }
            Step::Match(token) if token != Some(self.token) => Err(EACCES),
            Step::Match(_) => {
                self.matched = Some(self.changes);
                Ok(())
            }
            Step::Claim if self.matched == Some(self.changes) => {
                self.open += 1;
                Ok(())
            }
            Step::Claim => Err(EACCES),
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
    let matched = Cell::new(Generation::NONE);

    for step in steps {
        let answer = match step {
            Step::Set(token, sriov) => state.set(sriov, &uuid(token), yes),
            Step::OpenPf(token) => open_pf(&mut state, token.map(uuid).as_ref()),
            Step::Match(token) => state
                .match_vf(token.map(uuid).as_ref())
                .map(|generation| matched.set(generation)),
            Step::Claim => state.claim(matched.get()),
            Step::Release => {
                state.release();
                Ok(())
            }
        };
        assert_eq!(answer, model.step(step), "{step:?}");
        assert_eq!(bytes(state.token()), bytes(&uuid(model.token)));
    }
}

#[test]
fn every_short_sequence_is_answered_as_the_model_says() {
    const STEPS: [Step; 11] = [
        Step::Set(1, true),
        Step::Set(2, true),
        Step::Set(2, false),
        Step::OpenPf(None),
        Step::OpenPf(Some(1)),
        Step::OpenPf(Some(2)),
        Step::Match(None),
        Step::Match(Some(1)),
        Step::Match(Some(2)),
        Step::Claim,
        Step::Release,
    ];
    const LENGTH: u32 = 6;

    for number in 0..STEPS.len().pow(LENGTH) {
        walk((0..LENGTH).map(|i| STEPS[number / STEPS.len().pow(i) % STEPS.len()]));
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8, prop::bool::weighted(0.9)).prop_map(|(token, sriov)| Step::Set(token, sriov)),
        prop::option::of(0..4u8).prop_map(Step::OpenPf),
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
