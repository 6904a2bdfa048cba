// SPDX-License-Identifier: GPL-2.0-only

//! Every interleaving of openers and setters, on the real state machine behind a lock.
//!
//! loom runs a model once for each interleaving, including the steps of the lock itself. With all
//! four actors that takes too long, so loom is bounded there. Since the actors do everything under
//! the lock, only the order matters in which they take it: all of these orders are tried as well.

use crate::state::{Generation, Opener, PfUse, Rules, State};
use crate::state_with;
use crate::vfio::Uuid;
use kernel::prelude::*;
use loom::{
    sync::{Arc, Mutex},
    thread,
};

/// No admission.
const NONE: Generation = Generation::NONE;

pub(crate) fn uuid(number: u8) -> Uuid {
    // SAFETY: `Uuid` is a transparent wrapper of `[u8; 16]`.
    unsafe { std::mem::transmute([number; 16]) }
}

/// The state machine, and what the model knows besides it.
struct World {
    state: State,
    /// The current token.
    token: u8,
    /// The generation in which the VFs are admitted.
    admitted: Generation,
    /// What was presented to open the VFs that are open.
    known: Vec<u8>,
    /// How often a token was set while a VF was open.
    changes_under_a_claim: u32,
}

impl World {
    fn new() -> Self {
        Self {
            state: state_with(uuid(1)),
            token: 1,
            admitted: NONE,
            known: Vec::new(),
            changes_under_a_claim: 0,
        }
    }

    fn check(&self) {
        for known in &self.known {
            assert_eq!(*known, self.token, "a VF is open with a replaced token");
        }
        assert_eq!(
            self.changes_under_a_claim, 0,
            "the token of an open VF was changed"
        );
    }

    /// Checks that nothing is left open, so that the token can be set again.
    fn check_end(&mut self) {
        assert!(self.known.is_empty());
        assert_eq!(
            self.state.set(Rules::Strict, true, &uuid(4), |_| Ok(())),
            Ok(())
        );
    }

    fn changed(&mut self, token: u8) {
        if !self.known.is_empty() && self.token != token {
            self.changes_under_a_claim += 1;
        }
        self.token = token;
    }

    /// The current generation, which no opener learns in this way.
    fn current(&self) -> Generation {
        self.state.match_vf(Some(&uuid(self.token)), NONE).unwrap()
    }
}

/// Whether an opener's claim is for the generation that it saw, as it must be.
#[derive(Clone, Copy)]
enum Check {
    Generation,
    Nothing,
}

/// An opener that opens a VF and closes it again. Each step takes the lock once, as in the driver.
struct VfOpener {
    token: Option<u8>,
    seen: Option<Generation>,
    /// What the VF was opened with.
    open: Option<u8>,
}

impl VfOpener {
    const STEPS: usize = 3;

    fn new(token: Option<u8>) -> Self {
        Self {
            token,
            seen: None,
            open: None,
        }
    }

    fn match_token(&mut self, world: &mut World) {
        let token = self.token.map(uuid);
        self.seen = world.state.match_vf(token.as_ref(), world.admitted).ok();
    }

    fn claim(&mut self, world: &mut World, check: Check) {
        let Some(seen) = self.seen else { return };
        let seen = match check {
            Check::Generation => seen,
            Check::Nothing => world.current(),
        };
        match world.state.claim(seen, world.admitted) {
            Ok(()) => {
                let known = self.token.unwrap_or(Admitter::TOKEN);
                assert!(
                    self.token.is_some() || world.admitted != NONE,
                    "a VF is open that is no longer admitted"
                );
                self.open = Some(known);
                world.known.push(known);
            }
            Err(e) => assert_eq!(e, EACCES),
        }
        world.check();
    }

    fn release(&mut self, world: &mut World) {
        world.check();
        let Some(open) = self.open else { return };
        let position = world.known.iter().position(|known| *known == open);
        world.known.remove(position.unwrap());
        world.state.release();
    }

    fn step(&mut self, number: usize, world: &mut World, check: Check) {
        match number {
            0 => self.match_token(world),
            1 => self.claim(world, check),
            _ => self.release(world),
        }
    }
}

fn set(world: &mut World, rules: Rules, token: u8) {
    match world.state.set(rules, true, &uuid(token), |_| Ok(())) {
        Ok(()) => world.changed(token),
        Err(e) => assert_eq!(e, EBUSY),
    }
    world.check();
}

/// An administrator that admits the VFs with the first token, and withdraws that. Each step takes
/// the lock once.
struct Admitter;

impl Admitter {
    const STEPS: usize = 2;
    const TOKEN: u8 = 1;

    fn step(number: usize, world: &mut World) {
        let admission = match number {
            0 => world.state.admit(&uuid(Self::TOKEN)),
            _ => Ok(NONE),
        };
        match admission {
            Ok(generation) => world.admitted = generation,
            Err(e) => assert_eq!(e, EACCES),
        }
        world.check();
    }
}

/// An opener that opens the PF with another token. Each step takes the lock once.
#[derive(Default)]
struct PfOpener {
    allowed: bool,
}

impl PfOpener {
    const STEPS: usize = 2;
    const TOKEN: u8 = 3;
    const WHO: Opener = Opener(1);

    fn step(&mut self, number: usize, world: &mut World) {
        let yes = |_: Option<&Uuid>| Ok(());
        let token = uuid(Self::TOKEN);
        let result = match number {
            0 => world
                .state
                .match_pf(Self::WHO, Some(&token), PfUse::Closed, yes),
            _ if !self.allowed => return,
            _ => world.state.open_pf(Self::WHO, yes),
        };
        match result {
            Ok(()) if number == 0 => self.allowed = true,
            Ok(()) => world.changed(Self::TOKEN),
            Err(e) => assert_eq!(e, EACCES),
        }
        world.check();
    }
}

/// What a thread does.
#[derive(Clone, Copy)]
enum Actor {
    VfOpener,
    OpenerWithoutToken,
    Admitter,
    /// Sets the first token again, as lenient rules allow at any time.
    LenientSetter,
    Setter,
    PfOpener,
}

/// Runs the actors at the same time, in every way in which their steps can interleave; with a
/// bound, in every way with that many preemptions.
fn run(actors: &'static [Actor], bound: Option<usize>, check: Check) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.check(move || {
        let world = Arc::new(Mutex::new(World::new()));
        let act = move |actor, world: &Mutex<World>| match actor {
            Actor::VfOpener | Actor::OpenerWithoutToken => {
                let token = matches!(actor, Actor::VfOpener).then_some(1);
                let mut opener = VfOpener::new(token);
                for number in 0..VfOpener::STEPS {
                    opener.step(number, &mut world.lock().unwrap(), check);
                }
            }
            Actor::Admitter => {
                for number in 0..Admitter::STEPS {
                    Admitter::step(number, &mut world.lock().unwrap());
                }
            }
            Actor::Setter => set(&mut world.lock().unwrap(), Rules::Strict, 2),
            Actor::LenientSetter => set(&mut world.lock().unwrap(), Rules::Lenient, 1),
            Actor::PfOpener => {
                let mut opener = PfOpener::default();
                for number in 0..PfOpener::STEPS {
                    opener.step(number, &mut world.lock().unwrap());
                }
            }
        };
        let (first, others) = actors.split_first().unwrap();
        let threads: Vec<_> = others
            .iter()
            .map(|actor| {
                let world = world.clone();
                thread::spawn(move || act(*actor, &world))
            })
            .collect();
        act(*first, &world);
        for thread in threads {
            thread.join().unwrap();
        }

        world.lock().unwrap().check_end();
    });
}

const ALL: &[Actor] = &[
    Actor::VfOpener,
    Actor::VfOpener,
    Actor::Setter,
    Actor::PfOpener,
];

#[test]
fn an_open_vf_always_has_the_current_token_beside_a_setter() {
    let actors = &[Actor::VfOpener, Actor::VfOpener, Actor::Setter];
    run(actors, None, Check::Generation);
}

#[test]
fn an_open_vf_always_has_the_current_token_beside_a_pf_opener() {
    let actors = &[Actor::VfOpener, Actor::Setter, Actor::PfOpener];
    run(actors, None, Check::Generation);
}

#[test]
fn an_open_vf_always_has_the_current_token_beside_all() {
    run(ALL, Some(3), Check::Generation);
}

#[test]
fn an_open_vf_always_has_the_current_token_beside_a_lenient_setter() {
    let actors = &[Actor::VfOpener, Actor::Setter, Actor::LenientSetter];
    run(actors, None, Check::Generation);
}

#[test]
fn an_admitted_vf_always_has_the_current_token() {
    let actors = &[Actor::OpenerWithoutToken, Actor::Admitter, Actor::Setter];
    run(actors, None, Check::Generation);
    let actors = &[Actor::OpenerWithoutToken, Actor::Admitter, Actor::PfOpener];
    run(actors, None, Check::Generation);
}

/// The model finds the race that would exist if an admission were a token.
#[test]
#[should_panic(expected = "a VF is open that is no longer admitted")]
fn without_the_look_at_the_admission_it_would_not() {
    let actors = &[Actor::OpenerWithoutToken, Actor::Admitter];
    run(actors, None, Check::Nothing);
}

/// The model finds the race that the generation prevents.
#[test]
#[should_panic(expected = "a VF is open with a replaced token")]
fn without_the_generation_it_would_not() {
    run(ALL, Some(3), Check::Nothing);
}

/// Runs all four actors one step at a time, in every order of their steps, and returns how many
/// orders there are.
fn run_in_every_order(tokens: [u8; 2], check: Check) -> usize {
    const LEFT: [usize; 4] = [VfOpener::STEPS, VfOpener::STEPS, 1, PfOpener::STEPS];

    fn run(order: &[usize], tokens: [u8; 2], check: Check) {
        let mut world = World::new();
        let mut openers = tokens.map(|token| VfOpener::new(Some(token)));
        let mut pf_opener = PfOpener::default();
        let mut done = [0; 4];
        for actor in order {
            match *actor {
                2 => set(&mut world, Rules::Strict, 2),
                3 => pf_opener.step(done[3], &mut world),
                opener => openers[opener].step(done[opener], &mut world, check),
            }
            done[*actor] += 1;
        }
        world.check_end();
    }

    fn extend(order: &mut Vec<usize>, left: [usize; 4], act: &mut impl FnMut(&[usize])) {
        if left == [0; 4] {
            return act(order);
        }
        for actor in 0..4 {
            let mut left = left;
            if left[actor] > 0 {
                left[actor] -= 1;
                order.push(actor);
                extend(order, left, act);
                order.pop();
            }
        }
    }

    let mut orders = 0;
    extend(&mut Vec::new(), LEFT, &mut |order| {
        orders += 1;
        run(order, tokens, check);
    });
    orders
}

#[test]
fn an_open_vf_always_has_the_current_token_in_every_order_of_all() {
    for first in 1..=3 {
        for second in 1..=3 {
            // 9! orders, but those of an opener's own steps are fixed.
            let orders = run_in_every_order([first, second], Check::Generation);
            assert_eq!(orders, 5040);
        }
    }
}

#[test]
#[should_panic(expected = "a VF is open with a replaced token")]
fn without_the_generation_it_would_not_in_some_order() {
    run_in_every_order([1, 1], Check::Nothing);
}
