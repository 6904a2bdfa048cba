// SPDX-License-Identifier: GPL-2.0-only

//! The folder `vf_token` of PFs and VFs in sysfs.
//!
//! ABI: `Documentation/ABI/testing/sysfs-driver-vfio-pci-rust`

use super::{
    ask_for_token,
    is_pf,
    no_token_needed,
    of_pf,
    pf_of,
    Role,
    Token,
    VfioDevice, //
};
use crate::{
    vfio::{
        eopnotsupp,
        File,
        Folder,
        Shown,
        SriovPf,
        Uuid, //
    },
    VfioPciRust, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

const NAME: &CStr = c"vf_token";

const OPEN_VFS: &CStr = c"open_vfs";

/// The folder, with the files that a device has.
pub(crate) const FOLDER: &Folder<VfioPciRust> = &Folder::new(
    NAME,
    &[
        Some(&File::new(c"admit", has_admit, show_admit).writable(store_admit)),
        Some(&File::new(c"generation", is_pf, show_generation)),
        Some(&File::new(OPEN_VFS, is_pf, show_open_vfs)),
        Some(&File::new(c"state", is_pf, show_state)),
        None,
    ],
);

/// Wakes who waits for another number of open VFs of `pf`, which has just changed.
pub(super) fn open_vfs_changed(pf: &VfioDevice, token: &Token) {
    // Who waits with poll(2) has read the file before, or does not wait. So as long as nobody has,
    // there is nobody to wake, and that would cost more than the rest of an opening here.
    if token.count_seen.xchg(false, Relaxed) {
        pf.file_changed(NAME, OPEN_VFS);
    }
}

fn has_admit(dev: &VfioDevice) -> bool {
    !matches!(dev.data(), Role::Plain)
}

/// Whether openings without a token are let in.
fn show_admit(dev: &VfioDevice) -> Result<Shown> {
    let lets_in = match dev.data() {
        Role::Pf(token) => {
            let state = token.lock();
            state.check_pf_without_token(|t| dev.core_match_token_uuid(t))
        }
        Role::Vf(vf) => match (pf_of(dev), dev.sriov_pf()) {
            (Some((_, token)), _) => token.lock().match_vf(None, vf.admitted()).map(|_| ()),
            (None, SriovPf::None) => Ok(()),
            (None, _) => Err(EACCES),
        },
        Role::Plain => return Err(ENODEV),
    };
    Ok(Shown::Number(lets_in.is_ok().into()))
}

/// Has openings without a token let in, for a token; or not any more, for the word `none`.
fn store_admit(dev: &VfioDevice, text: &mut [u8]) -> Result {
    if text == b"none" {
        return admit(dev, None);
    }
    let mut token = Uuid::nil();
    token.parse_and_wipe(text)?;
    admit(dev, Some(&token))
}

/// Lets openings of `dev` without a token in from now on, if `given` is the token of the PF and as
/// long as it stays so; or, with nothing, not any more.
///
/// # Errors
///
/// - `EACCES` if the token is wrong.
/// - `EINVAL` if the PF is under no driver of VFIO, so that no token is needed.
/// - `EOPNOTSUPP` if it is under another one, which asks for its token itself.
/// - `ENODEV` if the PF is being unbound.
fn admit(dev: &VfioDevice, given: Option<&Uuid>) -> Result {
    let vf = match dev.data() {
        Role::Pf(token) => {
            let result = token.lock().admit_pf(given);
            if matches!(result, Err(EACCES)) {
                dev.notice(
                    "Wrong VF token: PF ",
                    Some(dev),
                    " has another one, which its user has set",
                );
            }
            return result;
        }
        Role::Vf(vf) => vf,
        Role::Plain => return Err(ENODEV),
    };
    let Some((pf, token)) = pf_of(dev) else {
        return Err(match dev.sriov_pf() {
            SriovPf::None => no_token_needed(dev),
            _ => {
                dev.notice(
                    "not admitted: the PF is under another driver than this VF, which asks for \
                      the token itself; bind both to the same one",
                    None,
                    "",
                );
                eopnotsupp()
            }
        });
    };
    let result = token.admit_vf(vf, given);
    if matches!(result, Err(EACCES)) {
        ask_for_token(dev, pf, true);
    }
    result
}

/// How often the token of a PF has changed.
fn show_generation(pf: &VfioDevice) -> Result<Shown> {
    let token = of_pf(pf).ok_or(ENODEV)?;
    Ok(Shown::Number(token.lock().changes()))
}

/// How many VFs of a PF are open.
fn show_open_vfs(pf: &VfioDevice) -> Result<Shown> {
    let token = of_pf(pf).ok_or(ENODEV)?;
    // Before the lock: a number that changes after it has been read is then told of.
    token.count_seen.store(true, Relaxed);
    let state = token.lock();
    let own = state.claims();
    let owns_all = state.owns_all_vfs();
    drop(state);
    let foreign = if owns_all { 0 } else { pf.open_foreign_vfs() };
    Ok(Shown::Number(u64::from(own).saturating_add(foreign)))
}

/// Whether the token of a PF has been set.
fn show_state(pf: &VfioDevice) -> Result<Shown> {
    let is_set = of_pf(pf).ok_or(ENODEV)?.lock().is_set();
    Ok(Shown::Word(if is_set { c"set" } else { c"random" }))
}
