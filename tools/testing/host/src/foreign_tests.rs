// SPDX-License-Identifier: GPL-2.0-only

//! VFs that are under another VFIO driver than their PF, which is under this one.
//!
//! Their tokens are checked by the core, never by this driver. A model of the locks that the core
//! takes meanwhile (drivers/vfio of Linux 7.3), with the real state machine behind the token's
//! lock, is walked through in every order of the actors' steps. It shows what a driver of the PF
//! can guarantee for such VFs, depending on what it locks before it changes the token.
//!
//! A step is what happens between two moments at which another actor could see or do something.
//! The token's lock and the core's `vf_token->lock` are not modelled: nobody waits with one of them
//! held, so what is done under them is one step.

use crate::interleaving_tests::uuid;
use crate::state::{Generation, Opener as PfUser, PfUse, Rules, State};
use crate::state_with;
use crate::vfio::Uuid;
use kernel::prelude::*;
use stateright::{Checker, Model, Property};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What the core knows of the PF's token.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Core {
    token: Uuid,
    users: u8,
}

impl Core {
    /// vfio_pci_core_match_token_uuid() for the PF.
    fn match_pf(&mut self, given: Option<&Uuid>) -> Result {
        match given {
            Some(token) if self.users == 0 => self.token = token.clone(),
            Some(token) if self.token == *token => (),
            _ if self.users == 0 => (),
            _ => return Err(EACCES),
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Driver {
    None,
    Ours,
    Foreign,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Vf {
    driver: Driver,
    /// Whether its `vfio_device` is a child of the PCI device; and whether it is in its group.
    is_child: bool,
    is_in_group: bool,
    /// `vfio_device.refcount`: the registration, and every open file.
    refs: u8,
    open_count: u8,
    /// What its user presented, from the moment at which the core counts it as open.
    known: Option<u8>,
}

impl Vf {
    fn of(driver: Driver) -> Self {
        let bound = driver != Driver::None;
        Self {
            driver,
            is_child: bound,
            is_in_group: bound,
            refs: bound.into(),
            open_count: 0,
            known: None,
        }
    }
}

/// The locks that may be held during a wait.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
enum Mutex {
    /// A lock of the PF for changes of the token while there are foreign VFs.
    Outer,
    /// `device.mutex` of a VF.
    Device(usize),
    /// `vfio_group.device_lock` and `vfio_group.group_lock` of a VF.
    GroupDevices(usize),
    Group(usize),
    /// `vfio_device_set.lock` of a VF and of the PF.
    Set(usize),
    PfSet,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Cdev,
    Group,
}

#[derive(Clone, Copy, Debug)]
enum Actor {
    /// Opens a VF with a token and closes it again.
    Opener(usize, By, u8),
    /// Starts to open a VF by cdev with a token in memory that never becomes readable.
    Stuck(usize),
    /// Sets the token.
    Setter(u8),
    /// Opens the PF with a token. With the other one that fails late, after the token was set.
    PfOpener(By, u8),
    FailingPfOpener(By, u8),
    /// Unbinds a VF, binds it to a driver, or one after the other.
    Unbinder(usize),
    Binder(usize, Driver),
    Rebinder(usize, Driver),
}
use Actor::*;

/// What the driver locks before it changes the token, if there are foreign VFs. Then the core says
/// whether one of these is open, since its opening is complete when its set is unlocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    /// Nothing.
    Nothing,
    /// The device sets of the VFs that it finds, one after the other. It waits for each.
    Waiting,
    /// The same, but it gives up if one of them is locked.
    Trying,
    /// And the VFs themselves, in the same way: before the device set, and after it.
    DeviceFirst,
    DeviceLast,
}
use Protocol::*;

/// What happens with the token's lock held.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Set(u8),
    OpenPf,
    TakeBack,
}

/// The steps of all actors. Those with a number concern that VF.
#[derive(Clone, Copy, Debug)]
enum Step {
    Lock(Mutex),
    Unlock(Mutex),
    /// What an opener does, in this order.
    GetRegistration(usize),
    Match(usize, u8),
    Count(usize),
    Claim(usize),
    StartReset(usize),
    EndReset(usize),
    Finish(usize, u8),
    Close(usize),
    StartLastReset(usize),
    Uncount,
    PutRegistration(usize),
    /// Reading the token never ends.
    Never,
    /// What an opener of the PF does before it changes the token.
    MatchPf(By, u8),
    /// A change of the token: at once if it needs no locks, otherwise at the end.
    AtOnce(Change),
    AskCore,
    Find(usize),
    LockFound(usize),
    TryFound(usize),
    TryDevice(usize),
    AtLast(Change),
    /// What unbinding does.
    Leave(usize),
    LeaveGroup(usize),
    DelChild(usize),
    PutFirst(usize),
    WaitForUsers(usize),
    Unbound(usize),
    /// What binding does.
    Probe(usize, Driver),
    AddChild(usize),
    Registered(usize),
    Join(usize),
}

impl Actor {
    fn program(self, protocol: Protocol, vfs: usize) -> Vec<Step> {
        use Step::*;

        match self {
            Opener(vf, by, token) => {
                let mut steps = match by {
                    // The cdev is opened, and then bound: vfio_df_ioctl_bind_iommufd().
                    By::Cdev => vec![GetRegistration(vf), Lock(Mutex::Set(vf)), Match(vf, token)],
                    // vfio_device_get_from_name(), vfio_df_group_open().
                    By::Group => vec![
                        Lock(Mutex::GroupDevices(vf)),
                        Match(vf, token),
                        GetRegistration(vf),
                        Unlock(Mutex::GroupDevices(vf)),
                        Lock(Mutex::Group(vf)),
                        Lock(Mutex::Set(vf)),
                    ],
                };
                steps.extend([
                    Count(vf),
                    Claim(vf),
                    StartReset(vf),
                    EndReset(vf),
                    Finish(vf, token),
                    Unlock(Mutex::Set(vf)),
                ]);
                if let By::Group = by {
                    steps.extend([Unlock(Mutex::Group(vf)), Lock(Mutex::Group(vf))]);
                }
                steps.extend([
                    Lock(Mutex::Set(vf)),
                    Close(vf),
                    StartLastReset(vf),
                    EndReset(vf),
                    Uncount,
                    Unlock(Mutex::Set(vf)),
                    PutRegistration(vf),
                ]);
                steps
            }
            Stuck(vf) => vec![GetRegistration(vf), Lock(Mutex::Set(vf)), Never],
            Setter(token) => change(protocol, vfs, Change::Set(token)),
            PfOpener(by, token) | FailingPfOpener(by, token) => {
                let mut steps = match by {
                    By::Cdev => vec![Lock(Mutex::PfSet), MatchPf(by, token)],
                    By::Group => vec![MatchPf(by, token), Lock(Mutex::PfSet)],
                };
                steps.extend(change(protocol, vfs, Change::OpenPf));
                if let FailingPfOpener(..) = self {
                    steps.extend(change(protocol, vfs, Change::TakeBack));
                }
                steps
            }
            Unbinder(vf) => unbind(vf),
            Binder(vf, driver) => bind(vf, driver),
            Rebinder(vf, driver) => unbind(vf).into_iter().chain(bind(vf, driver)).collect(),
        }
    }
}

fn change(protocol: Protocol, vfs: usize, change: Change) -> Vec<Step> {
    use Step::*;

    let mut steps = vec![];
    if protocol > Nothing {
        steps.extend([AtOnce(change), AskCore, Lock(Mutex::Outer)]);
        if protocol == Waiting {
            steps.extend((0..vfs).map(Find));
        }
        for vf in 0..vfs {
            match protocol {
                Nothing => (),
                Waiting => steps.push(LockFound(vf)),
                Trying | DeviceLast => steps.extend([Find(vf), TryFound(vf)]),
                DeviceFirst => steps.extend([TryDevice(vf), Find(vf), TryFound(vf)]),
            }
        }
        if protocol == DeviceLast {
            // The second time there must be nothing new.
            (0..vfs).for_each(|vf| steps.extend([TryDevice(vf), Find(vf)]));
        }
    }
    steps.push(AtLast(change));
    steps
}

/// __device_release_driver() with vfio_unregister_group_dev().
fn unbind(vf: usize) -> Vec<Step> {
    use Step::*;

    vec![
        Lock(Mutex::Device(vf)),
        Lock(Mutex::GroupDevices(vf)),
        LeaveGroup(vf),
        Unlock(Mutex::GroupDevices(vf)),
        DelChild(vf),
        PutFirst(vf),
        WaitForUsers(vf),
        Leave(vf),
        Unbound(vf),
        Unlock(Mutex::Device(vf)),
    ]
}

/// really_probe() with __vfio_register_dev().
fn bind(vf: usize, driver: Driver) -> Vec<Step> {
    use Step::*;

    vec![
        Lock(Mutex::Device(vf)),
        Probe(vf, driver),
        AddChild(vf),
        Registered(vf),
        Join(vf),
        Unlock(Mutex::Device(vf)),
    ]
}

/// The progress of an actor, and what it must undo.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
struct Progress {
    step: usize,
    /// The generation with which a VF of this driver has matched.
    seen: Option<u64>,
    /// Whether a foreign VF has matched, and is not closed yet.
    has_matched: bool,
    has_claimed: bool,
    counted: Option<usize>,
    /// Whether its opening of the PF has taken effect and can still fail.
    can_fail: bool,
    /// The VFs of which it has a registration, and those that it skipped as the driver's own.
    registrations: u8,
    passed_over: u8,
    /// What the driver knew of its VFs before it looked for others.
    roster: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct World {
    state: State,
    core: Core,
    pf_is_open: bool,
    vfs: Vec<Vf>,
    held: BTreeMap<Mutex, usize>,
    progress: Vec<Progress>,
    /// Properties that always hold.
    changed_beside_an_opener: bool,
    disturbed_a_reset: bool,
    /// Properties that must be reachable.
    has_set: bool,
    was_busy: bool,
    has_opened: bool,
}

/// The result of a step.
enum Outcome {
    Next,
    Wait,
    /// The change is made, and its remaining steps are not needed.
    Done,
    /// The actor undoes what it has done, and ends.
    End,
}
use Outcome::*;

fn next_if(condition: bool) -> Outcome {
    if condition {
        Next
    } else {
        End
    }
}

impl World {
    fn step(&mut self, me: usize, step: Step, scene: &Scene) -> Outcome {
        match step {
            Step::Lock(lock) => return self.lock(me, lock),
            Step::Unlock(lock) => {
                self.held.remove(&lock);
            }

            Step::GetRegistration(vf) => return next_if(self.get_registration(me, vf)),
            Step::Match(vf, token) => {
                let matched = match self.vfs[vf].driver {
                    Driver::Ours => {
                        let answer = self.state.match_vf(Some(&uuid(token)), Generation::NONE);
                        self.progress[me].seen = answer.ok().map(Generation::to_raw);
                        answer.is_ok()
                    }
                    _ => self.core.token == uuid(token),
                };
                // A name is looked up in the group's list.
                let is_there = self.progress[me].registrations != 0 || self.vfs[vf].is_in_group;
                // A claim does the same for a VF of this driver.
                let is_foreign = self.vfs[vf].driver == Driver::Foreign;
                self.progress[me].has_matched = matched && is_there && is_foreign;
                return next_if(matched && is_there);
            }
            Step::Count(vf) => {
                if self.vfs[vf].open_count != 0 {
                    return End;
                }
                self.vfs[vf].open_count = 1;
                self.progress[me].counted = Some(vf);
            }
            Step::Claim(vf) => {
                if self.vfs[vf].driver == Driver::Ours {
                    let seen = Generation::from_raw(self.progress[me].seen.unwrap());
                    let claimed = self.state.claim(seen, Generation::NONE).is_ok();
                    self.progress[me].has_claimed = claimed;
                    return next_if(claimed);
                }
            }
            Step::StartReset(vf) => return next_if(self.try_reset(me, vf, scene)),
            Step::EndReset(vf) => {
                if self.held.get(&Mutex::Device(vf)) == Some(&me) {
                    self.held.remove(&Mutex::Device(vf));
                }
            }
            Step::Finish(vf, token) => {
                self.core.users += 1;
                self.vfs[vf].known = Some(token);
                self.has_opened = true;
            }
            Step::Close(vf) => {
                self.core.users -= 1;
                self.vfs[vf].known = None;
                self.progress[me].has_matched = false;
            }
            Step::StartLastReset(vf) => {
                self.try_reset(me, vf, scene);
            }
            Step::Uncount => self.uncount(me),
            Step::PutRegistration(vf) => self.put_registration(me, vf),
            Step::Never => return Wait,

            Step::MatchPf(by, token) => {
                let pf_use = match by {
                    _ if !self.pf_is_open => PfUse::Closed,
                    By::Cdev => PfUse::Taken,
                    By::Group => PfUse::Again,
                };
                let result = self.with_core(|state, offer| {
                    state.match_pf(PfUser(me as i32), Some(&uuid(token)), pf_use, offer)
                });
                self.was_busy |= result.is_err();
                return next_if(result.is_ok());
            }
            Step::AtOnce(change) => {
                let changes = change != Change::OpenPf || self.state.will_change(PfUser(me as i32));
                if !changes || self.state.owns_all_vfs() {
                    return self.change(me, change);
                }
                self.progress[me].roster = self.state.roster().unwrap();
            }
            Step::AskCore => return next_if(self.core.users == 0),
            Step::Find(vf) => {
                let progress = &self.progress[me];
                let was_seen = (progress.registrations | progress.passed_over) >> vf & 1 != 0;
                let is_there = self.vfs[vf].is_child && self.vfs[vf].refs != 0;
                if was_seen || !is_there {
                    return Next;
                }
                // It has been bound since the first look.
                if scene.protocol == DeviceLast && self.holds(me, Mutex::Device(vf)) {
                    return End;
                }
                match self.vfs[vf].driver {
                    Driver::Ours => self.progress[me].passed_over |= 1 << vf,
                    _ => return next_if(self.get_registration(me, vf)),
                }
            }
            Step::LockFound(vf) if self.has_registration(me, vf) => {
                return self.lock(me, Mutex::Set(vf))
            }
            Step::TryFound(vf) if self.has_registration(me, vf) => {
                return self.try_lock(me, Mutex::Set(vf))
            }
            Step::TryDevice(vf) if self.progress[me].passed_over >> vf & 1 == 0 => {
                return self.try_lock(me, Mutex::Device(vf));
            }
            Step::LockFound(_) | Step::TryFound(_) | Step::TryDevice(_) => (),
            Step::AtLast(change) => {
                // Those that were skipped still belong to this driver.
                let roster = Some(self.progress[me].roster);
                if scene.protocol >= Trying && self.state.roster() != roster {
                    self.was_busy = true;
                    return End;
                }
                let outcome = self.change(me, change);
                self.unlock_vfs(me);
                return outcome;
            }

            Step::Leave(vf) if self.vfs[vf].driver == Driver::Ours => self.state.remove_own_vf(),
            Step::Leave(_) => (),
            Step::LeaveGroup(vf) => self.vfs[vf].is_in_group = false,
            Step::DelChild(vf) => self.vfs[vf].is_child = false,
            Step::PutFirst(vf) => self.vfs[vf].refs -= 1,
            Step::WaitForUsers(vf) => {
                if self.vfs[vf].refs != 0 {
                    return Wait;
                }
            }
            Step::Unbound(vf) => self.vfs[vf].driver = Driver::None,
            Step::Probe(vf, driver) => self.vfs[vf].driver = driver,
            Step::AddChild(vf) => self.vfs[vf].is_child = true,
            Step::Registered(vf) => {
                self.vfs[vf].refs = 1;
                self.vfs[vf].is_in_group = true;
            }
            Step::Join(vf) if self.vfs[vf].driver == Driver::Ours => self.state.add_own_vf(),
            Step::Join(_) => (),
        }
        Next
    }

    fn lock(&mut self, me: usize, lock: Mutex) -> Outcome {
        if self.held.contains_key(&lock) {
            return Wait;
        }
        self.held.insert(lock, me);
        Next
    }

    fn try_lock(&mut self, me: usize, lock: Mutex) -> Outcome {
        match self.lock(me, lock) {
            Wait => {
                self.was_busy = true;
                End
            }
            outcome => outcome,
        }
    }

    /// pci_try_reset_function(), or what vfio_pci_core_disable() does instead.
    fn try_reset(&mut self, me: usize, vf: usize, scene: &Scene) -> bool {
        let Some(holder) = self.held.get(&Mutex::Device(vf)) else {
            self.held.insert(Mutex::Device(vf), me);
            return true;
        };
        self.disturbed_a_reset |= matches!(
            scene.actors[*holder],
            Setter(..) | PfOpener(..) | FailingPfOpener(..)
        );
        false
    }

    fn get_registration(&mut self, me: usize, vf: usize) -> bool {
        if self.vfs[vf].refs == 0 {
            return false;
        }
        self.vfs[vf].refs += 1;
        self.progress[me].registrations |= 1 << vf;
        true
    }

    fn has_registration(&self, me: usize, vf: usize) -> bool {
        self.progress[me].registrations >> vf & 1 != 0
    }

    fn holds(&self, me: usize, lock: Mutex) -> bool {
        self.held.get(&lock) == Some(&me)
    }

    fn change(&mut self, me: usize, change: Change) -> Outcome {
        let who = PfUser(me as i32);
        let result = self.with_core(|state, offer| match change {
            Change::Set(token) => state.set(Rules::Strict, true, &uuid(token), offer),
            Change::OpenPf => state.open_pf(who, offer),
            Change::TakeBack => {
                state.take_back(offer);
                state.end_opening();
                Ok(())
            }
        });
        self.was_busy |= result.is_err();
        if result.is_err() {
            return End;
        }
        self.progress[me].can_fail = change == Change::OpenPf;
        self.pf_is_open = change == Change::OpenPf || self.pf_is_open && change != Change::TakeBack;
        Done
    }

    fn with_core(
        &mut self,
        step: impl FnOnce(&mut State, &dyn Fn(Option<&Uuid>) -> Result) -> Result,
    ) -> Result {
        let before = self.state.token().clone();
        let core = RefCell::new(self.core.clone());
        let offer = |token: Option<&Uuid>| core.borrow_mut().match_pf(token);
        let result = step(&mut self.state, &offer);
        self.core = core.into_inner();
        if *self.state.token() != before {
            self.has_set = true;
            self.changed_beside_an_opener |= self.progress.iter().enumerate().any(|(who, it)| {
                let has_set_locked = |(lock, holder): (&Mutex, &usize)| {
                    *holder == who && matches!(lock, Mutex::Set(_))
                };
                (it.has_matched || it.has_claimed) && self.held.iter().any(has_set_locked)
            });
        }
        result
    }

    /// Undoes what was needed for a change.
    fn unlock_vfs(&mut self, me: usize) {
        let is_kept = |lock: &Mutex| *lock == Mutex::PfSet;
        self.held
            .retain(|lock, holder| *holder != me || is_kept(lock));
        (0..self.vfs.len()).for_each(|vf| self.put_registration(me, vf));
        self.progress[me].passed_over = 0;
    }

    fn uncount(&mut self, me: usize) {
        if let Some(vf) = self.progress[me].counted.take() {
            self.vfs[vf].open_count = 0;
        }
        if std::mem::take(&mut self.progress[me].has_claimed) {
            self.state.release();
        }
    }

    fn put_registration(&mut self, me: usize, vf: usize) {
        if self.has_registration(me, vf) {
            self.vfs[vf].refs -= 1;
            self.progress[me].registrations &= !(1 << vf);
        }
    }

    /// Undoes what an actor has done and not undone itself.
    fn end(&mut self, me: usize, step: usize) {
        self.uncount(me);
        self.unlock_vfs(me);
        self.held.retain(|_, holder| *holder != me);
        if self.progress[me].can_fail {
            self.state.end_opening();
        }
        self.progress[me] = Progress {
            step,
            ..Progress::default()
        };
    }
}

/// A set of actors that act at the same time.
struct Scene {
    protocol: Protocol,
    vfs: Vec<Driver>,
    actors: Vec<Actor>,
    programs: Vec<Vec<Step>>,
}

impl Scene {
    fn next(&self, world: &World, me: usize) -> Option<World> {
        let step = *self.programs[me].get(world.progress[me].step)?;
        let mut world = world.clone();
        match world.step(me, step, self) {
            Wait => return None,
            Next => world.progress[me].step += 1,
            Done => {
                let rest = &self.programs[me][world.progress[me].step..];
                let last = rest.iter().position(|step| matches!(step, Step::AtLast(_)));
                world.progress[me].step += last.unwrap() + 1;
            }
            End => world.progress[me].step = self.programs[me].len(),
        }
        if world.progress[me].step == self.programs[me].len() {
            world.end(me, self.programs[me].len());
        }
        Some(world)
    }
}

const STALE: &str = "whoever has a VF open knows the token";
const CHANGED: &str = "the token does not change while the set of a VF is locked for its opening";
const HANGS: &str = "nobody waits for ever";
const DISTURBED: &str = "no reset fails because of a setter";
const SAME: &str = "the core has the token that the driver has";
const SETS: &str = "the token can be set";
const BUSY: &str = "a VF can be in the way";
const OPENS: &str = "a VF can be opened";

impl Model for Scene {
    type State = World;
    type Action = usize;

    fn init_states(&self) -> Vec<World> {
        let mut state = state_with(uuid(1));
        state.set_vfs(Some(self.vfs.len() as u32));
        let ours = self.vfs.iter().filter(|driver| **driver == Driver::Ours);
        ours.for_each(|_| state.add_own_vf());
        vec![World {
            state,
            core: Core {
                token: uuid(1),
                users: 0,
            },
            pf_is_open: false,
            vfs: self.vfs.iter().copied().map(Vf::of).collect(),
            held: BTreeMap::new(),
            progress: vec![Progress::default(); self.actors.len()],
            changed_beside_an_opener: false,
            disturbed_a_reset: false,
            has_set: false,
            was_busy: false,
            has_opened: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<usize>) {
        actions.extend((0..self.actors.len()).filter(|me| self.next(world, *me).is_some()));
    }

    fn next_state(&self, world: &World, me: usize) -> Option<World> {
        self.next(world, me)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(STALE, |_, world: &World| {
                let knows = |vf: &Vf| {
                    vf.known
                        .is_none_or(|token| uuid(token) == *world.state.token())
                };
                world.vfs.iter().all(knows)
            }),
            Property::always(CHANGED, |_, world: &World| !world.changed_beside_an_opener),
            Property::always(HANGS, |scene: &Self, world| {
                let can_act = |me| scene.next(world, me).is_some();
                let is_done = |me: usize| {
                    world.progress[me].step == scene.programs[me].len()
                        || matches!(scene.actors[me], Stuck(_))
                };
                let all = 0..scene.actors.len();
                all.clone().any(can_act) || all.clone().all(is_done)
            }),
            Property::always(DISTURBED, |_, world: &World| !world.disturbed_a_reset),
            Property::always(SAME, |_, world: &World| {
                world.core.token == *world.state.token()
            }),
            Property::sometimes(SETS, |_, world: &World| world.has_set),
            Property::sometimes(BUSY, |_, world: &World| world.was_busy),
            Property::sometimes(OPENS, |_, world: &World| world.has_opened),
        ]
    }
}

/// The properties that do not hold; prints the shortest way to each.
fn broken(protocol: Protocol, vfs: &[Driver], actors: &[Actor]) -> Vec<&'static str> {
    let scene = Scene {
        protocol,
        vfs: vfs.to_vec(),
        actors: actors.to_vec(),
        programs: actors
            .iter()
            .map(|actor| actor.program(protocol, vfs.len()))
            .collect(),
    };
    let checker = scene.checker().spawn_bfs().join();
    println!("{protocol:?}: {vfs:?}, {actors:?}");
    let mut names = vec![];
    for name in [STALE, CHANGED, HANGS, DISTURBED, SAME] {
        if let Some(path) = checker.discovery(name) {
            println!("not so: {name}");
            for (world, me) in path.into_vec() {
                if let Some(me) = me {
                    let scene = checker.model();
                    let step = scene.programs[me][world.progress[me].step];
                    println!("    {:?}: {step:?}", scene.actors[me]);
                }
            }
            names.push(name);
        }
    }
    for name in [SETS, BUSY, OPENS] {
        if checker.discovery(name).is_none() {
            println!("never: {name}");
            names.push(name);
        }
    }
    names
}

/// The protocol that the driver has.
const DRIVER: Protocol = DeviceLast;

const CDEV: Actor = Opener(0, By::Cdev, 1);
const GROUP: Actor = Opener(0, By::Group, 1);
const CHANGERS: [Actor; 3] = [Setter(2), PfOpener(By::Cdev, 2), PfOpener(By::Group, 2)];
const NONE: &[Driver] = &[Driver::None];
const OURS: &[Driver] = &[Driver::Ours];
const FOREIGN: &[Driver] = &[Driver::Foreign];
const BOTH: &[Driver] = &[Driver::Foreign, Driver::Ours];

/// Without locks, the model finds the openings with a replaced token.
#[test]
fn without_locks_a_foreign_vf_opens_with_a_token_of_the_past() {
    for opener in [CDEV, GROUP] {
        for changer in CHANGERS {
            let names = broken(Nothing, FOREIGN, &[opener, changer]);
            assert_eq!(names, [STALE, CHANGED], "{opener:?} {changer:?}");
        }
    }
}

#[test]
fn by_cdev_none_does() {
    for changer in CHANGERS {
        assert!(broken(DRIVER, FOREIGN, &[CDEV, changer]).is_empty());
    }
    let all = [CDEV, Setter(2), PfOpener(By::Cdev, 3), Setter(1)];
    assert!(broken(DRIVER, FOREIGN, &all).is_empty());
    for by in [By::Cdev, By::Group] {
        let all = [CDEV, Opener(1, by, 1), Setter(2), PfOpener(By::Cdev, 3)];
        assert!(broken(DRIVER, BOTH, &all).is_empty());
    }
    let all = [CDEV, Opener(1, By::Cdev, 1), Setter(2), Setter(3)];
    assert!(broken(DRIVER, &[Driver::Foreign; 2], &all).is_empty());
}

/// What remains: a token that changes between its check and the lock.
#[test]
fn by_group_one_may_until_its_set_is_locked() {
    for changer in CHANGERS {
        assert_eq!(broken(DRIVER, FOREIGN, &[GROUP, changer]), [STALE]);
    }
    assert_eq!(broken(DRIVER, FOREIGN, &[CDEV, GROUP, Setter(2)]), [STALE]);
}

#[test]
fn vfs_of_this_driver_need_no_locks() {
    for protocol in [Nothing, DRIVER] {
        let all = [CDEV, GROUP, Setter(2), PfOpener(By::Cdev, 3)];
        assert!(broken(protocol, OURS, &all).is_empty());
    }
}

/// Without the device lock of a VF, one that is being unbound or bound is missed.
#[test]
fn a_vf_can_change_its_driver_meanwhile() {
    let setter = |actor| [CDEV, Setter(2), actor];
    for (vfs, actor) in [
        (FOREIGN, Unbinder(0)),
        (FOREIGN, Rebinder(0, Driver::Foreign)),
        (OURS, Rebinder(0, Driver::Foreign)),
        (NONE, Binder(0, Driver::Foreign)),
    ] {
        let names = broken(Trying, vfs, &setter(actor));
        assert_eq!(names, [STALE, CHANGED], "{actor:?}");
        let mut names = broken(DRIVER, vfs, &setter(actor));
        // An opening in the moment after the VF was bound may fail instead.
        names.retain(|name| *name != DISTURBED);
        assert!(names.is_empty(), "{actor:?}: {names:?}");
    }
    for actor in [Rebinder(0, Driver::Ours), Rebinder(1, Driver::Foreign)] {
        let all = [CDEV, Opener(1, By::Cdev, 1), Setter(2), actor];
        let mut names = broken(DRIVER, BOTH, &all);
        names.retain(|name| *name != DISTURBED);
        assert!(names.is_empty(), "{actor:?}: {names:?}");
    }
}

/// An opening of the PF that fails restores the token. That is a change, too.
#[test]
fn a_token_that_is_taken_back_was_no_foreign_vf_opened_with() {
    let with_new = Opener(0, By::Cdev, 2);
    for by in [By::Cdev, By::Group] {
        // An opener that presents the current token is not held up.
        let all = [with_new, FailingPfOpener(by, 2)];
        assert_eq!(broken(Nothing, FOREIGN, &all), [STALE, CHANGED, BUSY]);
        assert!(broken(DRIVER, FOREIGN, &all).is_empty());
        let all = [with_new, FailingPfOpener(by, 2), CDEV, Setter(3)];
        assert!(broken(DRIVER, FOREIGN, &all).is_empty());
        let all = [with_new, FailingPfOpener(by, 2), GROUP, Setter(3)];
        assert!(broken(DRIVER, OURS, &all).is_empty());
    }
}

/// A wait for the lock of a foreign VF's set is a wait for its user's memory.
#[test]
fn a_vf_can_keep_its_set_locked_for_ever() {
    let vfs = [Driver::Foreign; 2];
    for changer in CHANGERS {
        let all = [Stuck(0), Opener(1, By::Cdev, 1), Setter(3), changer];
        assert_eq!(broken(Waiting, &vfs, &all), [HANGS]);
        assert!(broken(DRIVER, &vfs, &all).is_empty());
    }
}

/// Opening, closing and resetting a VF try its device lock, too, and do less if it is taken.
#[test]
fn a_setter_must_not_have_the_device_lock_of_a_vf_in_use() {
    assert_eq!(
        broken(DeviceFirst, FOREIGN, &[CDEV, Setter(2)]),
        [DISTURBED]
    );
}
