// SPDX-License-Identifier: GPL-2.0-only

//! The VF token: a UUID that the user of a PF sets and that whoever opens one of its VFs presents.
//!
//! `state` decides; this file puts the lock around it and knows PFs, VFs and the core.
//!
//! The core keeps a token of its own for every PF, which VFs under other VFIO drivers ask. Every
//! change is offered to it first: it takes the new value, or says that such a VF is open.
//!
//! UAPI: `VFIO_DEVICE_FEATURE_PCI_VF_TOKEN` in
//! [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

mod state;

use self::state::{
    Generation,
    State, //
};
use crate::{
    vfio::{
        Device,
        Function,
        Locked,
        SriovPf,
        Uuid, //
    },
    VfioPciRust, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    }, //
};

type VfioDevice = Device<VfioPciRust>;

/// What a device has to do with VF tokens.
pub(crate) enum Role {
    /// A PF, which has the token.
    Pf(Arc<Token>),
    /// A VF, which remembers the [`Generation`] of the last token that matched.
    Vf(Atomic<u64>),
    /// Neither.
    Plain,
}

impl Role {
    /// The role of a device that is being bound.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(function: Function) -> Result<Self> {
        Ok(match function {
            Function::Physical => Self::Pf(Arc::pin_init(Token::new(), GFP_KERNEL)?),
            Function::Virtual => Self::Vf(Atomic::new(Generation::NONE.to_raw())),
            Function::Plain => Self::Plain,
        })
    }
}

/// The token of a PF behind its lock.
#[pin_data]
pub(crate) struct Token {
    #[pin]
    state: Mutex<State>,
}

impl Token {
    /// A random token that nobody knows.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State::new(), "vf_token"),
        })
        .pin_chain(|token| {
            token.lock().start(Uuid::randomize);
            Ok(())
        })
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, State, MutexBackend> {
        self.state.lock()
    }

    /// [`State::claim`] under the lock, until the returned value is dropped.
    #[inline]
    pub(crate) fn claim(self: &Arc<Self>, seen: Generation) -> Result<Claim> {
        self.lock().claim(seen)?;
        Ok(Claim(self.clone()))
    }
}

/// An open VF, as its PF counts it.
pub(crate) struct Claim(Arc<Token>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.lock().release();
    }
}

/// Whether the device has a token that can be set.
#[inline]
pub(crate) fn is_pf(dev: &VfioDevice) -> bool {
    of_pf(dev).is_some()
}

/// The token of a PF, if the device is one.
#[inline]
fn of_pf(dev: &VfioDevice) -> Option<&Arc<Token>> {
    match dev.data() {
        Role::Pf(token) => Some(token),
        Role::Vf(_) | Role::Plain => None,
    }
}

/// Sets the token of `pf`.
///
/// # Errors
///
/// - `ENODEV` if SR-IOV is not enabled on the PF.
/// - `EBUSY` if one of its VFs is open, under whatever driver.
/// - `ENOTTY` if the device is no PF.
#[inline(always)]
pub(crate) fn set(pf: &VfioDevice, new: &Uuid) -> Result {
    let mut state = of_pf(pf).ok_or(ENOTTY)?.lock();
    match state.set(pf.sriov_active(), new, |t| pf.core_match_token_uuid(t)) {
        Ok(()) => Ok(()),
        Err(e) => Err(not_set(pf, state, e)),
    }
}

#[cold]
#[inline(never)]
fn not_set(pf: &VfioDevice, state: Guard<'_, State, MutexBackend>, error: Error) -> Error {
    drop(state);
    let why = if error == ENODEV {
        c"there are no VFs; enable SR-IOV first (sriov_numvfs)"
    } else {
        c"a VF is open; close all VFs of this device first"
    };
    pf.notice(c"VF token not set: ", None, why);
    error
}

/// Makes the core keep the token of a PF that has just been registered.
#[inline]
pub(crate) fn publish(dev: &VfioDevice) {
    if let Some(token) = of_pf(dev) {
        let state = token.lock();
        // There are no VFs before the PF is bound, so the core has no reason to refuse. If it did,
        // only VFs under other drivers would notice, until the PF's user sets a token.
        let _ = dev.core_match_token_uuid(Some(state.token()));
    }
}

/// Takes the token out of the world before its PF is unregistered.
///
/// SR-IOV has to be off by then: a VF is the only one who would still ask for it.
pub(crate) fn retire(pf: &Locked<'_, VfioPciRust>) {
    if let Some(token) = of_pf(pf) {
        let mut state = token.lock();
        state.retire();
        // The core frees its copy without overwriting it. No VF is left that it could refuse for.
        let mut fresh = Uuid::nil();
        fresh.randomize();
        let _ = pf.core_match_token_uuid(Some(&fresh));
    }
}

/// Decides whether `dev` may be opened by somebody who presents `given`.
///
/// # Errors
///
/// - `EACCES` if the token is missing or wrong.
/// - `EINVAL` if a token is given and nothing could use it.
/// - `ENODEV` if the device is being unbound.
pub(crate) fn match_token(dev: &VfioDevice, given: Option<&Uuid>) -> Result {
    match dev.data() {
        Role::Pf(token) => match_pf(dev, token, given),
        Role::Vf(seen) => match_vf(dev, seen, given),
        Role::Plain if given.is_none() => Ok(()),
        Role::Plain => {
            dev.notice(
                c"VF token given",
                None,
                c" for a device that is neither PF nor VF; leave it out",
            );
            Err(EINVAL)
        }
    }
}

fn match_pf(pf: &VfioDevice, token: &Token, given: Option<&Uuid>) -> Result {
    let result = token
        .lock()
        .open_pf(given, pf.is_open_by_cdev(), |t| pf.core_match_token_uuid(t));

    if result == Err(EACCES) {
        pf.notice(
            problem(given),
            Some(pf),
            c" has open VFs; present the token they were opened with, as \"... vf_token=UUID\", or \
             close them",
        );
    }
    result
}

fn match_vf(vf: &VfioDevice, seen: &Atomic<u64>, given: Option<&Uuid>) -> Result {
    match vf.sriov_pf() {
        SriovPf::Same(pf) => {
            let Some(token) = of_pf(pf) else {
                return Err(EINVAL);
            };
            let result = token.lock().match_vf(given);
            match result {
                Ok(generation) => seen.store(generation.to_raw(), Relaxed),
                Err(_) => vf.notice(
                    problem(given),
                    Some(pf),
                    c" is under VFIO; ask its user for the token (set with VFIO_DEVICE_FEATURE; \
                     DPDK: --vfio-vf-token=UUID) and open the VF as \"... vf_token=UUID\"",
                ),
            }
            result.map(|_| ())
        }
        SriovPf::Other => vf.core_match_token_uuid(given),
        SriovPf::None if given.is_none() => Ok(()),
        SriovPf::None => {
            vf.notice(
                c"VF token given",
                None,
                c", but the PF is not bound to a VFIO driver; leave it out",
            );
            Err(EINVAL)
        }
    }
}

fn problem(given: Option<&Uuid>) -> &'static CStr {
    match given {
        None => c"Missing VF token: PF ",
        Some(_) => c"Wrong VF token: PF ",
    }
}

/// Counts `dev` as open at its PF, if it is a VF whose PF has a token of ours.
///
/// # Errors
///
/// `EACCES` if the token has changed since it was presented.
#[inline]
pub(crate) fn claim(dev: &VfioDevice) -> Result<Option<Claim>> {
    let (Role::Vf(seen), SriovPf::Same(pf)) = (dev.data(), dev.sriov_pf()) else {
        return Ok(None);
    };
    let Some(token) = of_pf(pf) else {
        return Ok(None);
    };

    let result = token.claim(Generation::from_raw(seen.load(Relaxed)));
    if matches!(result, Err(EACCES)) {
        dev.notice(
            c"VF token changed while the device was being opened: ask the user of PF ",
            Some(pf),
            c" for the new one",
        );
    }
    result.map(Some)
}
