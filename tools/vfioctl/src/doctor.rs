// SPDX-License-Identifier: GPL-2.0-only

//! The conditions for opening a device, in the order in which the kernel checks them.

use std::{path::PathBuf, process::Command};

use nix::unistd::{AccessFlags, User, access, geteuid};

use crate::{
    denylist,
    failure::{Failure, Result},
    ioctl,
    machine::{Function, Machine, Role},
    open,
    report::{Check, Examination, Verdict},
    token::Token,
    users::{self, Users},
};

/// The memory that a user may lock by default.
const DEFAULT_MEMLOCK: u64 = 8 << 20;

/// The user whose programs are to open the device, and the token.
pub struct Doctor<'a> {
    pub machine: &'a Machine,
    pub users: &'a Users,
    /// `None` is the user who runs this.
    pub user: Option<User>,
    pub token: Option<&'a Token>,
    /// Whether the device may be opened as the last check.
    pub open: bool,
}

/// The result of one rule.
enum Finding {
    Ok(String),
    Note(String),
    Wrong(String, Option<String>),
    /// The rule does not apply to this device.
    None,
}

use Finding::{None as Nothing, Note, Ok as Fine, Wrong};

fn wrong(text: impl Into<String>, fix: impl Into<String>) -> Finding {
    Wrong(text.into(), Some(fix.into()))
}

impl Doctor<'_> {
    /// Checks what concerns all devices.
    pub fn examine_machine(&self) -> Examination {
        run(
            None,
            &[
                ("kernel", &|| self.kernel()),
                ("iommu", &|| self.iommu()),
                ("module", &|| self.module(None)),
                ("memlock", &|| self.memlock()),
            ],
        )
    }

    /// Checks a device.
    pub fn examine(&self, function: &Function) -> Examination {
        run(
            Some(function.address.to_string()),
            &[
                ("kernel", &|| self.kernel()),
                ("iommu", &|| self.iommu()),
                ("kind", &|| kind(function)),
                ("group", &|| self.group(function)),
                ("denylist", &|| self.denylist(function)),
                ("module", &|| self.module(Some(function))),
                ("driver", &|| self.driver(function)),
                ("power", &|| self.power(function)),
                ("viable", &|| self.viable(function)),
                ("container", &|| self.container(function)),
                ("iommufd", &|| self.iommufd(function)),
                ("node", &|| self.node(function)),
                ("rights", &|| self.rights(function)),
                ("memlock", &|| self.memlock()),
                ("users", &|| self.users(function)),
                ("sriov", &|| self.sriov(function)),
                ("token", &|| self.token(function)),
                ("open", &|| self.opens(function)),
            ],
        )
    }

    /// A VF that does not exist, since its PF does not have that many VFs.
    pub fn examine_future(&self, address: &str, pf: &Function, n: u32) -> Examination {
        run(
            Some(address.to_owned()),
            &[
                ("kernel", &|| self.kernel()),
                ("iommu", &|| self.iommu()),
                ("enable_sriov", &|| self.enable_sriov(pf)),
                ("vfs", &|| self.too_few_vfs(pf, n)),
            ],
        )
    }

    fn kernel(&self) -> Finding {
        let Some(release) = self.machine.read("/proc/sys/kernel/osrelease") else {
            return Nothing;
        };
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|n| n.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < (5, 7) {
            return wrong(
                format!("Linux {release} is too old: VF tokens came with 5.7"),
                "apt install linux-image-amd64",
            );
        }
        Fine(format!("Linux {release}"))
    }

    fn has_iommu(&self) -> bool {
        // VFIO also creates groups, in its unsafe mode without an IOMMU.
        let folder = "/sys/kernel/iommu_groups";
        let is_real = |number: &String| {
            let name = self.machine.read(format!("{folder}/{number}/name"));
            name.as_deref() != Some("vfio-noiommu")
        };
        !self.machine.names("/sys/class/iommu").is_empty()
            || self.machine.names(folder).iter().any(is_real)
    }

    fn noiommu(&self) -> bool {
        self.machine
            .is_on("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")
    }

    fn iommu(&self) -> Finding {
        if self.has_iommu() {
            return Fine("the IOMMU is on".into());
        }
        if self.noiommu() {
            return Note("the IOMMU is off, and VFIO's unsafe mode without one is on: a program that uses a device can read and write all memory".into());
        }
        let tables = "/sys/firmware/acpi/tables";
        let (argument, there) = if self.machine.exists(format!("{tables}/DMAR")) {
            ("intel_iommu=on", true)
        } else {
            ("iommu=on", self.machine.exists(format!("{tables}/IVRS")))
        };
        if !there && self.machine.exists(tables) {
            return Wrong("the IOMMU is off: switch it on in the firmware's settings, where it is called VT-d, AMD-Vi or SMMU".into(), None);
        }
        let fix = if self.machine.exists("/usr/sbin/grubby") || self.machine.exists("/sbin/grubby")
        {
            format!("grubby --update-kernel=ALL --args={argument} && reboot")
        } else {
            format!(
                "mkdir -p /etc/default/grub.d && echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {argument}\"' >/etc/default/grub.d/vfio.cfg && update-grub && reboot"
            )
        };
        wrong(
            format!("the IOMMU is off: the kernel's command line needs {argument}"),
            fix,
        )
    }

    fn group(&self, function: &Function) -> Finding {
        match function.group {
            Some(number) if self.is_noiommu(function) => Note(format!(
                "it is in group {number} without an IOMMU: only programs with CAP_SYS_RAWIO can open it, by /dev/vfio/noiommu-{number}"
            )),
            Some(number) => Fine(format!("it is in IOMMU group {number}")),
            None if !self.has_iommu() => Nothing,
            None => Wrong(
                "it has no IOMMU group: no IOMMU of the machine covers it".into(),
                None,
            ),
        }
    }

    fn is_noiommu(&self, function: &Function) -> bool {
        function.group.is_some_and(|number| {
            self.machine
                .exists(format!("/sys/class/vfio/noiommu-{number}"))
        })
    }

    fn denylist(&self, function: &Function) -> Finding {
        if function.vfio.is_some() || !denylist::has(function.vendor, function.device) {
            return Nothing;
        }
        let (driver, module) = self.best_driver();
        if self
            .machine
            .is_on(self.machine.parameter(driver, "disable_denylist"))
        {
            return Note("it is on the driver's denylist, which is switched off: an untrusted user of it can harm the machine".into());
        }
        wrong(
            format!(
                "it is on the denylist of {driver}: an untrusted user of it can harm the machine"
            ),
            format!("modprobe -r {module}; modprobe {module} disable_denylist=1"),
        )
    }

    /// The VFIO driver to recommend, and its module: one that is loaded, or else installed.
    fn best_driver(&self) -> (&'static str, &'static str) {
        const RUST: (&str, &str) = ("vfio-pci-rust", "vfio_pci_rust");
        const C: (&str, &str) = ("vfio-pci", "vfio_pci");
        let loaded = |(driver, _): (&str, &str)| {
            self.machine
                .exists(format!("/sys/bus/pci/drivers/{driver}"))
        };
        [RUST, C]
            .into_iter()
            .find(|driver| loaded(*driver))
            .unwrap_or_else(|| {
                let release = self
                    .machine
                    .read("/proc/sys/kernel/osrelease")
                    .unwrap_or_default();
                let list = self
                    .machine
                    .path(format!("/lib/modules/{release}/modules.dep"));
                let installed = std::fs::read_to_string(list).unwrap_or_default();
                if installed.contains("/vfio-pci-rust.ko") {
                    RUST
                } else {
                    C
                }
            })
    }

    fn module(&self, function: Option<&Function>) -> Finding {
        if let Some(function) = function.filter(|function| function.vfio.is_some()) {
            return Fine(format!("the driver {} is there", function.driver_name()));
        }
        let (driver, module) = self.best_driver();
        if self
            .machine
            .exists(format!("/sys/bus/pci/drivers/{driver}"))
        {
            return Fine(format!("the driver {driver} is there"));
        }
        let lockdown = self
            .machine
            .read("/sys/kernel/security/lockdown")
            .unwrap_or_default();
        let locked = if lockdown.contains("[integrity]") || lockdown.contains("[confidentiality]") {
            ", and the kernel is locked down, so it loads signed modules only"
        } else {
            ""
        };
        wrong(
            format!("no VFIO driver for PCI devices is loaded{locked}"),
            format!("modprobe {module}"),
        )
    }

    fn driver(&self, function: &Function) -> Finding {
        let address = function.address;
        if function.vfio.is_some() {
            return Fine(format!("{} has it", function.driver_name()));
        }
        let (driver, _) = self.best_driver();
        let folder = Machine::folder(address);
        let folder = folder.display();
        let unbind = if function.driver.is_some() {
            format!("echo {address} >{folder}/driver/unbind && ")
        } else {
            String::new()
        };
        let fix = format!(
            "echo {driver} >{folder}/driver_override && {unbind}echo {address} >/sys/bus/pci/drivers_probe"
        );
        match (&function.driver, &function.driver_override) {
            (Some(other), _) => wrong(format!("{other} has it, which is not a VFIO driver"), fix),
            (None, Some(name)) if name != driver => wrong(
                format!(
                    "no driver has it: its driver_override is {name}, and there is no such driver, or it does not take it"
                ),
                fix,
            ),
            (None, _) => wrong("no driver has it", fix),
        }
    }

    fn power(&self, function: &Function) -> Finding {
        let folder = Machine::folder(function.address);
        match self
            .machine
            .read(folder.join("power/runtime_status"))
            .as_deref()
        {
            Some("error") => wrong(
                "it did not wake up when the kernel asked it to",
                format!("echo on >{}/power/control", folder.display()),
            ),
            Some(_)
                if self.machine.read(folder.join("power_state")).as_deref() == Some("D3cold") =>
            {
                Note("it is switched off (D3cold); opening it wakes it".into())
            }
            Some(status) => Fine(format!("its power management is in order ({status})")),
            None => Nothing,
        }
    }

    fn viable(&self, function: &Function) -> Finding {
        let Some(number) = function.group.filter(|_| !self.is_noiommu(function)) else {
            return Nothing;
        };
        let members = self.machine.group(number);
        // The kernel tolerates these, see driver_managed_dma.
        let harmless = |member: &Function| {
            member.vfio.is_some()
                || matches!(
                    member.driver.as_deref(),
                    None | Some("pci-stub" | "pcieport" | "vfio-pci" | "vfio-pci-rust")
                )
        };
        match members.iter().find(|member| !harmless(member)) {
            Some(member) => wrong(
                format!(
                    "IOMMU group {number} is not viable: {} is in it, too, and is bound to {}",
                    member.address,
                    member.driver_name()
                ),
                format!(
                    "echo {} >{}/driver/unbind",
                    member.address,
                    Machine::folder(member.address).display()
                ),
            ),
            None if members.len() > 1 => Note(format!(
                "its IOMMU group has {} devices, which only one program can use at a time",
                members.len()
            )),
            None => Fine(format!("IOMMU group {number} is viable")),
        }
    }

    /// The node of a group in /dev/vfio.
    fn group_node(&self, function: &Function) -> Option<String> {
        let number = function.group?;
        let name = if self.is_noiommu(function) {
            format!("noiommu-{number}")
        } else {
            number.to_string()
        };
        self.machine
            .exists(format!("/sys/class/vfio/{name}"))
            .then_some(name)
    }

    fn has_cdev(&self, function: &Function) -> Option<String> {
        let name = function.vfio.as_ref()?;
        self.machine
            .exists(Machine::folder(function.address).join(format!("vfio-dev/{name}/dev")))
            .then(|| name.clone())
    }

    fn container(&self, function: &Function) -> Finding {
        if self.group_node(function).is_none() || self.is_noiommu(function) {
            return Nothing;
        }
        let needs = "programs that open it by its group, such as DPDK";
        if !self.machine.exists("/dev/vfio/vfio") {
            return wrong(
                format!("there is no /dev/vfio/vfio, which {needs} need"),
                "modprobe vfio && mkdir -p /dev/vfio && mknod -m 666 /dev/vfio/vfio c 10 196",
            );
        }
        let there = if self.machine.is_real() {
            let container = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/vfio/vfio");
            // Another rule reports a user who cannot open it.
            container.map_or(true, |container| {
                ioctl::has_type1v2(std::os::fd::AsFd::as_fd(&container))
                    == std::result::Result::Ok(true)
            })
        } else {
            self.machine.exists("/sys/module/vfio_iommu_type1")
                || self.machine.exists("/sys/module/iommufd")
        };
        if there {
            Fine("the IOMMU can be used by containers".into())
        } else {
            wrong(
                format!("the module vfio_iommu_type1 is not loaded, which {needs} need"),
                "modprobe vfio_iommu_type1",
            )
        }
    }

    fn iommufd(&self, function: &Function) -> Finding {
        if self.has_cdev(function).is_none() {
            return Nothing;
        }
        if self.machine.exists("/dev/iommu") {
            return Fine("iommufd is there".into());
        }
        let fix = match self.machine.read("/sys/class/misc/iommu/dev") {
            Some(number) => format!("mknod -m 660 /dev/iommu c {}", number.replace(':', " ")),
            None => "modprobe iommufd".into(),
        };
        wrong(
            "there is no /dev/iommu, which programs that open the character device need",
            fix,
        )
    }

    /// The nodes of the device that exist, with the files in sysfs that have their numbers.
    fn nodes(&self, function: &Function) -> Vec<(String, PathBuf)> {
        let group = self.group_node(function).map(|name| {
            (
                format!("/dev/vfio/{name}"),
                PathBuf::from(format!("/sys/class/vfio/{name}/dev")),
            )
        });
        let cdev = self.has_cdev(function).map(|name| {
            let number = Machine::folder(function.address).join(format!("vfio-dev/{name}/dev"));
            (format!("/dev/vfio/devices/{name}"), number)
        });
        group.into_iter().chain(cdev).collect()
    }

    fn node(&self, function: &Function) -> Finding {
        let nodes = self.nodes(function);
        for (node, number) in &nodes {
            if !self.machine.exists(node) {
                let number = self
                    .machine
                    .read(number)
                    .unwrap_or_default()
                    .replace(':', " ");
                let folder = PathBuf::from(node)
                    .parent()
                    .map(|folder| folder.display().to_string())
                    .unwrap_or_default();
                return wrong(
                    format!("the node {node} is missing"),
                    format!("mkdir -p {folder} && mknod -m 600 {node} c {number}"),
                );
            }
        }
        if nodes.is_empty() {
            return Wrong("VFIO has created no node for it: the kernel has neither CONFIG_VFIO_GROUP nor CONFIG_VFIO_DEVICE_CDEV".into(), None);
        }
        let names: Vec<_> = nodes.into_iter().map(|(node, _)| node).collect();
        Fine(format!("it has {}", names.join(" and ")))
    }

    /// The user's name for a sentence.
    fn who(&self) -> String {
        let me = || {
            User::from_uid(geteuid())
                .ok()
                .flatten()
                .map_or_else(|| format!("user {}", geteuid()), |user| user.name)
        };
        self.user.as_ref().map_or_else(me, |user| user.name.clone())
    }

    /// Whether the user is root, for whom the kernel checks no permissions.
    fn is_root(&self) -> bool {
        self.user
            .as_ref()
            .map_or_else(|| geteuid().is_root(), |user| user.uid.is_root())
    }

    /// Whether the user can read and write all of the files.
    fn can_use(&self, files: &[String]) -> bool {
        let mut paths = files.iter().map(|file| self.machine.path(file));
        let Some(user) = self.user.as_ref().filter(|user| user.uid != geteuid()) else {
            return paths.all(|path| access(&path, AccessFlags::R_OK | AccessFlags::W_OK).is_ok());
        };
        // This includes all of the user's groups, and access control lists, which the mode does not show.
        paths.all(|path| {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", user.uid))
                .arg(format!("--regid={}", user.gid))
                .args([
                    "--init-groups",
                    "--",
                    "sh",
                    "-c",
                    "test -r \"$0\" && test -w \"$0\"",
                ])
                .arg(path);
            command
                .stderr(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    }

    fn rights(&self, function: &Function) -> Finding {
        let who = self.who();
        if self.is_root() {
            return Fine(format!("{who} can open the nodes"));
        }
        if self.is_noiommu(function) {
            return Wrong(
                format!("{who} cannot open it: without an IOMMU only root can"),
                None,
            );
        }
        if self.user.is_some()
            && !geteuid().is_root()
            && self.user.as_ref().is_some_and(|user| user.uid != geteuid())
        {
            return Note(format!("only root can tell what {who} can open"));
        }
        // Either way is enough.
        let group = self
            .group_node(function)
            .map(|name| vec![format!("/dev/vfio/{name}"), "/dev/vfio/vfio".into()]);
        let cdev = self
            .has_cdev(function)
            .map(|name| vec![format!("/dev/vfio/devices/{name}"), "/dev/iommu".into()]);
        let ways: Vec<_> = group.into_iter().chain(cdev).collect();
        if let Some(files) = ways.iter().find(|files| self.can_use(files)) {
            return Fine(format!("{who} can open {}", files[0]));
        }
        let Some(files) = ways.first() else {
            return Nothing;
        };
        let shared = if self.can_use(&files[1..]) {
            String::new()
        } else {
            format!(" && chmod a+rw {}", files[1])
        };
        wrong(
            format!("{who} cannot open {}", files[0]),
            format!("chown {who} {}{shared}", files[0]),
        )
    }

    fn memlock(&self) -> Finding {
        if self.is_root() || !self.machine.is_real() {
            return Nothing;
        }
        let who = self.who();
        let limit = match &self.user {
            Some(user) if user.uid != geteuid() => {
                if !geteuid().is_root() {
                    return Note(format!("only root can tell how much memory {who} may lock"));
                }
                // In a session of that user, since PAM reads /etc/security/limits.conf.
                let output = Command::new("runuser")
                    .args([
                        "-s",
                        "/bin/sh",
                        "-c",
                        "ulimit -H -l; ulimit -l",
                        "-l",
                        &user.name,
                    ])
                    .output();
                let text = output
                    .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                    .unwrap_or_default();
                match text.lines().last().map(str::trim) {
                    Some("unlimited") => u64::MAX,
                    Some(kib) => match kib.parse::<u64>() {
                        std::result::Result::Ok(kib) => kib.saturating_mul(1024),
                        Err(_) => {
                            return Note(format!(
                                "how much memory {who} may lock is unknown: runuser failed"
                            ));
                        }
                    },
                    None => {
                        return Note(format!(
                            "how much memory {who} may lock is unknown: runuser failed"
                        ));
                    }
                }
            }
            _ => {
                match nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK) {
                    std::result::Result::Ok((soft, _)) => soft,
                    Err(_) => return Nothing,
                }
            }
        };
        if limit == u64::MAX {
            return Fine(format!("{who} may lock all memory"));
        }
        let size = format!("{} MiB", limit >> 20);
        if limit > DEFAULT_MEMLOCK {
            return Note(format!(
                "{who} may lock {size} of memory, so a program cannot map more than that for DMA"
            ));
        }
        wrong(
            format!(
                "{who} may lock {size} of memory only (memlock): mapping more than that for DMA fails"
            ),
            format!("echo '{who} - memlock unlimited' >/etc/security/limits.d/vfio-{who}.conf"),
        )
    }

    fn users(&self, function: &Function) -> Finding {
        let processes = self.users.of_function(function);
        match processes.first() {
            Some(first) => wrong(
                format!("it is in use by {}", users::names(&processes)),
                format!("kill {}", first.pid),
            ),
            None if geteuid().is_root() || !self.machine.is_real() => {
                Fine("nobody has it open".into())
            }
            None => {
                Note("none of your programs has it open; only root can see those of others".into())
            }
        }
    }

    fn sriov(&self, function: &Function) -> Finding {
        match function.role {
            Role::Pf { vfs: 0, total } => Note(format!(
                "it has no VFs, and can have {total}: write the number to {}/sriov_numvfs",
                Machine::folder(function.address).display()
            )),
            Role::Pf { vfs, total } => Fine(format!("it has {vfs} of {total} VFs")),
            Role::Vf { pf } => Fine(format!("it is a VF of PF {pf}")),
            Role::Plain => Nothing,
        }
    }

    fn token(&self, function: &Function) -> Finding {
        let address = function.address;
        let needed = open::needs_token(self.machine, self.users, function);
        let admitted = function.token.as_ref().and_then(|token| token.admitted) == Some(true);
        match (needed, self.token.is_some()) {
            (true, false) if admitted => {
                Fine("an administrator has admitted it, so it opens without a token".into())
            }
            (true, false) => {
                let fix = match (function.role, &function.token) {
                    (Role::Vf { pf }, _) if open::token_is_random(self.machine, function) => {
                        format!("vfioctl token set {pf} --generate --output FILE")
                    }
                    (_, Some(_)) => format!("vfioctl token admit {address} --file FILE"),
                    (_, None) => format!("vfioctl doctor {address} --file FILE"),
                };
                wrong(
                    format!(
                        "a VF token is needed: {}",
                        open::who_knows_the_token(self.machine, function)
                    ),
                    fix,
                )
            }
            (true, true) => Fine("a VF token is needed, and given".into()),
            (false, true) if !matches!(function.role, Role::Pf { .. }) => {
                let why = if function.is_vf() {
                    "its PF is under no VFIO driver"
                } else {
                    "it does not use SR-IOV"
                };
                wrong(
                    format!("a VF token is given, but nothing asks for one: {why}"),
                    format!("vfioctl doctor {address}"),
                )
            }
            (false, true) => {
                Note("no VF is open, so it opens with any token, and that becomes its token".into())
            }
            (false, false) if function.is_vf() => {
                Fine("it opens without a token, since its PF is not under VFIO".into())
            }
            (false, false) => Nothing,
        }
    }

    /// Opens the device as a proof. A PF without open VFs would take the token as its own.
    fn opens(&self, function: &Function) -> Finding {
        let changes = matches!(function.role, Role::Pf { .. })
            && !open::has_open_vfs(self.machine, self.users, function);
        let token = self.token.filter(|_| !changes);
        if !self.machine.is_real() || !(self.open || token.is_some()) {
            return Nothing;
        }
        match open::open(self.machine, function, token) {
            std::result::Result::Ok(_) => Fine(format!(
                "it opens{}",
                token.map_or("", |_| " with that token")
            )),
            Err(refusal) => {
                let Failure { message, fix, .. } =
                    open::explain(self.machine, function, token.is_some(), &refusal);
                // The advice to run the doctor does not help here.
                Wrong(
                    message,
                    fix.filter(|fix| !fix.starts_with("vfioctl doctor")),
                )
            }
        }
    }

    fn enable_sriov(&self, pf: &Function) -> Finding {
        if pf.vfio.is_none() {
            return Nothing;
        }
        let file = self.machine.parameter(pf.driver_name(), "enable_sriov");
        match self.machine.read(&file).as_deref() {
            Some("N") => wrong(
                format!(
                    "{} creates no VFs of PF {}: its parameter enable_sriov is off",
                    pf.driver_name(),
                    pf.address
                ),
                format!("echo Y >{}", file.display()),
            ),
            Some(_) => Fine(format!("{} creates VFs", pf.driver_name())),
            None => Nothing,
        }
    }

    fn too_few_vfs(&self, pf: &Function, n: u32) -> Finding {
        let Role::Pf { vfs, .. } = pf.role else {
            return Nothing;
        };
        let file = Machine::folder(pf.address).join("sriov_numvfs");
        // The kernel changes the number only from and to 0.
        let first = if vfs > 0 {
            format!("echo 0 >{} && ", file.display())
        } else {
            String::new()
        };
        wrong(
            format!("it would be VF {n} of PF {}, which has {vfs}", pf.address),
            format!("{first}echo {} >{}", n + 1, file.display()),
        )
    }
}

fn kind(function: &Function) -> Finding {
    if function.is_bridge() && function.vfio.is_none() {
        return Wrong("it is a bridge, which VFIO does not support".into(), None);
    }
    Nothing
}

type Rule<'a> = (&'static str, &'a dyn Fn() -> Finding);

/// Checks the rules up to the first that finds something wrong.
fn run(address: Option<String>, rules: &[Rule<'_>]) -> Examination {
    let mut checks = Vec::new();
    for (name, rule) in rules {
        let (verdict, text, fix) = match rule() {
            Nothing => continue,
            Fine(text) => (Verdict::Ok, text, None),
            Note(text) => (Verdict::Note, text, None),
            Wrong(text, fix) => (Verdict::Wrong, text, fix),
        };
        checks.push(Check {
            check: (*name).to_owned(),
            verdict,
            text,
            fix,
        });
        if verdict == Verdict::Wrong {
            break;
        }
    }
    Examination { address, checks }
}

/// Looks a user up.
pub fn user(name: &str) -> Result<User> {
    User::from_name(name)
        .ok()
        .flatten()
        .ok_or_else(|| Failure::refused(format!("there is no user {name}")).fix("getent passwd"))
}

#[cfg(test)]
mod tests;
