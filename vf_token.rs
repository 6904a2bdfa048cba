// SPDX-License-Identifier: GPL-2.0-only

//! The VF token: a UUID that the PF user sets and that a program presents to open a VF.
//!
//! `state` makes the decisions; this file adds the lock, PFs and VFs, and the core.
//!
//! The core keeps its own token for every PF, and compares it when a VF under another VFIO driver
//! is opened. Every change is offered to the core first: it takes the new value, or reports that
//! such a VF is open. It does not report a VF that is just being opened, so foreign VFs are held
//! meanwhile.
//!
//! UAPI: `VFIO_DEVICE_FEATURE_PCI_VF_TOKEN` in
//! [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

mod state;
mod sysfs;

pub(crate) use self::state::Rules;
pub(crate) use self::sysfs::FOLDER;

use self::state::{
    Generation,
    Opener,
    PfUse,
    State, //
};
use crate::vfio::module::params;
use crate::vfio::{
    Closing,
    Device,
    Enabled,
    ForeignVfs,
    Function,
    Locked,
    Opened,
    Path,
    SriovPf,
    Unregistered,
    Uuid, //
};
use crate::VfioPciRust;
use kernel::{
    current,
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

/// The role of a device for VF tokens.
pub(crate) enum Role {
    /// A PF, which has the token.
    Pf(Arc<Token>),
    /// A VF.
    Vf(Vf),
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
            Function::Virtual => Self::Vf(Vf::new()),
            Function::Plain => Self::Plain,
        })
    }
}

/// What the driver keeps for a VF.
// Both are accessed with the lock of the PF's token held, and the PF of a VF never changes. The
// lock orders the accesses, so relaxed ones suffice; the fields are atomic because the lock is the
// PF's.
pub(crate) struct Vf {
    /// The [`Generation`] of the last token that matched.
    seen: Atomic<u64>,
    /// The [`Generation`] of the token with which the administrator admitted the VF.
    admitted: Atomic<u64>,
}

impl Vf {
    pub(crate) fn new() -> Self {
        Self {
            seen: Atomic::new(Generation::NONE.to_raw()),
            admitted: Atomic::new(Generation::NONE.to_raw()),
        }
    }

    fn seen(&self) -> Generation {
        Generation::from_raw(self.seen.load(Relaxed))
    }

    fn admitted(&self) -> Generation {
        Generation::from_raw(self.admitted.load(Relaxed))
    }
}

/// The token of a PF and its lock.
#[pin_data]
pub(crate) struct Token {
    #[pin]
    state: Mutex<State>,
    /// Whether the number of open VFs has been read since it last changed.
    count_seen: Atomic<bool>,
}

impl Token {
    /// A random token that nobody knows.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State::new(), "vf_token"),
            count_seen: Atomic::new(false),
        })
        .pin_chain(|token| {
            token.lock().start(Uuid::randomize);
            Ok(())
        })
    }

    /// Takes the lock.
    pub(crate) fn lock(&self) -> Guard<'_, State, MutexBackend> {
        self.state.lock()
    }

    /// Decides with [`State::match_vf`], under the lock, whether `vf` may be opened with `given`,
    /// and records the generation for [`Token::claim`].
    pub(crate) fn match_vf(&self, vf: &Vf, given: Option<&Uuid>) -> Result {
        let state = self.lock();
        let seen = state.match_vf(given, vf.admitted())?;
        vf.seen.store(seen.to_raw(), Relaxed);
        Ok(())
    }

    /// Admits `vf` if [`State::admit`] accepts the token `given`; `None` withdraws the admission.
    pub(crate) fn admit_vf(&self, vf: &Vf, given: Option<&Uuid>) -> Result {
        let state = self.lock();
        let admitted = given.map_or(Ok(Generation::NONE), |token| state.admit(token))?;
        vf.admitted.store(admitted.to_raw(), Relaxed);
        Ok(())
    }

    /// Makes a [`State::claim`], which is released when the returned value is dropped.
    pub(crate) fn claim(self: &Arc<Self>, vf: &Vf) -> Result<Claim> {
        self.lock().claim(vf.seen(), vf.admitted())?;
        Ok(Claim(self.clone()))
    }
}

/// A VF that its PF counts as open.
pub(crate) struct Claim(Arc<Token>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.lock().release();
    }
}

/// Whether the device has a token that can be set.
pub(crate) fn is_pf(dev: &VfioDevice) -> bool {
    of_pf(dev).is_some()
}

/// The token of `dev`, if it is a PF.
fn of_pf(dev: &VfioDevice) -> Option<&Arc<Token>> {
    match dev.data() {
        Role::Pf(token) => Some(token),
        Role::Vf(_) | Role::Plain => None,
    }
}

/// The PF of a VF and its token, if the PF is under this driver.
fn pf_of(vf: &VfioDevice) -> Option<(&VfioDevice, &Arc<Token>)> {
    match vf.sriov_pf() {
        SriovPf::Same(pf) => of_pf(pf).map(|token| (pf, token)),
        SriovPf::Other | SriovPf::None => None,
    }
}

/// Takes the lock of the token of `pf` to change the token. Before that it takes the locks of the
/// foreign VFs, so that none of them is being opened meanwhile.
///
/// # Errors
///
/// - `EBUSY` if a foreign VF is open.
/// - `EAGAIN` if one is just being opened, closed, reset, bound or unbound, created or removed.
/// - `ENOMEM` if there are foreign VFs and no memory to look at them.
fn lock_for_change<'a>(
    pf: &'a VfioDevice,
    token: &'a Token,
) -> Result<(Option<ForeignVfs<'a>>, Guard<'a, State, MutexBackend>)> {
    let state = token.lock();
    if state.owns_all_vfs() {
        return Ok((None, state));
    }
    let roster = state.roster();
    drop(state);
    let (vfs, state) = lock_beside_others(pf, token, roster)?;
    Ok((Some(vfs), state))
}

/// The part of [`lock_for_change`] for a PF with foreign VFs.
#[cold]
fn lock_beside_others<'a>(
    pf: &'a VfioDevice,
    token: &'a Token,
    roster: Option<u64>,
) -> Result<(ForeignVfs<'a>, Guard<'a, State, MutexBackend>)> {
    let roster = roster.ok_or(EAGAIN)?;
    // If a VF is open, fail before taking its locks, which would disturb its user.
    pf.core_match_token_uuid(None).map_err(|_| EBUSY)?;
    // The opening of a VF takes the lock of its device set before that of the token.
    let vfs = pf.hold_foreign_vfs()?;
    let state = token.lock();
    // VFs that were skipped because they were bound to this driver may have been unbound since.
    if state.roster() != Some(roster) {
        return Err(EAGAIN);
    }
    Ok((vfs, state))
}

const TRY_AGAIN: &str =
    "a VF that is not under this driver is just being opened, closed, bound or unbound; try again";

/// Sets the token of `pf`.
///
/// # Errors
///
/// - `ENODEV` if SR-IOV is not enabled on the PF, unless the parameter `lenient_token` is set.
/// - `EBUSY` if one of its VFs is open, under any driver; if that parameter is set, only for
///   another token.
/// - `ENOMEM` if there are foreign VFs and no memory to look at them.
/// - `ENOTTY` if the device is not a PF.
pub(crate) fn set(pf: &Device<VfioPciRust, Opened>, new: &Uuid) -> Result {
    let token = of_pf(pf).ok_or(ENOTTY)?;
    let rules = if params::lenient_token() {
        Rules::Lenient
    } else {
        Rules::Strict
    };
    // A SET that changes nothing need not take the locks of foreign VFs.
    if rules == Rules::Lenient && token.lock().has(new) {
        return Ok(());
    }
    lock_for_change(pf, token)
        .and_then(|(_vfs, mut state)| {
            state.set(rules, pf.sriov_active(), new, |t| {
                pf.core_match_token_uuid(t)
            })
        })
        .map_err(|e| not_set(pf, e))
}

/// Logs why the token was not set, and returns the error for the caller.
fn not_set(pf: &VfioDevice, error: Error) -> Error {
    let (why, error) = match error {
        ENODEV => (
            "there are no VFs; enable SR-IOV first (sriov_numvfs), or write Y to \
              /sys/module/vfio_pci_rust/parameters/lenient_token",
            ENODEV,
        ),
        EBUSY => ("a VF is open; close all VFs of this device first", EBUSY),
        EAGAIN => (TRY_AGAIN, EBUSY),
        _ => return error,
    };
    pf.notice("VF token not set: ", None, why);
    error
}

/// Called when a device has been registered: gives the token of a PF to the core, and counts a VF
/// at its PF.
pub(crate) fn registered(dev: &Device<VfioPciRust, Locked>) {
    if let Some(token) = of_pf(dev) {
        let state = token.lock();
        // There are no VFs before the PF is bound, so the core has no reason to refuse. If it did,
        // only VFs under other drivers would notice, until the PF user sets a token.
        let _ = dev.core_match_token_uuid(Some(state.token()));
    } else if let Some((_, token)) = pf_of(dev) {
        token.lock().add_own_vf();
    }
}

/// Called when a device is about to be unregistered: ends the life of the token of a PF.
pub(crate) fn unregistering(dev: &Device<VfioPciRust, Locked>) {
    let Some(token) = of_pf(dev) else { return };
    // Only VFs would still ask for the token. This waits until their users have closed them, which
    // the core would do later anyway.
    let _ = sriov_configure(dev, 0);
    let mut state = token.lock();
    state.retire();
    // The core frees its copy without overwriting it. It cannot refuse this one, as no VF is left.
    let mut fresh = Uuid::nil();
    fresh.randomize();
    let _ = dev.core_match_token_uuid(Some(&fresh));
}

/// Called when a device has been unregistered and nobody can have it open: the PF of a VF stops
/// counting it.
pub(crate) fn unregistered(dev: &Device<VfioPciRust, Unregistered>) {
    if let SriovPf::Same(pf) = dev.sriov_pf() {
        if let Some(token) = of_pf(pf) {
            token.lock().remove_own_vf();
        }
    }
}

/// Enables or disables VFs, see [`Device::sriov_configure`].
pub(crate) fn sriov_configure(pf: &Device<VfioPciRust, Locked>, num_vfs: c_int) -> Result<c_int> {
    let Some(token) = of_pf(pf) else {
        return pf.sriov_configure(num_vfs);
    };
    token.lock().set_vfs(None);
    let result = pf.sriov_configure(num_vfs);
    token.lock().set_vfs(u32::try_from(pf.num_vfs()).ok());
    result
}

/// Decides whether a program that presents `given` may open `dev`.
///
/// # Errors
///
/// - `EACCES` if the token is missing or wrong.
/// - `EINVAL` if a token is presented and none is needed.
/// - `ENODEV` if the device is being unbound.
pub(crate) fn match_token(dev: &VfioDevice, given: Option<&Uuid>, path: Path) -> Result {
    match dev.data() {
        Role::Pf(token) => match_pf(dev, token, given, path),
        Role::Vf(vf) => match_vf(dev, vf, given),
        Role::Plain if given.is_none() => Ok(()),
        Role::Plain => {
            dev.notice(
                "VF token given",
                None,
                " for a device that is neither PF nor VF; leave it out",
            );
            Err(EINVAL)
        }
    }
}

fn this_opener() -> Opener {
    Opener(current!().pid())
}

fn match_pf(pf: &VfioDevice, token: &Token, given: Option<&Uuid>, path: Path) -> Result {
    // By group no lock is held, and this may be out of date: then the answer is that of an earlier
    // moment. What it allows takes effect in `opened()`, with the lock of the device set held.
    let pf_use = match path {
        _ if !pf.is_open() => PfUse::Closed,
        Path::Group => PfUse::Again,
        Path::Cdev => PfUse::Taken,
    };
    let result = token.lock().match_pf(this_opener(), given, pf_use, |t| {
        pf.core_match_token_uuid(t)
    });
    match (result, pf_use) {
        (Err(EACCES), PfUse::Again) => pf.notice(
            problem(given.is_some()),
            Some(pf),
            " is open; open it again with its token, and set another one with \
             VFIO_DEVICE_FEATURE",
        ),
        (Err(EACCES), _) => pf.notice(
            problem(given.is_some()),
            Some(pf),
            " has open VFs; present the token they were opened with, as \"... vf_token=UUID\" or \
             in the PF's vf_token/admit, or close them",
        ),
        _ => (),
    }
    result
}

/// Lets a token that was presented for a PF take effect, now that the PF is enabled.
///
/// # Errors
///
/// - `EACCES` if a VF has been opened meanwhile, or is being opened.
/// - `ENODEV` if the device is being unbound.
/// - `ENOMEM` if there are foreign VFs and no memory to look at them.
pub(crate) fn opened(dev: &Enabled<'_, VfioPciRust>) -> Result {
    let Some(token) = of_pf(dev) else {
        return Ok(());
    };
    let opener = this_opener();
    // An opening that does not change the token need not take the locks of foreign VFs.
    let will_change = token.lock().will_change(opener);
    let locked = if will_change {
        lock_for_change(dev, token)
    } else {
        Ok((None, token.lock()))
    };
    let result = locked
        .and_then(|(_vfs, mut state)| state.open_pf(opener, |t| dev.core_match_token_uuid(t)));
    match result {
        Ok(()) => {
            if !dev.failure_will_be_known() {
                token.lock().end_opening();
            }
            Ok(())
        }
        Err(EAGAIN) => {
            dev.notice("VF token not taken: ", None, TRY_AGAIN);
            Err(EACCES)
        }
        Err(EBUSY | EACCES) => {
            dev.notice(
                "not opened: a VF of PF ",
                Some(dev),
                " was opened, or its token changed, meanwhile; present the current token",
            );
            Err(EACCES)
        }
        Err(e) => Err(e),
    }
}

/// Called when an opening has failed: forgets the token that was presented for a PF, and notifies
/// those who watch the number of open VFs, which included a VF that was about to be open.
pub(crate) fn not_opened(dev: &VfioDevice) {
    if let Some(token) = of_pf(dev) {
        token.lock().forget_opener();
    }
    open_vfs_changed(dev);
}

/// Notifies those who watch the number of open VFs that it has changed, if `dev` is a VF.
fn open_vfs_changed(dev: &VfioDevice) {
    if let Some((pf, token)) = pf_of(dev) {
        sysfs::open_vfs_changed(pf, token);
    }
}

/// Called when a device has been closed, or its opening has failed late. In the latter case it
/// restores the token that the opening of a PF has replaced.
pub(crate) fn closed(dev: &Device<VfioPciRust, Closing>) {
    open_vfs_changed(dev);
    let Some(token) = of_pf(dev) else { return };
    if dev.has_failed() {
        take_back(dev, token);
    }
    token.lock().end_opening();
}

#[cold]
fn take_back(pf: &VfioDevice, token: &Token) {
    let can_take_back = token.lock().can_take_back();
    if can_take_back {
        // That changes the token. If a foreign VF is just being opened, the new one stays.
        if let Ok((_vfs, mut state)) = lock_for_change(pf, token) {
            state.take_back(|t| pf.core_match_token_uuid(t));
        }
    }
}

fn match_vf(dev: &VfioDevice, vf: &Vf, given: Option<&Uuid>) -> Result {
    if let Some((pf, token)) = pf_of(dev) {
        let result = token.match_vf(vf, given);
        if matches!(result, Err(EACCES)) {
            ask_for_token(dev, pf, given.is_some());
        }
        return result;
    }
    match dev.sriov_pf() {
        SriovPf::None if given.is_some() => Err(no_token_needed(dev)),
        SriovPf::None => Ok(()),
        SriovPf::Same(_) | SriovPf::Other => dev.core_match_token_uuid(given),
    }
}

fn ask_for_token(vf: &VfioDevice, pf: &VfioDevice, given: bool) {
    vf.notice(
        problem(given),
        Some(pf),
        " is under VFIO; ask its user for the token (set with VFIO_DEVICE_FEATURE; DPDK: \
         --vfio-vf-token=UUID) and open the VF as \"... vf_token=UUID\", or write it to the VF's \
         vf_token/admit for programs that cannot",
    );
}

/// Logs that no token is needed, and returns the error for the caller.
fn no_token_needed(vf: &VfioDevice) -> Error {
    vf.notice(
        "VF token given",
        None,
        ", but the PF is not bound to a VFIO driver; leave it out",
    );
    EINVAL
}

fn problem(given: bool) -> &'static str {
    if given {
        "wrong VF token: PF "
    } else {
        "missing VF token: PF "
    }
}

/// Counts `dev` as open at its PF, if it is a VF whose PF is under this driver.
///
/// # Errors
///
/// `EACCES` if the token has changed since it was presented.
pub(crate) fn claim(dev: &VfioDevice) -> Result<Option<Claim>> {
    let (Role::Vf(vf), Some((pf, token))) = (dev.data(), pf_of(dev)) else {
        return Ok(None);
    };

    let result = token.claim(vf);
    match result {
        Ok(_) => open_vfs_changed(dev),
        Err(EACCES) => dev.notice(
            "VF token changed while the device was being opened: ask the user of PF ",
            Some(pf),
            " for the new one",
        ),
        Err(_) => (),
    }
    result.map(Some)
}
