// SPDX-License-Identifier: GPL-2.0-only

//! The commands.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::geteuid,
};

use crate::{
    address::Address,
    doctor::Doctor,
    failure::{Failure, Result, Status},
    machine::{Function, Machine, Role},
    open,
    output::{self, Output},
    report::{self, Entry, Examination, Member, Names, Verdict},
    token::{NewFile, Token},
    users::{self, Users},
};

/// How often to check whether VFs are still open, if no file of the driver reports it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A flag that is set by Ctrl-C.
pub fn interrupts() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends the program at once.
        let twice = signal_hook::flag::register_conditional_shutdown(
            signal,
            Status::Interrupted as i32,
            Arc::clone(&flag),
        );
        if twice
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .is_err()
        {
            output::debug("signals cannot be handled");
        }
    }
    flag
}

pub fn list(machine: &Machine, output: Output, vfio_only: bool) {
    let users = Users::of(machine);
    let mut names = Names::default();
    let wanted =
        |function: &Function| function.vfio.is_some() || !vfio_only && !function.is_bridge();
    let functions: Vec<_> = machine
        .functions()
        .iter()
        .filter(|function| wanted(function))
        .map(|function| Entry::of(machine, &users, &mut names, function))
        .collect();
    if output.json {
        output.object(&report::List { functions });
        return;
    }
    if functions.is_empty() {
        output.say("there are no such devices");
        return;
    }
    output::table(&HEADING, &functions.iter().map(row).collect::<Vec<_>>());
}

const HEADING: [&str; 8] = [
    "ADDRESS", "DRIVER", "ROLE", "GROUP", "NODE", "TOKEN", "USED BY", "NAME",
];

fn row(entry: &Entry) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        entry.address.clone(),
        entry.driver.clone().unwrap_or_else(dash),
        role(entry),
        entry
            .iommu_group
            .map_or_else(dash, |number| number.to_string()),
        entry
            .device_node
            .clone()
            .or_else(|| entry.group_node.clone())
            .unwrap_or_else(dash),
        entry.token_word().to_owned(),
        if entry.users.is_empty() {
            dash()
        } else {
            users::names(&entry.users)
        },
        entry
            .name
            .clone()
            .unwrap_or_else(|| format!("{}:{}", entry.vendor, entry.device)),
    ]
}

fn role(entry: &Entry) -> String {
    match (&entry.pf, entry.vfs, entry.total_vfs) {
        (Some(pf), ..) => format!("VF of {pf}"),
        (None, Some(vfs), Some(total)) => format!("PF, {vfs} of {total} VFs"),
        _ => "-".to_owned(),
    }
}

pub fn show(machine: &Machine, output: Output, device: &str) -> Result<()> {
    let function = machine.find(device)?;
    let users = Users::of(machine);
    let folder = Machine::folder(function.address);
    let mut names = Names::default();
    let mut entry = |function: &Function| Entry::of(machine, &users, &mut names, function);
    let group = function
        .group
        .map(|number| machine.group(number))
        .unwrap_or_default();
    let pf = match function.role {
        Role::Vf { pf } => machine.function(pf),
        _ => None,
    };
    let show = report::Show {
        function: entry(&function),
        class_name: report::class_name(function.class),
        power_state: machine.read(folder.join("power_state")),
        reset_method: machine
            .read(folder.join("reset_method"))
            .filter(|text| !text.is_empty()),
        numa_node: machine
            .read(folder.join("numa_node"))
            .and_then(|text| text.parse().ok()),
        iommu_group: group
            .iter()
            .map(|member| Member {
                address: member.address.to_string(),
                driver: member.driver.clone(),
            })
            .collect(),
        pf: pf.as_ref().map(&mut entry),
        vfs: machine
            .vfs(function.address)
            .iter()
            .map(&mut entry)
            .collect(),
    };
    if output.json {
        output.object(&show);
        return Ok(());
    }
    let one = |entry: &Entry| {
        format!(
            "{}  {}  {}",
            entry.address,
            entry.driver.as_deref().unwrap_or("no driver"),
            row(entry)[7]
        )
    };
    let mut depth = 0;
    let line = |depth: usize, text: &str| output::line(format_args!("{:1$}{text}", "", depth * 2));
    if let Some(pf) = &show.pf {
        line(0, &format!("PF {}", one(pf)));
        facts(pf).iter().for_each(|fact| line(1, fact));
        depth = 1;
    }
    let bold = output::BOLD;
    line(depth, &format!("{bold}{}{bold:#}", one(&show.function)));
    let mut all = facts(&show.function);
    let mut more = |name: &str, value: Option<String>| {
        all.extend(value.map(|value| format!("{name}: {value}")))
    };
    more("class", show.class_name.clone());
    more("driver_override", show.function.driver_override.clone());
    more("power", show.power_state.clone());
    more("reset", show.reset_method.clone());
    more(
        "NUMA node",
        show.numa_node
            .filter(|node| *node >= 0)
            .map(|node| node.to_string()),
    );
    let others: Vec<_> = show
        .iommu_group
        .iter()
        .filter(|member| member.address != show.function.address)
        .map(|member| {
            format!(
                "{} ({})",
                member.address,
                member.driver.as_deref().unwrap_or("no driver")
            )
        })
        .collect();
    more(
        "also in its IOMMU group",
        (!others.is_empty()).then(|| others.join(", ")),
    );
    all.iter().for_each(|fact| line(depth + 1, fact));
    for (number, vf) in show.vfs.iter().enumerate() {
        line(depth + 1, &format!("VF {number}  {}", one(vf)));
        facts(vf).iter().for_each(|fact| line(depth + 2, fact));
    }
    Ok(())
}

/// The facts about a function, one per line.
fn facts(entry: &Entry) -> Vec<String> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| format!("{name}: {value}")))
    };
    fact(
        "VFs",
        entry
            .total_vfs
            .map(|total| format!("{} of {total}", entry.vfs.unwrap_or(0))),
    );
    fact(
        "IOMMU group",
        entry.iommu_group.map(|number| number.to_string()),
    );
    let nodes: Vec<_> = entry
        .device_node
        .iter()
        .chain(&entry.group_node)
        .cloned()
        .collect();
    fact("node", (!nodes.is_empty()).then(|| nodes.join(", ")));
    fact(
        "used by",
        (!entry.users.is_empty()).then(|| users::names(&entry.users)),
    );
    if let Some(token) = &entry.token {
        let state = match token.state.as_deref() {
            Some("set") => ", set",
            Some("random") => ", random since nobody has set it",
            _ => "",
        };
        let admitted = token.admitted == Some(true) && token.state.is_none();
        let need = match (token.needed, admitted) {
            (true, _) => "needed to open it",
            (false, true) => "not needed, since an administrator has admitted it",
            (false, false) => "not needed to open it",
        };
        fact("VF token", Some(format!("{need}{state}")));
        fact("open VFs", token.open_vfs.map(|open| open.to_string()));
    }
    facts
}

/// Fails unless the device is under a VFIO driver and no program has it open.
fn ready(machine: &Machine, users: &Users, function: &Function) -> Result<()> {
    if function.vfio.is_none() {
        return Err(Failure::refused(format!(
            "{} has {}, not a VFIO driver",
            function.address,
            function.driver_name()
        ))
        .fix(format!("vfioctl doctor {}", function.address)));
    }
    if !users.of_function(function).is_empty() {
        return Err(open::in_use(machine, function));
    }
    Ok(())
}

/// Announces that a device is opened, which resets it, and opens it.
fn open_device(
    machine: &Machine,
    output: Output,
    function: &Function,
    token: Option<&Token>,
) -> Result<open::Device> {
    output.say(format_args!(
        "opening {}, which resets it",
        function.address
    ));
    open::open(machine, function, token)
        .map_err(|refusal| open::explain(machine, function, token.is_some(), &refusal))
}

pub fn features(
    machine: &Machine,
    output: Output,
    device: &str,
    file: Option<&Path>,
) -> Result<()> {
    let function = machine.find(device)?;
    ready(machine, &Users::of(machine), &function)?;
    let token = file.map(|file| Token::read(Some(file))).transpose()?;
    let device = open_device(machine, output, &function, token.as_ref())?;
    let features: Vec<_> = (0u16..)
        .zip(open::FEATURES)
        .map(|(index, name)| {
            let found = device.feature(index);
            let (get, set) = found.unwrap_or_default();
            report::Feature {
                index,
                name: name.to_owned(),
                supported: found.is_some(),
                get,
                set,
            }
        })
        .collect();
    drop(device);
    if output.json {
        output.object(&report::Features {
            address: function.address.to_string(),
            features,
        });
        return Ok(());
    }
    let word = |has: bool, word: &str| if has { word } else { "-" }.to_owned();
    let rows: Vec<_> = features
        .iter()
        .map(|feature| {
            vec![
                feature.index.to_string(),
                feature.name.clone(),
                word(feature.supported, "yes"),
                word(feature.get, "get"),
                word(feature.set, "set"),
            ]
        })
        .collect();
    output::table(&["INDEX", "FEATURE", "SUPPORTED", "GET", "SET"], &rows);
    Ok(())
}

/// Where `token set` gets its token, and where it puts it.
pub struct Source<'a> {
    pub generate: bool,
    pub output: Option<&'a Path>,
    pub file: Option<&'a Path>,
    pub wait: bool,
}

pub fn token_set(
    machine: &Machine,
    output: Output,
    device: &str,
    source: &Source<'_>,
) -> Result<()> {
    let pf = machine.find(device)?;
    is_pf(&pf)?;
    let mut users = Users::of(machine);
    ready(machine, &users, &pf)?;
    let token = if source.generate {
        Token::generate()
    } else {
        Token::read(source.file)?
    };
    // The file comes first: a token that is set but not stored would be of no use.
    let file = source
        .output
        .map(|path| NewFile::write(path, &token))
        .transpose()?;
    let interrupted = source.wait.then(interrupts);
    output.say(format_args!("opening {}, which resets it", pf.address));
    loop {
        if let Some(interrupted) = &interrupted {
            users = wait_for_vfs(machine, output, &pf, interrupted)?;
        }
        match set_token(machine, &users, &pf, &token) {
            // A VF was opened after the check.
            Err(failure)
                if failure.status == Status::InUse
                    && source.wait
                    && open::has_open_vfs(
                        machine,
                        &Users::of(machine),
                        &machine.get(pf.address)?,
                    ) => {}
            result => break result?,
        }
    }
    file.map(NewFile::keep).transpose()?;
    let printed = (source.generate && source.output.is_none()).then(|| token.text());
    let written = source.output.map(|path| path.display().to_string());
    if output.json {
        let token = printed.as_ref().map(|text| text.to_string());
        output.object(&report::Token {
            address: pf.address.to_string(),
            result: "set".into(),
            token,
            file: written,
        });
    } else if let Some(text) = printed {
        output::line(text.as_str());
    } else {
        let place = written
            .map(|path| format!(", and is in {path}"))
            .unwrap_or_default();
        output.tell(format_args!("the VF token of {} is set{place}", pf.address));
    }
    Ok(())
}

fn is_pf(function: &Function) -> Result<()> {
    match function.role {
        Role::Pf { .. } => Ok(()),
        Role::Vf { pf } => Err(Failure::refused(format!(
            "{} is a VF, and the token is that of its PF {pf}",
            function.address
        ))
        .fix(format!("vfioctl show {pf}"))),
        Role::Plain => Err(Failure::refused(format!(
            "{} has no SR-IOV, and so no VF token",
            function.address
        ))
        .fix("vfioctl list")),
    }
}

/// Opens a PF that none of the `users` has open, and sets its token.
pub fn set_token(machine: &Machine, users: &Users, pf: &Function, token: &Token) -> Result<()> {
    let address = pf.address;
    is_pf(pf)?;
    ready(machine, users, pf)?;
    let no_vfs = || {
        Failure::refused(format!(
            "the VF token of {address} cannot be set while it has no VFs"
        ))
        .fix(format!(
            "echo 1 >{}/sriov_numvfs",
            Machine::folder(address).display()
        ))
    };
    let pf = machine.get(pf.address)?;
    if open::has_open_vfs(machine, users, &pf) {
        return Err(vfs_are_open(machine, users, &pf));
    }
    // Do not ask a driver that is known to refuse it, since opening the PF resets it.
    if matches!(pf.role, Role::Pf { vfs: 0, .. })
        && pf.token.is_some()
        && !machine.is_on(machine.parameter(pf.driver_name(), "lenient_token"))
    {
        return Err(no_vfs());
    }
    output::debug(format_args!("opening {address} and setting its VF token"));
    let device = open::open(machine, &pf, None).map_err(|refusal| match refusal.errno {
        // Without a token the PF does not open because VFs are open.
        Errno::EACCES if !refusal.at_node => vfs_are_open(machine, &Users::of(machine), &pf),
        _ => open::explain(machine, &pf, false, &refusal),
    })?;
    device.set_vf_token(token).map_err(|errno| match errno {
        Errno::ENODEV => no_vfs(),
        Errno::EBUSY => vfs_are_open(machine, &Users::of(machine), &pf),
        _ => Failure::io(
            format_args!("the VF token of {address} cannot be set"),
            &errno.into(),
        ),
    })
}

fn vfs_are_open(machine: &Machine, users: &Users, pf: &Function) -> Failure {
    let open: Vec<_> = machine
        .vfs(pf.address)
        .iter()
        .map(|vf| (vf.address, users.of_function(vf)))
        .filter(|(_, processes)| !processes.is_empty())
        .map(|(address, processes)| format!("{address} by {}", users::names(&processes)))
        .collect();
    let who = if open.is_empty() {
        String::new()
    } else {
        format!(": {}", open.join("; "))
    };
    Failure::new(
        Status::InUse,
        format!(
            "the VF token of {} cannot be set while its VFs are open{who}",
            pf.address
        ),
    )
    .fix(format!(
        "vfioctl token set {} --wait, with the other options that were given",
        pf.address
    ))
}

/// Waits until no VF is open, and returns who has devices open then.
fn wait_for_vfs(
    machine: &Machine,
    output: Output,
    pf: &Function,
    interrupted: &AtomicBool,
) -> Result<Users> {
    let mut told = String::new();
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(
                Status::Interrupted,
                format!("interrupted: the VF token of {} was not set", pf.address),
            ));
        }
        // Read before the check, so that poll() below reports a change after it.
        let file = std::fs::File::open(
            machine.path(Machine::folder(pf.address).join("vf_token/open_vfs")),
        )
        .ok();
        if let Some(mut file) = file.as_ref() {
            std::io::Read::read(&mut file, &mut [0; 16]).ok();
        }
        let users = Users::of(machine);
        let pf = machine.get(pf.address)?;
        if !open::has_open_vfs(machine, &users, &pf) {
            return Ok(users);
        }
        let now = vfs_are_open(machine, &users, &pf).message;
        if now != told {
            output.say(format_args!("waiting (Ctrl-C ends it): {now}"));
            told = now;
        }
        // The file reports only VFs that are under the same driver, so check now and then, too.
        let fd = file
            .as_ref()
            .map(|file| PollFd::new(std::os::fd::AsFd::as_fd(file), PollFlags::POLLPRI));
        poll(
            &mut fd.into_iter().collect::<Vec<_>>(),
            PollTimeout::try_from(LOOK_AGAIN).unwrap_or(PollTimeout::ZERO),
        )
        .ok();
    }
}

/// The file that only vfio-pci-rust has.
fn admit_file(function: &Function) -> Result<std::path::PathBuf> {
    if function.token.is_none() {
        let text = match (&function.vfio, function.role) {
            (None, _) => format!(
                "{} has {}, not vfio-pci-rust",
                function.address,
                function.driver_name()
            ),
            (Some(_), Role::Plain) => {
                format!("{} has no SR-IOV, and so no VF token", function.address)
            }
            (Some(_), _) => format!(
                "{} is under {}, and only vfio-pci-rust can open a device for those who have no token",
                function.address,
                function.driver_name()
            ),
        };
        return Err(Failure::refused(text).fix(format!("vfioctl show {}", function.address)));
    }
    Ok(Machine::folder(function.address).join("vf_token/admit"))
}

/// Presents the token on behalf of the device.
pub fn admit(machine: &Machine, function: &Function, token: &Token) -> Result<()> {
    let file = admit_file(function)?;
    output::debug(format_args!("writing a token to {}", file.display()));
    let address = function.address;
    let error = match machine.write(&file, &token.text()) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let why = match error.raw_os_error().map(Errno::from_raw) {
        // The file belongs to root, so for others this is not the driver's answer.
        Some(Errno::EACCES) if geteuid().is_root() => "that is not the token of its PF",
        Some(Errno::EINVAL) => "its PF is under no VFIO driver, so it opens without a token",
        Some(Errno::EOPNOTSUPP) => "its PF is not under vfio-pci-rust, which alone asks for that",
        _ => {
            return Err(Failure::io(
                format_args!("{address} is not admitted"),
                &error,
            ));
        }
    };
    Err(
        Failure::refused(format!("{address} is not admitted: {why}"))
            .fix(format!("vfioctl show {address}")),
    )
}

pub fn token_admit(
    machine: &Machine,
    output: Output,
    device: &str,
    file: Option<&Path>,
) -> Result<()> {
    let function = machine.find(device)?;
    admit_file(&function)?;
    admit(machine, &function, &Token::read(file)?)?;
    done(
        output,
        function.address,
        "admitted",
        format_args!(
            "{} opens without a token now, until the token changes",
            function.address
        ),
    );
    Ok(())
}

pub fn token_withdraw(machine: &Machine, output: Output, device: &str) -> Result<()> {
    let function = machine.find(device)?;
    let file = admit_file(&function)?;
    machine.write(file, "none").map_err(|error| {
        Failure::io(
            format_args!("the admission of {} does not end", function.address),
            &error,
        )
    })?;
    done(
        output,
        function.address,
        "withdrawn",
        format_args!("{} needs a token again", function.address),
    );
    Ok(())
}

pub fn token_check(
    machine: &Machine,
    output: Output,
    device: &str,
    file: Option<&Path>,
) -> Result<()> {
    let function = machine.find(device)?;
    if !function.is_vf() {
        return Err(Failure::refused(format!(
            "{} is no VF: a PF may take the token that it is opened with as its own",
            function.address
        ))
        .fix(format!("vfioctl show {}", function.address)));
    }
    ready(machine, &Users::of(machine), &function)?;
    let token = Token::read(file)?;
    open_device(machine, output, &function, Some(&token))?;
    done(
        output,
        function.address,
        "opens",
        format_args!("{} opens with that token", function.address),
    );
    Ok(())
}

fn done(output: Output, address: Address, result: &str, text: std::fmt::Arguments<'_>) {
    if output.json {
        output.object(&report::Token {
            address: address.to_string(),
            result: result.into(),
            token: None,
            file: None,
        });
    } else {
        output.tell(text);
    }
}

/// Whether nothing was found to be wrong.
pub fn examine(
    machine: &Machine,
    output: Output,
    doctor: &Doctor<'_>,
    device: Option<&str>,
) -> Result<bool> {
    let examinations = match device {
        Some(device) => vec![examine_device(machine, doctor, device)?],
        None => {
            let mut all = vec![doctor.examine_machine()];
            all.extend(
                machine
                    .functions()
                    .iter()
                    .filter(|function| function.vfio.is_some())
                    .map(|function| doctor.examine(function)),
            );
            all
        }
    };
    let healthy = examinations
        .iter()
        .flat_map(|examination| &examination.checks)
        .all(|check| check.verdict != Verdict::Wrong);
    if output.json {
        output.object(&report::Doctor {
            healthy,
            examinations,
        });
        return Ok(healthy);
    }
    for Examination { address, checks } in &examinations {
        let name = address.as_deref().unwrap_or("this machine");
        let bold = output::BOLD;
        if !output.quiet {
            output::line(format_args!("{bold}{name}{bold:#}"));
        }
        for check in checks
            .iter()
            .filter(|check| !output.quiet || check.verdict == Verdict::Wrong)
        {
            output::line(output::check(check));
        }
    }
    Ok(healthy)
}

fn examine_device(machine: &Machine, doctor: &Doctor<'_>, device: &str) -> Result<Examination> {
    let absent = device
        .parse::<Address>()
        .ok()
        .filter(|address| machine.function(*address).is_none());
    if let Some((address, (pf, number))) =
        absent.and_then(|address| Some((address, machine.future_pf(address)?)))
    {
        return Ok(doctor.examine_future(&address.to_string(), &pf, number));
    }
    Ok(doctor.examine(&machine.find(device)?))
}
