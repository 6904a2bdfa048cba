// SPDX-License-Identifier: GPL-2.0-only

//! Tests of feature tables, with invented features of a toy device and real user memory; and of the
//! VF token behind such a table.

use crate::vf_token::{
    Rules,
    Token,
    Vf, //
};
use crate::vfio::{
    feature_table,
    kunit::{
        bytes_after_drop,
        UserPage, //
    },
    FeatureArg,
    IoctlReturn,
    Uuid, //
};
use core::cell::Cell;
use kernel::{
    prelude::*,
    sync::Arc,
    transmute::FromBytes,
    uaccess::UserPtr, //
};

const LAMP: u32 = 100;
const CLOCK: u32 = 101;
const HORN: u32 = 102;
const MAGIC: u32 = 103;
const NOTHING: u32 = 104;

const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

/// The color of the lamp, whose size suits no alignment.
type Color = [u8; 5];

/// A device whose features have effects that a test can check.
struct Toy {
    color: Cell<Color>,
    tunes: Cell<u32>,
    has_horn: bool,
    core_flags: Cell<u32>,
    core_answer: Cell<IoctlReturn>,
}

impl Toy {
    fn new() -> Self {
        Self {
            color: Cell::new(*b"white"),
            tunes: Cell::new(0),
            has_horn: true,
            core_flags: Cell::new(0),
            core_answer: Cell::new(Err(EBUSY).into()),
        }
    }

    fn core_ioctl_feature(&self, flags: u32, _arg: FeatureArg) -> IoctlReturn {
        self.core_flags.set(flags);
        self.core_answer.get()
    }
}

fn get_color(toy: &Toy) -> Result<Color> {
    Ok(toy.color.get())
}

fn set_color(toy: &Toy, color: &Color) -> Result {
    if color == b"black" {
        return Err(EPERM);
    }
    toy.color.set(*color);
    Ok(())
}

fn get_time(_toy: &Toy) -> Result<u64> {
    Ok(0x0102_0304_0506_0708)
}

fn play_tune(toy: &Toy, tune: &u32) -> Result {
    toy.tunes.set(toy.tunes.get() + *tune);
    Ok(())
}

fn has_horn(toy: &Toy) -> bool {
    toy.has_horn
}

feature_table! {
    /// Answers for the toy.
    fn answer(toy: &Toy);

    LAMP => get_set: Color = get_color, set_color;
    CLOCK => get: u64 = get_time;
    HORN => set: u32 = play_tune where has_horn;
}

/// A PF with the driver's own token, under conditions that a test chooses.
struct Pf {
    token: Arc<Token>,
    rules: Cell<Rules>,
    sriov_enabled: Cell<bool>,
    vf_open_elsewhere: Cell<bool>,
}

const OLD: [u8; 16] = *b"the old VF token";
const NEW: [u8; 16] = *b"the new VF token";

impl Pf {
    /// With SR-IOV enabled, no VF open, and the old token.
    fn new() -> Result<Self> {
        let pf = Self {
            token: Arc::pin_init(Token::new(), GFP_KERNEL)?,
            rules: Cell::new(Rules::Strict),
            sriov_enabled: Cell::new(true),
            vf_open_elsewhere: Cell::new(false),
        };
        set_token(&pf, Uuid::from_bytes(&OLD).ok_or(EINVAL)?)?;
        Ok(pf)
    }

    fn has(&self, token: &[u8; 16]) -> bool {
        self.token
            .match_vf(&Vf::new(), Uuid::from_bytes(token))
            .is_ok()
    }
}

fn set_token(pf: &Pf, new: &Uuid) -> Result {
    let mut state = pf.token.lock();
    state.set(pf.rules.get(), pf.sriov_enabled.get(), new, |_| {
        if pf.vf_open_elsewhere.get() {
            Err(EACCES)
        } else {
            Ok(())
        }
    })
}

feature_table! {
    /// Answers for the PF.
    fn answer_pf(pf: &Pf);

    LAMP => set: Uuid = set_token;
}

impl Pf {
    fn core_ioctl_feature(&self, _flags: u32, _arg: FeatureArg) -> IoctlReturn {
        Err(ENOTTY).into()
    }
}

/// A call without data.
fn ask(toy: &Toy, flags: u32, size: usize) -> IoctlReturn {
    answer(toy, flags, FeatureArg::new(UserPtr::from_addr(0), size))
}

#[kunit_tests(vfio_pci_rust_feature)]
mod calls {
    use super::*;

    #[test]
    fn flags_decide_first() {
        let toy = Toy::new();
        for bit in 19..32 {
            assert!(ask(&toy, 1 << bit | PROBE | CLOCK, 0) == Err(EINVAL));
        }
        assert!(ask(&toy, GET | SET | CLOCK, 8) == Err(EINVAL));
    }

    #[test]
    fn a_device_may_lack_a_feature() {
        let mut toy = Toy::new();
        assert!(ask(&toy, PROBE | SET | HORN, 0) == Ok(()));
        toy.has_horn = false;
        toy.core_answer.set(Err(ENOTTY).into());
        assert!(ask(&toy, PROBE | SET | HORN, 0) == Err(ENOTTY));
        assert!(ask(&toy, GET | HORN, 0) == Err(ENOTTY));
        assert!(ask(&toy, SET | HORN, 4) == Err(ENOTTY));
    }

    #[test]
    fn then_the_operation() {
        let toy = Toy::new();
        assert!(ask(&toy, SET | CLOCK, 0) == Err(EINVAL));
        assert!(ask(&toy, PROBE | SET | CLOCK, 0) == Err(EINVAL));
        assert!(ask(&toy, PROBE | GET | SET | CLOCK, 0) == Err(EINVAL));
        assert!(ask(&toy, GET | HORN, 0) == Err(EINVAL));
        assert!(ask(&toy, PROBE | GET | HORN, 0) == Err(EINVAL));
    }

    #[test]
    fn probe_needs_no_data() {
        let toy = Toy::new();
        for flags in [
            LAMP,
            GET | LAMP,
            SET | LAMP,
            GET | SET | LAMP,
            CLOCK,
            GET | CLOCK,
        ] {
            assert!(ask(&toy, PROBE | flags, 0) == Ok(()));
        }
    }

    #[test]
    fn something_must_be_asked_for() {
        let toy = Toy::new();
        assert!(ask(&toy, LAMP, 64) == Err(EINVAL));
        assert!(ask(&toy, CLOCK, 64) == Err(EINVAL));
    }

    #[test]
    fn then_the_size() {
        let toy = Toy::new();
        // The address is bad, too, but that is not reached.
        for size in 0..5 {
            assert!(ask(&toy, GET | LAMP, size) == Err(EINVAL));
            assert!(ask(&toy, SET | LAMP, size) == Err(EINVAL));
        }
        assert!(ask(&toy, GET | LAMP, 5) == Err(EFAULT));
        assert!(ask(&toy, SET | LAMP, 5) == Err(EFAULT));
        assert!(ask(&toy, GET | CLOCK, 7) == Err(EINVAL));
        assert!(ask(&toy, SET | HORN, 3) == Err(EINVAL));
    }

    #[test]
    fn set_reads_what_the_type_needs() -> Result {
        let toy = Toy::new();
        let page = UserPage::new()?;
        page.fill_last(b"green")?;
        assert!(answer(&toy, SET | LAMP, FeatureArg::new(page.last(5), 5)) == Ok(()));
        assert!(toy.color.get() == *b"green");
        // Fewer bytes exist than the caller says, but as many as the feature needs.
        page.fill_last(b"amber")?;
        assert!(answer(&toy, SET | LAMP, FeatureArg::new(page.last(5), 4096)) == Ok(()));
        assert!(toy.color.get() == *b"amber");
        Ok(())
    }

    #[test]
    fn get_writes_what_the_type_has() -> Result {
        let toy = Toy::new();
        let page = UserPage::new()?;
        let mut after = [0; 8];
        page.fill_last(b"........")?;
        assert!(answer(&toy, GET | LAMP, FeatureArg::new(page.last(8), 8)) == Ok(()));
        page.read_last(&mut after)?;
        assert!(after == *b"white...");

        assert!(answer(&toy, GET | CLOCK, FeatureArg::new(page.last(8), 100)) == Ok(()));
        page.read_last(&mut after)?;
        assert!(after == 0x0102_0304_0506_0708u64.to_ne_bytes());
        Ok(())
    }

    #[test]
    fn half_mapped_data_changes_nothing() -> Result {
        let toy = Toy::new();
        let page = UserPage::new()?;
        for there in 0..5 {
            page.fill_last(&[b'x'; 5][..there])?;
            let arg = FeatureArg::new(page.last(there), 5);
            assert!(answer(&toy, SET | LAMP, arg) == Err(EFAULT));
            assert!(answer(&toy, GET | LAMP, arg) == Err(EFAULT));
            let arg = FeatureArg::new(page.last(there.min(3)), 4);
            assert!(answer(&toy, SET | HORN, arg) == Err(EFAULT));
        }
        assert!(toy.color.get() == *b"white");
        assert!(toy.tunes.get() == 0);
        Ok(())
    }

    #[test]
    fn the_handler_has_the_last_word() -> Result {
        let toy = Toy::new();
        let page = UserPage::new()?;
        page.fill_last(b"black")?;
        assert!(answer(&toy, SET | LAMP, FeatureArg::new(page.last(5), 5)) == Err(EPERM));
        assert!(toy.color.get() == *b"white");
        page.fill_last(&7u32.to_ne_bytes())?;
        assert!(answer(&toy, SET | HORN, FeatureArg::new(page.last(4), 4)) == Ok(()));
        assert!(toy.tunes.get() == 7);
        Ok(())
    }

    #[test]
    fn the_core_gets_what_came() {
        let toy = Toy::new();
        for index in [0, MAGIC, 0xffff] {
            for flags in [0, GET, PROBE | SET, GET | SET, 1 << 31] {
                assert!(ask(&toy, flags | index, 3) == Err(EBUSY));
                assert!(toy.core_flags.get() == flags | index);
            }
        }
    }

    #[test]
    fn a_refused_set_leaves_the_token() -> Result {
        let pf = Pf::new()?;
        let page = UserPage::new()?;
        let refused = |flags, there: usize, size, errno| -> Result {
            page.fill_last(&NEW[..there])?;
            let arg = FeatureArg::new(page.last(there), size);
            assert!(answer_pf(&pf, flags, arg) == Err(errno));
            assert!(pf.has(&OLD) && !pf.has(&NEW));
            Ok(())
        };

        for bit in 19..32 {
            refused(1 << bit | SET | LAMP, 16, 16, EINVAL)?;
        }
        refused(GET | SET | LAMP, 16, 16, EINVAL)?;
        refused(SET | NOTHING, 16, 16, ENOTTY)?;
        refused(GET | LAMP, 16, 16, EINVAL)?;
        refused(LAMP, 16, 16, EINVAL)?;
        for size in 0..16 {
            refused(SET | LAMP, 16, size, EINVAL)?;
            // Only `size` bytes exist.
            refused(SET | LAMP, size, 16, EFAULT)?;
        }

        pf.sriov_enabled.set(false);
        refused(SET | LAMP, 16, 16, ENODEV)?;
        pf.sriov_enabled.set(true);
        pf.vf_open_elsewhere.set(true);
        refused(SET | LAMP, 16, 16, EBUSY)?;
        pf.vf_open_elsewhere.set(false);
        let vf = Vf::new();
        pf.token.match_vf(&vf, Uuid::from_bytes(&OLD))?;
        let claim = pf.token.claim(&vf)?;
        refused(SET | LAMP, 16, 16, EBUSY)?;
        drop(claim);

        // PROBE is not refused, and changes nothing either.
        assert!(answer_pf(&pf, PROBE | SET | LAMP, FeatureArg::new(page.last(16), 16)) == Ok(()));
        assert!(pf.has(&OLD));
        assert!(answer_pf(&pf, SET | LAMP, FeatureArg::new(page.last(16), 16)) == Ok(()));
        assert!(pf.has(&NEW) && !pf.has(&OLD));
        Ok(())
    }

    #[test]
    fn a_claim_is_for_the_token_of_its_time() -> Result {
        let pf = Pf::new()?;
        let vf = Vf::new();
        pf.token.match_vf(&vf, Uuid::from_bytes(&OLD))?;
        set_token(&pf, Uuid::from_bytes(&NEW).ok_or(EINVAL)?)?;
        assert!(matches!(pf.token.claim(&vf), Err(EACCES)));
        // Not even if the old value is set again.
        set_token(&pf, Uuid::from_bytes(&OLD).ok_or(EINVAL)?)?;
        assert!(matches!(pf.token.claim(&vf), Err(EACCES)));
        Ok(())
    }

    #[test]
    fn lenient_set_refuses_what_would_take_something_away() -> Result {
        let pf = Pf::new()?;
        pf.rules.set(Rules::Lenient);
        pf.sriov_enabled.set(false);
        set_token(&pf, Uuid::from_bytes(&NEW).ok_or(EINVAL)?)?;
        assert!(pf.has(&NEW) && !pf.has(&OLD));

        let vf = Vf::new();
        pf.token.match_vf(&vf, Uuid::from_bytes(&NEW))?;
        let claim = pf.token.claim(&vf)?;
        set_token(&pf, Uuid::from_bytes(&NEW).ok_or(EINVAL)?)?;
        let other = set_token(&pf, Uuid::from_bytes(&OLD).ok_or(EINVAL)?);
        assert!(other == Err(EBUSY) && pf.has(&NEW));
        drop(claim);
        Ok(())
    }

    #[test]
    fn an_admission_is_for_the_token_of_its_time() -> Result {
        let pf = Pf::new()?;
        let vf = Vf::new();
        assert!(pf.token.match_vf(&vf, None) == Err(EACCES));
        assert!(pf.token.admit_vf(&vf, Uuid::from_bytes(&NEW)) == Err(EACCES));
        pf.token.admit_vf(&vf, Uuid::from_bytes(&OLD))?;
        pf.token.match_vf(&vf, None)?;
        drop(pf.token.claim(&vf)?);

        // An opener that matched is refused if the admission is withdrawn, or the token changes.
        pf.token.admit_vf(&vf, None)?;
        assert!(matches!(pf.token.claim(&vf), Err(EACCES)));
        pf.token.admit_vf(&vf, Uuid::from_bytes(&OLD))?;
        pf.token.match_vf(&vf, None)?;
        set_token(&pf, Uuid::from_bytes(&NEW).ok_or(EINVAL)?)?;
        assert!(matches!(pf.token.claim(&vf), Err(EACCES)));
        assert!(pf.token.match_vf(&vf, None) == Err(EACCES));
        Ok(())
    }

    #[test]
    fn a_dropped_token_leaves_no_bytes() -> Result {
        let mut was_there = false;
        let bytes = bytes_after_drop(Token::new(), |token| {
            if let Some(new) = Uuid::from_bytes(&NEW) {
                let mut state = token.lock();
                was_there = state.set(Rules::Strict, true, new, |_| Ok(())).is_ok();
            }
        })?;
        assert!(was_there);
        // Four bytes of it would already be a leak.
        for part in NEW.windows(4) {
            assert!(!bytes.windows(4).any(|window| window == part));
        }
        Ok(())
    }

    #[test]
    fn what_the_core_answers_is_handed_on() {
        let toy = Toy::new();
        let arg = FeatureArg::new(UserPtr::from_addr(0), 0);
        for descriptor in [0, 42] {
            toy.core_answer.set(IoctlReturn(descriptor));
            assert!(answer(&toy, GET | MAGIC, arg) == IoctlReturn(descriptor));
        }
    }
}
