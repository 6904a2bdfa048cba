// SPDX-License-Identifier: GPL-2.0-only

//! Applying a configuration to the machine.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};
use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    command,
    failure::{Failure, Result, Status},
    machine::{Function, Machine, Role},
    open, output,
    report::{Apply, Outcome, Step as StepReport},
    token::Token,
    users::Users,
};

/// A configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    device: Vec<Device>,
}

/// `[[device]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    /// Its address, since names change with the driver.
    address: String,
    /// The driver to bind it to.
    driver: Option<String>,
    /// The number of VFs.
    vfs: Option<u32>,
    /// The driver to bind the VFs to. By default the kernel chooses: the PF's, if that is a VFIO driver.
    vf_driver: Option<String>,
    /// The file with the VF token.
    token_file: Option<PathBuf>,
    /// Whether to set the token. If not, another program sets it, and it is only presented for `admit`.
    #[serde(default = "yes")]
    set_token: bool,
    /// The VFs to admit.
    #[serde(default)]
    admit: Admit,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Admit {
    /// By their numbers, from 0.
    Some(BTreeSet<u32>),
    All(All),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}

impl Default for Admit {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

/// The default places of the configuration.
const FILE: &str = "/etc/vfioctl.toml";
const FOLDER: &str = "/etc/vfioctl.d";
/// The directory of what is remembered until the next boot.
const MEMORY: &str = "/run/vfioctl";

impl Config {
    /// Reads the file, or those at the default places.
    fn read(machine: &Machine, file: Option<&Path>) -> Result<Self> {
        if let Some(file) = file {
            return Self::read_file(file);
        }
        let mut files = vec![machine.path(FILE)];
        let names = machine.names(FOLDER);
        files.extend(
            names
                .iter()
                .filter(|name| name.ends_with(".toml"))
                .map(|name| machine.path(FOLDER).join(name)),
        );
        files.retain(|file| file.exists());
        if files.is_empty() {
            return Err(Failure::refused(format!(
                "there is no configuration: neither {FILE} nor {FOLDER}/*.toml is there"
            ))
            .fix("man vfioctl.toml"));
        }
        let mut all = Self::default();
        for file in files {
            all.device.extend(Self::read_file(&file)?.device);
        }
        Ok(all)
    }

    fn read_file(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::io(format_args!("cannot read {}", file.display()), &error))?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or("", |span| &text[..span.start]);
            let line = before.matches('\n').count() + 1;
            Failure::new(
                Status::Usage,
                format!("{}:{line}: {}", file.display(), error.message()),
            )
            .fix("man vfioctl.toml")
        })
    }

    /// Refuses settings that contradict each other.
    fn check(&self) -> Result<Vec<(Address, &Device)>> {
        let usage = |device: &Device, text: &str| {
            Failure::new(
                Status::Usage,
                format!("device {:?}: {text}", device.address),
            )
            .fix("man vfioctl.toml")
        };
        let mut devices = Vec::new();
        for device in &self.device {
            let address = device.address.parse().map_err(|()| {
                usage(
                    device,
                    "that is no address, write one such as \"0000:01:00.0\"",
                )
            })?;
            if devices.iter().any(|(other, _)| *other == address) {
                return Err(usage(device, "it is there twice"));
            }
            let names = device.driver.iter().chain(&device.vf_driver);
            if names.into_iter().any(|name| {
                name.is_empty() || name.contains(['/', '\n', '\0']) || name.starts_with('.')
            }) {
                return Err(usage(device, "that is not the name of a driver"));
            }
            let admits = match &device.admit {
                Admit::All(All::All) => true,
                Admit::Some(numbers) => !numbers.is_empty(),
            };
            if admits && device.token_file.is_none() {
                return Err(usage(device, "admit needs token_file"));
            }
            let too_high = match (&device.admit, device.vfs) {
                (Admit::Some(numbers), Some(vfs)) => numbers.range(vfs..).next().zip(Some(vfs)),
                _ => None,
            };
            if let Some((number, vfs)) = too_high {
                return Err(usage(
                    device,
                    &format!("admit has VF {number}, but vfs is {vfs}"),
                ));
            }
            devices.push((address, device));
        }
        Ok(devices)
    }
}

/// One step of a configuration.
enum Step<'a> {
    Load {
        driver: &'a str,
    },
    Bind {
        function: Address,
        driver: &'a str,
    },
    BindVf {
        pf: Address,
        number: u32,
        driver: &'a str,
    },
    EnableSriov {
        driver: String,
    },
    Vfs {
        pf: Address,
        number: u32,
    },
    SetToken {
        pf: Address,
        file: &'a Path,
    },
    Admit {
        pf: Address,
        number: u32,
        file: &'a Path,
    },
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { driver } => write!(f, "load the driver {driver}"),
            Self::Bind { driver, .. } => write!(f, "give it to {driver}"),
            Self::BindVf { number, driver, .. } => write!(f, "give VF {number} to {driver}"),
            Self::EnableSriov { driver } => write!(f, "let {driver} create VFs (enable_sriov)"),
            Self::Vfs { number, .. } => write!(f, "have {number} VFs"),
            Self::SetToken { file, .. } => write!(f, "set the VF token of {}", file.display()),
            Self::Admit { number, file, .. } => {
                write!(f, "admit VF {number} with the token of {}", file.display())
            }
        }
    }
}

/// The steps of a device's configuration.
fn steps<'a>(machine: &Machine, address: Address, device: &'a Device) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    if let Some(driver) = &device.driver {
        steps.push(Step::Load { driver });
        steps.push(Step::Bind {
            function: address,
            driver,
        });
    }
    if let Some(number) = device.vfs {
        let current = || machine.function(address)?.driver;
        if let Some(driver) = device
            .driver
            .clone()
            .or_else(current)
            .filter(|driver| number > 0 && driver.starts_with("vfio-pci"))
        {
            steps.push(Step::EnableSriov { driver });
        }
        steps.push(Step::Vfs {
            pf: address,
            number,
        });
    }
    let vfs = device.vfs.unwrap_or_else(|| {
        match machine.function(address).map(|function| function.role) {
            Some(Role::Pf { vfs, .. }) => vfs,
            _ => 0,
        }
    });
    if let Some(driver) = device.vf_driver.as_ref().filter(|_| vfs > 0) {
        steps.push(Step::Load { driver });
        steps.extend((0..vfs).map(|number| Step::BindVf {
            pf: address,
            number,
            driver,
        }));
    }
    if let Some(file) = &device.token_file {
        if device.set_token {
            steps.push(Step::SetToken { pf: address, file });
        }
        let numbers = match &device.admit {
            Admit::All(All::All) => (0..vfs).collect(),
            Admit::Some(numbers) => numbers.clone(),
        };
        steps.extend(numbers.into_iter().map(|number| Step::Admit {
            pf: address,
            number,
            file,
        }));
    }
    steps
}

impl Step<'_> {
    /// Whether nothing is left to do.
    fn holds(&self, machine: &Machine) -> bool {
        let has_driver = |function: Option<Function>, driver: &str| {
            function.is_some_and(|function| function.driver.as_deref() == Some(driver))
        };
        match self {
            Self::Load { driver } => machine.exists(format!("/sys/bus/pci/drivers/{driver}")),
            Self::Bind { function, driver } => has_driver(machine.function(*function), driver),
            Self::BindVf { pf, number, driver } => has_driver(vf(machine, *pf, *number), driver),
            Self::EnableSriov { driver } => {
                machine.is_on(machine.parameter(driver, "enable_sriov"))
            }
            Self::Vfs { pf, number } => machine
                .function(*pf)
                .is_some_and(|pf| matches!(pf.role, Role::Pf { vfs, .. } if vfs == *number)),
            Self::SetToken { pf, file } => Memory::of(machine, *pf, file)
                .is_some_and(|now| Memory::read(machine, *pf).as_ref() == Some(&now)),
            Self::Admit { pf, number, .. } => {
                vf(machine, *pf, *number).and_then(|vf| vf.token?.admitted) == Some(true)
            }
        }
    }

    fn make(&self, machine: &Machine) -> Result<()> {
        match self {
            Self::Load { driver } => load(machine, driver),
            Self::Bind { function, driver } => bind(machine, *function, driver),
            Self::BindVf { pf, number, driver } => {
                bind(machine, the_vf(machine, *pf, *number)?.address, driver)
            }
            Self::EnableSriov { driver } => {
                write(machine, machine.parameter(driver, "enable_sriov"), "Y")
            }
            Self::Vfs { pf, number } => set_vfs(machine, *pf, *number),
            Self::SetToken { pf, file } => {
                command::set_token(
                    machine,
                    &Users::of(machine),
                    &machine.get(*pf)?,
                    &Token::read_file(&machine.path(file))?,
                )?;
                if let Some(memory) = Memory::of(machine, *pf, file) {
                    memory.write(machine, *pf)?;
                }
                Ok(())
            }
            Self::Admit { pf, number, file } => command::admit(
                machine,
                &the_vf(machine, *pf, *number)?,
                &Token::read_file(&machine.path(file))?,
            ),
        }
    }
}

fn vf(machine: &Machine, pf: Address, number: u32) -> Option<Function> {
    let name = machine.link(Machine::folder(pf).join(format!("virtfn{number}")))?;
    machine.function(name.parse().ok()?)
}

fn the_vf(machine: &Machine, pf: Address, number: u32) -> Result<Function> {
    vf(machine, pf, number).ok_or_else(|| {
        Failure::new(Status::NoDevice, format!("PF {pf} has no VF {number}"))
            .fix(format!("vfioctl show {pf}"))
    })
}

fn write(machine: &Machine, path: PathBuf, text: &str) -> Result<()> {
    output::debug(format_args!("writing {text:?} to {}", path.display()));
    machine.write(&path, text).map_err(|error| {
        Failure::io(
            format_args!("cannot write {text:?} to {}", path.display()),
            &error,
        )
    })
}

fn load(machine: &Machine, driver: &str) -> Result<()> {
    output::debug(format_args!("modprobe {driver}"));
    let output = Command::new("modprobe")
        .arg("--")
        .arg(driver)
        .output()
        .map_err(|error| Failure::io("cannot run modprobe", &error))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(
            Failure::refused(format!("modprobe {driver} failed: {}", text.trim()))
                .fix("dmesg | tail"),
        );
    }
    if machine.exists(format!("/sys/bus/pci/drivers/{driver}")) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "modprobe {driver} succeeded, but there is no PCI driver {driver}"
    )))
}

/// Fails if one of these is open, since the kernel would wait for its user.
fn unused<'a>(machine: &Machine, functions: impl IntoIterator<Item = &'a Function>) -> Result<()> {
    let users = Users::of(machine);
    match functions
        .into_iter()
        .find(|function| !users.of_function(function).is_empty())
    {
        Some(function) => Err(open::in_use(machine, function)),
        None => Ok(()),
    }
}

fn bind(machine: &Machine, address: Address, driver: &str) -> Result<()> {
    let function = machine.get(address)?;
    let vfs = machine.vfs(address);
    unused(machine, std::iter::once(&function).chain(&vfs))?;
    if function.vfio.is_some() && !vfs.is_empty() {
        return Err(
            Failure::refused(format!("{address} has VFs, which would go with its driver")).fix(
                format!(
                    "echo 0 >{}/sriov_numvfs",
                    Machine::folder(address).display()
                ),
            ),
        );
    }
    let folder = Machine::folder(address);
    write(machine, folder.join("driver_override"), driver)?;
    if function.driver.is_some() {
        write(machine, folder.join("driver/unbind"), &address.to_string())?;
    }
    write(
        machine,
        "/sys/bus/pci/drivers_probe".into(),
        &address.to_string(),
    )?;
    let now = machine.get(address)?.driver;
    if now.as_deref() == Some(driver) {
        return Ok(());
    }
    // Give it back to its previous driver.
    if now.is_none() {
        let before = function.driver_override.as_deref().unwrap_or("\n");
        write(machine, folder.join("driver_override"), before)?;
        write(
            machine,
            "/sys/bus/pci/drivers_probe".into(),
            &address.to_string(),
        )?;
    }
    let now = machine.get(address)?;
    let has = now.driver_name();
    Err(Failure::refused(format!(
        "{driver} did not take {address}, which has {has} now: the kernel log says why"
    ))
    .fix(format!("dmesg | grep {address}")))
}

fn set_vfs(machine: &Machine, pf: Address, number: u32) -> Result<()> {
    let function = machine.get(pf)?;
    let Role::Pf { vfs, total } = function.role else {
        return Err(
            Failure::refused(format!("{pf} is not a PF, so it cannot have VFs"))
                .fix(format!("vfioctl show {pf}")),
        );
    };
    if number > total {
        return Err(Failure::refused(format!(
            "{pf} can have {total} VFs, not {number}"
        )));
    }
    let file = Machine::folder(pf).join("sriov_numvfs");
    if vfs > 0 {
        // The kernel changes the number only from and to 0.
        unused(machine, &machine.vfs(pf))?;
        write(machine, file.clone(), "0")?;
    }
    if number > 0 {
        write(machine, file, &number.to_string())
    } else {
        Ok(())
    }
}

/// A note that the token of a file has been set. It contains nothing of the token.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// The inode of the device's directory in sysfs, which changes if the driver is bound again.
    bound: u64,
    /// How often the token has changed, if the driver reports it.
    generation: Option<u64>,
    file: PathBuf,
    inode: u64,
    written: (i64, i64),
}

impl Memory {
    /// The note for the current state.
    fn of(machine: &Machine, pf: Address, file: &Path) -> Option<Self> {
        let function = machine.function(pf)?;
        let folder = Machine::folder(pf).join("vfio-dev").join(function.vfio?);
        let data = fs::metadata(machine.path(file)).ok()?;
        Some(Self {
            bound: fs::metadata(machine.path(folder)).ok()?.ino(),
            generation: function.token.and_then(|token| token.generation),
            file: file.to_owned(),
            inode: data.ino(),
            written: (data.mtime(), data.mtime_nsec()),
        })
    }

    fn path(machine: &Machine, pf: Address) -> PathBuf {
        machine.path(format!("{MEMORY}/{pf}.json"))
    }

    fn read(machine: &Machine, pf: Address) -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::path(machine, pf)).ok()?).ok()
    }

    fn write(&self, machine: &Machine, pf: Address) -> Result<()> {
        let path = Self::path(machine, pf);
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text))
            .map_err(|error| Failure::io(format_args!("cannot write {}", path.display()), &error))
    }
}

/// Takes a lock, since two runs at the same time would undo each other's work.
fn lock(machine: &Machine) -> Result<Flock<fs::File>> {
    let folder = machine.path(MEMORY);
    let problem =
        |error: io::Error| Failure::io(format_args!("cannot lock {}", folder.display()), &error);
    fs::create_dir_all(&folder).map_err(problem)?;
    let file = fs::File::create(folder.join("lock")).map_err(problem)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Failure::new(
            Status::InUse,
            "another vfioctl apply is running: wait until it has finished",
        )
    })
}

/// Applies the configuration, and reports each step as it goes. Returns the steps, and the first failure.
pub fn apply(
    machine: &Machine,
    file: Option<&Path>,
    dry_run: bool,
    interrupted: &AtomicBool,
    mut tell: impl FnMut(&StepReport, Option<&Failure>),
) -> Result<(Apply, Option<Failure>)> {
    let config = Config::read(machine, file)?;
    let devices = config.check()?;
    if !dry_run && !geteuid().is_root() {
        return Err(
            Failure::new(Status::NotPermitted, "only root can bind devices")
                .fix("sudo vfioctl apply"),
        );
    }
    let _lock = if dry_run { None } else { Some(lock(machine)?) };
    let mut report = Apply {
        dry_run,
        steps: Vec::new(),
    };
    let mut first: Option<Failure> = None;
    for (address, device) in devices {
        // The later steps of a device depend on the earlier ones.
        let mut failed = false;
        for step in steps(machine, address, device) {
            let mut failure = None;
            let outcome = if failed || interrupted.load(Ordering::Relaxed) {
                Outcome::Left
            } else if machine.function(address).is_none() {
                failure = machine.get(address).err();
                Outcome::Failed
            } else if step.holds(machine) {
                Outcome::Already
            } else if dry_run {
                Outcome::Would
            } else {
                failure = step.make(machine).err();
                if failure.is_some() {
                    Outcome::Failed
                } else {
                    Outcome::Done
                }
            };
            failed |= outcome == Outcome::Failed;
            let line = StepReport {
                device: device.address.clone(),
                text: step.to_string(),
                outcome,
            };
            tell(&line, failure.as_ref());
            report.steps.push(line);
            first = first.or(failure);
        }
    }
    if interrupted.load(Ordering::Relaxed) {
        first = Some(Failure::new(
            Status::Interrupted,
            "interrupted: the steps marked as left were not done; run it again",
        ));
    }
    Ok((report, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<usize, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        config
            .check()
            .map(|devices| devices.len())
            .map_err(|failure| failure.message)
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let device = "[[device]]\naddress = \"01:00.0\"\n";
        assert_eq!(check(device), Ok(1));
        assert_eq!(check(""), Ok(0));
        assert_eq!(
            check(&format!("{device}token_file = \"/t\"\nadmit = \"all\"")),
            Ok(1)
        );
        for (more, says) in [
            ("drvier = \"vfio-pci\"", "unknown field `drvier`"),
            ("admit = [0]", "admit needs token_file"),
            (
                "token_file = \"/t\"\nvfs = 2\nadmit = [1, 2]",
                "admit has VF 2, but vfs is 2",
            ),
            ("driver = \"../vfio\"", "not the name of a driver"),
            ("vfs = -1", "invalid value"),
            (device, "it is there twice"),
        ] {
            let error = check(&format!("{device}{more}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(
            check("[[device]]\naddress = \"eth0\"")
                .unwrap_err()
                .contains("no address")
        );
    }

    #[test]
    fn the_examples_can_be_meant() {
        let mut files = 0;
        // cargo runs tests in the package's folder.
        for entry in fs::read_dir("examples.d").unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(
                Config::read_file(&path)
                    .unwrap()
                    .check()
                    .map(|devices| devices.len())
                    .map_err(|failure| failure.message),
                Ok(1),
                "{path:?}"
            );
            files += 1;
        }
        assert_eq!(files, 3);
    }
}
