// SPDX-License-Identifier: GPL-2.0-only

//! Every interleaving of openers and setters, on the real state machine behind a lock. loom runs
//! the model once for each of them.

use crate::state::{Generation, State};
use crate::vfio::Uuid;
use kernel::prelude::*;
use loom::{
    sync::{Arc, Mutex},
    thread,
};

fn uuid(number: u8) -> Uuid {
    // SAFETY: `Uuid` is a transparent wrapper of `[u8; 16]`.
    unsafe { std::mem::transmute([number; 16]) }
}

/// The state machine, and what the model knows beside it.
struct World {
    state: State,
    /// The token that is set.
    token: u8,
    /// What the openers of the VFs that are open have presented.
    known: Vec<u8>,
    /// How often a token was set while a VF was open.
    changes_under_a_claim: u32,
}

impl World {
    fn shared() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            state: State::new(uuid(1)),
            token: 1,
            known: Vec::new(),
            changes_under_a_claim: 0,
        }))
    }

    fn check(&self) {
        for known in &self.known {
            assert_eq!(*known, self.token, "a VF is open with a token of the past");
        }
        assert_eq!(
            self.changes_under_a_claim, 0,
            "the token of an open VF was changed"
        );
    }

    fn changed(&mut self, token: u8) {
        if !self.known.is_empty() && self.token != token {
            self.changes_under_a_claim += 1;
        }
        self.token = token;
    }

    /// The generation that is current, which no opener gets to know in this way.
    fn current(&self) -> Generation {
        self.state.match_vf(Some(&uuid(self.token))).unwrap()
    }
}

/// Whether an opener's claim is for the generation that it saw, as it has to be.
#[derive(Clone, Copy)]
enum Check {
    Generation,
    Nothing,
}

/// Opens a VF with a token and closes it again, in the steps in which the driver does.
fn open_vf(world: &Mutex<World>, token: u8, check: Check) {
    let Ok(seen) = world.lock().unwrap().state.match_vf(Some(&uuid(token))) else {
        return;
    };
    {
        let mut world = world.lock().unwrap();
        let seen = match check {
            Check::Generation => seen,
            Check::Nothing => world.current(),
        };
        match world.state.claim(seen) {
            Ok(()) => world.known.push(token),
            Err(e) => assert_eq!(e, EACCES),
        }
        world.check();
        if world.known.is_empty() {
            return;
        }
    }
    let mut world = world.lock().unwrap();
    world.check();
    if let Some(position) = world.known.iter().position(|known| *known == token) {
        world.known.remove(position);
        world.state.release();
    }
}

fn set(world: &Mutex<World>, token: u8) {
    let mut world = world.lock().unwrap();
    match world.state.set(true, &uuid(token), |_| Ok(())) {
        Ok(()) => world.changed(token),
        Err(e) => assert_eq!(e, EBUSY),
    }
    world.check();
}

fn open_pf(world: &Mutex<World>, token: u8) {
    let mut world = world.lock().unwrap();
    match world.state.open_pf(Some(&uuid(token)), |_| Ok(())) {
        Ok(()) => world.changed(token),
        Err(e) => assert_eq!(e, EACCES),
    }
    world.check();
}

/// What a thread does.
#[derive(Clone, Copy)]
enum Actor {
    VfOpener,
    Setter,
    PfOpener,
}

/// Runs the actors at the same time, in every way in which their steps can interleave; with a bound,
/// in every way with that many preemptions.
fn run(actors: &'static [Actor], bound: Option<usize>, check: Check) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.check(move || {
        let world = World::shared();
        let act = move |actor, world: &Mutex<World>| match actor {
            Actor::VfOpener => open_vf(world, 1, check),
            Actor::Setter => set(world, 2),
            Actor::PfOpener => open_pf(world, 3),
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

        // Nothing is left open, so the token can be set again.
        let mut world = world.lock().unwrap();
        assert!(world.known.is_empty());
        assert_eq!(world.state.set(true, &uuid(4), |_| Ok(())), Ok(()));
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

/// The model finds the race that the generation is there for.
#[test]
#[should_panic(expected = "a VF is open with a token of the past")]
fn without_the_generation_it_would_not() {
    run(ALL, Some(3), Check::Nothing);
}
