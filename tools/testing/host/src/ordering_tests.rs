// SPDX-License-Identifier: GPL-2.0-only

//! Accesses of the driver without a lock of their own, on a machine that may reorder them.
//!
//! These are models: the same accesses as in the driver, in the same places relative to the locks.
//! loom tries every order of the threads, and for a relaxed load every value that it may return. It
//! does not let a load return a value that is stored later, so for a load before a store in one
//! thread, the comments of the driver say why the order is correct.

use crate::state::{Generation, State};
use crate::{interleaving_tests::uuid, state_with};
use kernel::prelude::*;
use loom::{
    model,
    sync::{
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, Release},
        },
        Arc, Mutex, RwLock,
    },
    thread,
};

/// Whether an access is on the same side of the lock as in the driver.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Right,
    Wrong,
}

/// `seen` and `admitted` of a VF, and the state of its PF.
struct Vf {
    state: Mutex<State>,
    seen: AtomicU64,
    admitted: AtomicU64,
    /// Whether the admission has been withdrawn; protected by the lock.
    withdrawn: AtomicBool,
}

impl Vf {
    fn admitted(&self) -> Generation {
        Generation::from_raw(self.admitted.load(Relaxed))
    }

    fn match_token(&self, token: Option<u8>) -> Result {
        let state = self.state.lock().unwrap();
        let seen = state.match_vf(token.map(uuid).as_ref(), self.admitted())?;
        self.seen.store(seen.to_raw(), Relaxed);
        Ok(())
    }

    fn claim(&self, side: Side) -> Result {
        let early = (side == Side::Wrong).then(|| self.admitted());
        let mut state = self.state.lock().unwrap();
        let seen = Generation::from_raw(self.seen.load(Relaxed));
        state.claim(seen, early.unwrap_or_else(|| self.admitted()))?;
        assert!(
            !self.withdrawn.load(Relaxed),
            "a VF is open that is no longer admitted"
        );
        Ok(())
    }
}

/// An administrator admits the VF and withdraws that, while a program opens it without a token.
fn withdraw_while_opening(side: Side) {
    model(move || {
        let vf = Arc::new(Vf {
            state: Mutex::new(state_with(uuid(1))),
            seen: AtomicU64::new(Generation::NONE.to_raw()),
            admitted: AtomicU64::new(Generation::NONE.to_raw()),
            withdrawn: AtomicBool::new(false),
        });
        let administrator = thread::spawn({
            let vf = vf.clone();
            move || {
                let state = vf.state.lock().unwrap();
                let admitted = state.admit(&uuid(1)).unwrap();
                vf.admitted.store(admitted.to_raw(), Relaxed);
                drop(state);

                let _state = vf.state.lock().unwrap();
                vf.admitted.store(Generation::NONE.to_raw(), Relaxed);
                vf.withdrawn.store(true, Relaxed);
            }
        });
        let _ = vf.match_token(None).and_then(|()| vf.claim(side));
        administrator.join().unwrap();
    });
}

#[test]
fn a_withdrawn_admission_lets_nobody_in() {
    withdraw_while_opening(Side::Right);
}

#[test]
#[should_panic(expected = "a VF is open that is no longer admitted")]
fn an_admission_read_before_the_lock_would() {
    withdraw_while_opening(Side::Wrong);
}

/// A program reads the number of open VFs, to wait for a change, while a VF is opened. Only one VF,
/// since loom lets a store of another thread come between the read and the write of a swap, which
/// no machine does.
fn count_while_opening(side: Side) {
    model(move || {
        let open = Arc::new(Mutex::new(0));
        let count_seen = Arc::new(AtomicBool::new(false));
        let opener = thread::spawn({
            let (open, count_seen) = (open.clone(), count_seen.clone());
            move || {
                *open.lock().unwrap() += 1;
                count_seen.swap(false, Relaxed)
            }
        });

        if side == Side::Right {
            count_seen.store(true, Release);
        }
        let number = *open.lock().unwrap();
        if side == Side::Wrong {
            count_seen.store(true, Release);
        }
        let is_woken = opener.join().unwrap();
        assert!(
            is_woken || number == *open.lock().unwrap(),
            "a watcher of the number is not woken"
        );
    });
}

#[test]
fn who_waits_for_another_number_of_open_vfs_is_woken() {
    count_while_opening(Side::Right);
}

#[test]
#[should_panic(expected = "a watcher of the number is not woken")]
fn noted_after_the_number_was_read_he_would_not() {
    count_while_opening(Side::Wrong);
}

/// A device appears and is given to the driver, while the module is removed and removes its
/// overrides. The chain of notifiers is protected by a lock, which its callers share.
fn unload_while_a_device_comes(side: Side) {
    model(move || {
        let registered = Arc::new(RwLock::new(true));
        let made = Arc::new(AtomicBool::new(false));
        let is_given = Arc::new(Mutex::new(false));
        let device = thread::spawn({
            let (registered, made, is_given) = (registered.clone(), made.clone(), is_given.clone());
            move || {
                let registered = registered.read().unwrap();
                if *registered {
                    *is_given.lock().unwrap() = true;
                    made.store(true, Relaxed);
                }
            }
        });

        let early = made.load(Relaxed);
        *registered.write().unwrap() = false;
        let made = if side == Side::Wrong {
            early
        } else {
            made.load(Relaxed)
        };
        if made {
            *is_given.lock().unwrap() = false;
        }
        device.join().unwrap();
        assert!(
            !*is_given.lock().unwrap(),
            "an override is left that is never removed"
        );
    });
}

#[test]
fn an_override_is_taken_back_when_the_module_goes() {
    unload_while_a_device_comes(Side::Right);
}

#[test]
#[should_panic(expected = "an override is left that is never removed")]
fn looked_at_while_devices_may_come_it_would_not() {
    unload_while_a_device_comes(Side::Wrong);
}
