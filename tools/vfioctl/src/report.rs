// SPDX-License-Identifier: GPL-2.0-only

//! The objects that `--json` prints. Keys do not change, but new ones may be added.

use std::{collections::HashMap, fs, sync::OnceLock};

use pciid_parser::{Database, schema::Vendor};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    failure::Failure,
    machine::{Function, Machine, Role},
    open,
    users::{Process, Users},
};

/// `vfioctl list`
#[derive(Serialize, JsonSchema)]
pub struct List {
    pub functions: Vec<Entry>,
}

/// `vfioctl show`
#[derive(Serialize, JsonSchema)]
pub struct Show {
    pub function: Entry,
    /// The name of its class, if the pci.ids database is installed.
    pub class_name: Option<String>,
    /// The power state: `D0`, `D3hot`, ...
    pub power_state: Option<String>,
    /// The kernel's ways to reset it, the preferred one first, separated by blanks.
    pub reset_method: Option<String>,
    /// The nearest NUMA node; -1 if it is unknown.
    pub numa_node: Option<i32>,
    /// All functions of its IOMMU group.
    pub iommu_group: Vec<Member>,
    /// The PF of a VF.
    pub pf: Option<Entry>,
    /// The VFs of a PF.
    pub vfs: Vec<Entry>,
}

/// A function of an IOMMU group.
#[derive(Serialize, JsonSchema)]
pub struct Member {
    pub address: String,
    pub driver: Option<String>,
}

/// A PCI function.
#[derive(Serialize, JsonSchema)]
pub struct Entry {
    /// `domain:bus:device.function`
    pub address: String,
    /// Four hexadecimal digits.
    pub vendor: String,
    /// Four hexadecimal digits.
    pub device: String,
    /// Six hexadecimal digits: class, subclass, programming interface.
    pub class: String,
    /// The names of vendor and device, if the pci.ids database has them.
    pub name: Option<String>,
    pub driver: Option<String>,
    pub driver_override: Option<String>,
    /// Whether it is bound to a VFIO driver.
    pub vfio: bool,
    pub role: RoleName,
    /// Of a VF: the address of its PF.
    pub pf: Option<String>,
    /// Of a PF: how many VFs it has.
    pub vfs: Option<u32>,
    /// Of a PF: how many VFs it can have.
    pub total_vfs: Option<u32>,
    pub iommu_group: Option<u32>,
    /// `/dev/vfio/N`
    pub group_node: Option<String>,
    /// `/dev/vfio/devices/vfioN`
    pub device_node: Option<String>,
    /// The programs that have it or its group open. Only root sees those of other users.
    pub users: Vec<Process>,
    pub token: Option<TokenState>,
}

/// The VF token of a PF or VF that is bound to a VFIO driver.
#[derive(Serialize, JsonSchema)]
pub struct TokenState {
    /// Whether a program must present a token to open it now.
    pub needed: bool,
    /// Whether it opens without a token, because it is admitted or, for a PF, because no VF is open. Only
    /// vfio-pci-rust reports this, and only to root.
    pub admitted: Option<bool>,
    /// Of a PF: `set` or `random`; only vfio-pci-rust reports this.
    pub state: Option<String>,
    /// Of a PF: how often the token has changed; only vfio-pci-rust reports this.
    pub generation: Option<u64>,
    /// Of a PF: how many of its VFs are open; only vfio-pci-rust reports this.
    pub open_vfs: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    Plain,
    Pf,
    Vf,
}

/// `vfioctl features`
#[derive(Serialize, JsonSchema)]
pub struct Features {
    pub address: String,
    pub features: Vec<Feature>,
}

#[derive(Serialize, JsonSchema)]
pub struct Feature {
    pub index: u16,
    /// The name in `linux/vfio.h`, without `VFIO_DEVICE_FEATURE_`.
    pub name: String,
    pub supported: bool,
    pub get: bool,
    pub set: bool,
}

/// `vfioctl token set`, `admit`, `withdraw` and `check`
#[derive(Serialize, JsonSchema)]
pub struct Token {
    pub address: String,
    /// `set`, `admitted`, `withdrawn` or `opens`
    pub result: String,
    /// The token that was generated, if it was not written to a file.
    pub token: Option<String>,
    /// The file to which a generated token was written.
    pub file: Option<String>,
}

/// `vfioctl doctor`
#[derive(Serialize, JsonSchema)]
pub struct Doctor {
    /// Whether nothing is wrong.
    pub healthy: bool,
    pub examinations: Vec<Examination>,
}

/// What `doctor` has found out about the machine, or a device.
#[derive(Serialize, JsonSchema)]
pub struct Examination {
    /// Missing for the machine.
    pub address: Option<String>,
    /// In the order in which they were made; the first one that is wrong is the last.
    pub checks: Vec<Check>,
}

#[derive(Serialize, JsonSchema)]
pub struct Check {
    /// A name that does not change: `iommu`, `driver`, `token`, ...
    pub check: String,
    pub verdict: Verdict,
    /// What was found, as a sentence.
    pub text: String,
    /// A command for root that fixes it.
    pub fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Not wrong, but worth knowing.
    Note,
    Wrong,
}

/// `vfioctl apply`
#[derive(Serialize, JsonSchema)]
pub struct Apply {
    pub dry_run: bool,
    pub steps: Vec<Step>,
}

#[derive(Serialize, JsonSchema)]
pub struct Step {
    /// The address in the configuration.
    pub device: String,
    /// What the step does.
    pub text: String,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was already done.
    Already,
    Done,
    /// It would be done without `--dry-run`.
    Would,
    Failed,
    /// Left out, since an earlier step failed.
    Left,
}

/// What a command prints instead if it fails.
#[derive(Serialize, JsonSchema)]
pub struct Error {
    pub error: ErrorText,
}

#[derive(Serialize, JsonSchema)]
pub struct ErrorText {
    /// The exit status.
    pub status: u8,
    pub message: String,
    /// A command that fixes it.
    pub fix: Option<String>,
}

impl From<&Failure> for Error {
    fn from(failure: &Failure) -> Self {
        let Failure {
            status,
            message,
            fix,
        } = failure;
        Self {
            error: ErrorText {
                status: *status as u8,
                message: message.clone(),
                fix: fix.clone(),
            },
        }
    }
}

/// The vendor with that number, or the class (`C 02`), out of the pci.ids database. Parsing all of its forty
/// thousand lines would take longer than everything else, so the crate gets only the lines that are needed.
fn database(name: &str) -> Option<Database> {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    let read = || {
        PLACES
            .iter()
            .find_map(|path| fs::read(path).ok())
            .unwrap_or_default()
    };
    let text = TEXT.get_or_init(read);
    let start = memchr::memmem::find(text, format!("\n{name}  ").as_bytes())? + 1;
    // Its devices or subclasses are indented.
    let end = memchr::memchr_iter(b'\n', &text[start..])
        .map(|at| start + at + 1)
        .find(|at| !matches!(text.get(*at), Some(b'\t' | b'#')))?;
    Database::parse_db(&text[start..end]).ok()
}

/// The places where distributions install it.
const PLACES: [&str; 2] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

/// The name of a class and subclass.
pub fn class_name(class: u32) -> Option<String> {
    let [_, base, sub, _] = class.to_be_bytes();
    let base = database(&format!("C {base:02x}"))?.classes.remove(&base)?;
    Some(
        base.subclasses
            .get(&sub)
            .map_or(&base.name, |sub| &sub.name)
            .clone(),
    )
}

/// The names of vendors and devices that have been looked up.
#[derive(Default)]
pub struct Names(HashMap<u16, Option<Vendor>>);

impl Names {
    fn of(&mut self, function: &Function) -> Option<String> {
        let number = function.vendor;
        let vendor = self
            .0
            .entry(number)
            .or_insert_with(|| database(&format!("{number:04x}"))?.vendors.remove(&number));
        let vendor = vendor.as_ref()?;
        Some(match vendor.devices.get(&function.device) {
            Some(device) => format!("{} {}", vendor.name, device.name),
            None => vendor.name.clone(),
        })
    }
}

impl Entry {
    pub fn of(machine: &Machine, users: &Users, names: &mut Names, function: &Function) -> Self {
        let (role, pf, vfs, total_vfs) = match function.role {
            Role::Plain => (RoleName::Plain, None, None, None),
            Role::Pf { vfs, total } => (RoleName::Pf, None, Some(vfs), Some(total)),
            Role::Vf { pf } => (RoleName::Vf, Some(pf.to_string()), None, None),
        };
        let node = |path: String| machine.exists(&path).then_some(path);
        Self {
            address: function.address.to_string(),
            vendor: format!("{:04x}", function.vendor),
            device: format!("{:04x}", function.device),
            class: format!("{:06x}", function.class),
            name: names.of(function),
            driver: function.driver.clone(),
            driver_override: function.driver_override.clone(),
            vfio: function.vfio.is_some(),
            role,
            pf,
            vfs,
            total_vfs,
            iommu_group: function.group,
            group_node: function
                .group
                .filter(|_| function.vfio.is_some())
                .and_then(|number| {
                    node(format!("/dev/vfio/{number}"))
                        .or_else(|| node(format!("/dev/vfio/noiommu-{number}")))
                }),
            device_node: function
                .vfio
                .as_ref()
                .and_then(|name| node(format!("/dev/vfio/devices/{name}"))),
            users: users.of_function(function),
            token: TokenState::of(machine, users, function),
        }
    }

    /// The state of the token, in a word or two.
    pub fn token_word(&self) -> &str {
        match &self.token {
            None => "-",
            Some(token) if token.needed => "needed",
            Some(token) if self.role == RoleName::Vf && token.admitted == Some(true) => "admitted",
            Some(token) => token.state.as_deref().unwrap_or("-"),
        }
    }
}

impl TokenState {
    fn of(machine: &Machine, users: &Users, function: &Function) -> Option<Self> {
        function.vfio.as_ref()?;
        let files = function.token.clone().unwrap_or_default();
        if function.role == Role::Plain {
            return None;
        }
        Some(Self {
            needed: open::needs_token(machine, users, function) && files.admitted != Some(true),
            admitted: files.admitted,
            state: files.state,
            generation: files.generation,
            open_vfs: files.open_vfs,
        })
    }
}
