// SPDX-License-Identifier: GPL-2.0-only

//! The token's state machine: every row of the contract, and every sequence of a few steps against
//! a second, simpler model.

use crate::state::{Generation, State};
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
    state.open_pf(Some(&uuid(3)), false, keep).unwrap();
    state.open_pf(None, false, keep).unwrap();
    let all = [Some(bytes(&uuid(2))), None, Some(bytes(&uuid(3))), None];
    assert_eq!(*offers.borrow(), all);
    assert_eq!(bytes(state.token()), bytes(&uuid(3)));

    assert_eq!(state.open_pf(Some(&uuid(4)), false, no), Err(EACCES));
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
    assert_eq!(state.open_pf(None, false, yes), Ok(()));
    assert!(state.match_vf(Some(&uuid(1))).is_ok());
    assert_eq!(state.open_pf(Some(&uuid(2)), false, yes), Ok(()));
    assert!(state.match_vf(Some(&uuid(2))).is_ok());
}

#[test]
fn pf_needs_the_token_with_an_open_vf() {
    let mut state = state_with(uuid(1));
    let seen = state.match_vf(Some(&uuid(1))).unwrap();
    state.claim(seen).unwrap();
    assert_eq!(state.open_pf(None, false, yes), Err(EACCES));
    assert_eq!(state.open_pf(Some(&uuid(2)), false, yes), Err(EACCES));
    assert_eq!(state.open_pf(Some(&uuid(1)), false, yes), Ok(()));
    assert!(state.match_vf(Some(&uuid(1))).is_ok());
}

#[test]
fn an_opening_of_the_pf_that_will_fail_changes_nothing() {
    let offers = RefCell::new(Vec::new());
    let keep = |token: Option<&Uuid>| {
        offers.borrow_mut().push(token.map(bytes));
        Ok(())
    };
    let mut state = state_with(uuid(1));
    let seen = state.match_vf(Some(&uuid(1))).unwrap();
    assert_eq!(state.open_pf(Some(&uuid(2)), true, keep), Ok(()));
    assert_eq!(state.open_pf(Some(&uuid(1)), true, keep), Ok(()));
    assert_eq!(state.open_pf(None, true, keep), Ok(()));
    assert_eq!(bytes(state.token()), bytes(&uuid(1)));
    assert_eq!(*offers.borrow(), [None, Some(bytes(&uuid(1))), None]);
    // It is refused as it would be otherwise.
    assert_eq!(state.open_pf(Some(&uuid(2)), true, no), Err(EACCES));
    state.claim(seen).unwrap();
    assert_eq!(state.open_pf(Some(&uuid(2)), true, yes), Err(EACCES));
}

#[test]
fn a_retired_token_is_gone() {
    let mut state = state_with(uuid(1));
    state.retire();
    assert_eq!(bytes(state.token()), [0; 16]);
    assert_eq!(state.set(true, &uuid(2), yes), Err(ENODEV));
    assert_eq!(state.open_pf(None, false, yes), Err(ENODEV));
    assert_eq!(state.open_pf(Some(&uuid(2)), false, yes), Err(ENODEV));
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
            Step::OpenPf(token) => state.open_pf(token.map(uuid).as_ref(), false, yes),
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
