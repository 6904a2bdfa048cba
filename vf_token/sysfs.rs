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
        Attribute,
        File,
        Folder,
        Shown,
        SriovPf,
        Uuid, //
    },
    VfioPciRust, //
};
use kernel::prelude::*;

const NAME: &CStr = c"vf_token";

/// The folder, with the files that a device has.
pub(crate) const FOLDER: &Folder<VfioPciRust> = &Folder::new(
    NAME,
    &[
        Some(File::of::<Admit>()),
        Some(File::of::<Changes>()),
        Some(File::of::<OpenVfs>()),
        Some(File::of::<TokenState>()),
        None,
    ],
);

/// Wakes who waits for another number of open VFs of `pf`.
#[inline]
pub(super) fn open_vfs_changed(pf: &VfioDevice) {
    pf.attribute_changed::<OpenVfs>(NAME);
}

/// Whether openings without a token are let in, and the way to have them let in.
struct Admit;

impl Attribute<VfioPciRust> for Admit {
    const NAME: &'static CStr = c"admit";
    const MODE: u16 = 0o600;

    #[inline]
    fn is_visible(dev: &VfioDevice) -> bool {
        !matches!(dev.data(), Role::Plain)
    }

    #[inline]
    fn show(dev: &VfioDevice) -> Result<Shown> {
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

    #[inline]
    fn store(dev: &VfioDevice, text: &mut [u8]) -> Result {
        if text == b"none" {
            return admit(dev, None);
        }
        let mut token = Uuid::nil();
        token.parse_and_wipe(text)?;
        admit(dev, Some(&token))
    }
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
                    c"Wrong VF token: PF ",
                    Some(dev),
                    c" has another one, which its user has set",
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
                    c"not admitted: the PF is under another driver than this VF, which asks for \
                      the token itself; bind both to the same one",
                    None,
                    c"",
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

/// A file of PFs alone, which nobody can write.
trait PfFile {
    const NAME: &'static CStr;

    fn show(pf: &VfioDevice, token: &Token) -> Shown;
}

impl<F: PfFile> Attribute<VfioPciRust> for F {
    const NAME: &'static CStr = F::NAME;
    const MODE: u16 = 0o444;

    #[inline]
    fn is_visible(dev: &VfioDevice) -> bool {
        is_pf(dev)
    }

    #[inline]
    fn show(dev: &VfioDevice) -> Result<Shown> {
        Ok(F::show(dev, of_pf(dev).ok_or(ENODEV)?))
    }
}

/// How often the token of a PF has changed.
struct Changes;

impl PfFile for Changes {
    const NAME: &'static CStr = c"generation";

    #[inline]
    fn show(_pf: &VfioDevice, token: &Token) -> Shown {
        Shown::Number(token.lock().changes())
    }
}

/// How many VFs of a PF are open.
struct OpenVfs;

impl PfFile for OpenVfs {
    const NAME: &'static CStr = c"open_vfs";

    #[inline]
    fn show(pf: &VfioDevice, token: &Token) -> Shown {
        let state = token.lock();
        let own = state.claims();
        let owns_all = state.owns_all_vfs();
        drop(state);
        let foreign = if owns_all { 0 } else { pf.open_foreign_vfs() };
        Shown::Number(u64::from(own).saturating_add(foreign))
    }
}

/// Whether the token of a PF has been set.
struct TokenState;

impl PfFile for TokenState {
    const NAME: &'static CStr = c"state";

    #[inline]
    fn show(_pf: &VfioDevice, token: &Token) -> Shown {
        let is_set = token.lock().is_set();
        Shown::Word(if is_set { c"set" } else { c"random" })
    }
}
