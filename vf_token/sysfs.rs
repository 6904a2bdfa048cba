// SPDX-License-Identifier: GPL-2.0-only

//! The directory `vf_token` of PFs and VFs in sysfs.
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
use crate::vfio::{
    eopnotsupp,
    File,
    Folder,
    Shown,
    SriovPf,
    Uuid, //
};
use crate::VfioPciRust;
use kernel::{
    prelude::*,
    sync::atomic::{
        Relaxed,
        Release, //
    }, //
};

const NAME: &CStr = c"vf_token";

const OPEN_VFS: &CStr = c"open_vfs";

/// The directory, with the files that a device can have.
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

/// Wakes those who wait for a change of the number of open VFs of `pf`.
pub(super) fn open_vfs_changed(pf: &VfioDevice, token: &Token) {
    // poll(2) waits only if the file has been read before. As long as nobody has read it, there is
    // nobody to wake; trying would cost more than everything else that an opening does here.
    if token.count_seen.xchg(false, Relaxed) {
        pf.file_changed(NAME, OPEN_VFS);
    }
}

fn has_admit(dev: &VfioDevice) -> bool {
    !matches!(dev.data(), Role::Plain)
}

/// Shows whether the device opens without a token.
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

/// Admits the device if the text is its token, and withdraws the admission if it is `none`.
fn store_admit(dev: &VfioDevice, text: &mut [u8]) -> Result {
    if text == b"none" {
        return admit(dev, None);
    }
    let mut token = Uuid::nil();
    token.parse_and_wipe(text)?;
    admit(dev, Some(&token))
}

/// Admits `dev` until the token of the PF changes, if `given` is that token; `None` withdraws the
/// admission.
///
/// # Errors
///
/// - `EACCES` if the token is wrong.
/// - `EINVAL` if the PF is under no VFIO driver, so that no token is needed.
/// - `EOPNOTSUPP` if it is under another one, which checks the token itself.
/// - `ENODEV` if the PF is being unbound.
fn admit(dev: &VfioDevice, given: Option<&Uuid>) -> Result {
    let vf = match dev.data() {
        Role::Pf(token) => {
            let result = token.lock().admit_pf(given);
            if matches!(result, Err(EACCES)) {
                dev.notice(
                    "wrong VF token: PF ",
                    Some(dev),
                    " has another one; ask its user for it",
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
                    "not admitted: the PF is under another driver, which checks the token itself; \
                      bind both to the same driver",
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

/// Shows how often the token of a PF has changed.
fn show_generation(pf: &VfioDevice) -> Result<Shown> {
    let token = of_pf(pf).ok_or(ENODEV)?;
    Ok(Shown::Number(token.lock().changes()))
}

/// Shows how many VFs of a PF are open.
fn show_open_vfs(pf: &VfioDevice) -> Result<Shown> {
    let token = of_pf(pf).ok_or(ENODEV)?;
    // Before the lock, so that a change after the number has been read is notified. And after the
    // load by kernfs of the number of events so far: an event that this store causes must not be
    // counted there already, or poll(2) would miss it.
    token.count_seen.store(true, Release);
    let state = token.lock();
    let own = state.claims();
    let owns_all = state.owns_all_vfs();
    drop(state);
    let foreign = if owns_all { 0 } else { pf.open_foreign_vfs() };
    Ok(Shown::Number(u64::from(own).saturating_add(foreign)))
}

/// Shows whether the token of a PF has been set.
fn show_state(pf: &VfioDevice) -> Result<Shown> {
    let is_set = of_pf(pf).ok_or(ENODEV)?.lock().is_set();
    Ok(Shown::Word(if is_set { c"set" } else { c"random" }))
}
