// SPDX-License-Identifier: GPL-2.0-only

//! Opening a VFIO device, as its users do.

use std::{
    ffi::CStr,
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::errno::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_SET, VFIO_GROUP_FLAGS_VIABLE,
};
use zeroize::Zeroizing;

use crate::{
    failure::{Failure, Result, Status},
    ioctl,
    machine::{Function, Machine, Role},
    token::Token,
    users::{self, Users},
};

/// An open device, which is closed when this is dropped.
pub struct Device {
    device: OwnedFd,
    /// What must stay open meanwhile.
    _others: Vec<File>,
}

/// Why a device did not open: the call that failed, and its error.
#[derive(Debug)]
pub struct Refusal {
    pub call: String,
    /// Whether that was the opening of a node, which has its own permissions.
    pub at_node: bool,
    pub errno: Errno,
}

/// The names of the features, by index, as `linux/vfio.h` has them.
pub const FEATURES: [&str; 14] = [
    "PCI_VF_TOKEN",
    "MIGRATION",
    "MIG_DEVICE_STATE",
    "LOW_POWER_ENTRY",
    "LOW_POWER_ENTRY_WITH_WAKEUP",
    "LOW_POWER_EXIT",
    "DMA_LOGGING_START",
    "DMA_LOGGING_STOP",
    "DMA_LOGGING_REPORT",
    "MIG_DATA_SIZE",
    "BUS_MASTER",
    "DMA_BUF",
    "MIG_PRECOPY_INFOv2",
    "ZPCI_ERROR",
];

/// Opens the device by its character device if there is one, otherwise by its group and a container. This resets it.
pub fn open(
    machine: &Machine,
    function: &Function,
    token: Option<&Token>,
) -> Result<Device, Refusal> {
    let cdev = function
        .vfio
        .as_ref()
        .map(|name| format!("/dev/vfio/devices/{name}"));
    match cdev.filter(|path| machine.exists(path)) {
        Some(path) => open_by_cdev(machine, &path, token),
        None => open_by_group(machine, function, token),
    }
}

fn open_by_cdev(machine: &Machine, path: &str, token: Option<&Token>) -> Result<Device, Refusal> {
    let iommufd = open_file(machine, "/dev/iommu")?;
    let device = open_file(machine, path)?;
    ioctl::bind_iommufd(device.as_fd(), iommufd.as_fd(), token.map(Token::bytes))
        .map_err(call(format!("VFIO_DEVICE_BIND_IOMMUFD on {path}")))?;
    Ok(Device {
        device: device.into(),
        _others: vec![iommufd],
    })
}

fn open_by_group(
    machine: &Machine,
    function: &Function,
    token: Option<&Token>,
) -> Result<Device, Refusal> {
    let path = format!(
        "/dev/vfio/{}",
        function
            .group
            .ok_or_else(|| call("looking for the IOMMU group".into())(Errno::ENODEV))?
    );
    let container = open_file(machine, "/dev/vfio/vfio")?;
    let group = open_file(machine, &path)?;
    let flags = ioctl::group_flags(group.as_fd())
        .map_err(call(format!("VFIO_GROUP_GET_STATUS on {path}")))?;
    if flags & VFIO_GROUP_FLAGS_VIABLE == 0 {
        return Err(call(format!("group {path}, which is not viable"))(
            Errno::EPERM,
        ));
    }
    ioctl::set_container(group.as_fd(), container.as_fd())
        .map_err(call(format!("VFIO_GROUP_SET_CONTAINER on {path}")))?;
    ioctl::set_type1v2(container.as_fd())
        .map_err(call("VFIO_SET_IOMMU on /dev/vfio/vfio".into()))?;

    // Large enough for the whole text, so that it does not grow and leave a part of the token behind.
    let mut name = Zeroizing::new(Vec::with_capacity(64));
    name.extend_from_slice(function.address.to_string().as_bytes());
    if let Some(token) = token {
        name.extend_from_slice(b" vf_token=");
        name.extend_from_slice(token.text().as_bytes());
    }
    name.push(0);
    let text = CStr::from_bytes_with_nul(&name).expect("an address and a UUID have no NUL");
    let device = ioctl::open_in_group(group.as_fd(), text);
    Ok(Device {
        device: device.map_err(call(format!("VFIO_GROUP_GET_DEVICE_FD on {path}")))?,
        _others: vec![group, container],
    })
}

fn open_file(machine: &Machine, path: &str) -> Result<File, Refusal> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(machine.path(path))
        .map_err(|error| Refusal {
            call: format!("opening {path}"),
            at_node: true,
            errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        })
}

fn call(call: String) -> impl FnOnce(Errno) -> Refusal {
    |errno| Refusal {
        call,
        at_node: false,
        errno,
    }
}

impl Device {
    fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Sets the VF token of a PF.
    pub fn set_vf_token(&self, token: &Token) -> Result<(), Errno> {
        ioctl::set_vf_token(self.fd(), token.bytes())
    }

    /// Whether the device has a feature, and whether it offers GET and SET.
    pub fn feature(&self, index: u16) -> Option<(bool, bool)> {
        let has = |flags: u32| ioctl::probe_feature(self.fd(), u32::from(index) | flags).is_ok();
        has(0).then(|| (has(VFIO_DEVICE_FEATURE_GET), has(VFIO_DEVICE_FEATURE_SET)))
    }
}

/// Explains why a device did not open, with or without a token.
pub fn explain(
    machine: &Machine,
    function: &Function,
    with_token: bool,
    refusal: &Refusal,
) -> Failure {
    let address = function.address;
    let doctor = format!("vfioctl doctor {address}");
    match (refusal.errno, with_token) {
        (Errno::EACCES, _) if refusal.at_node => Failure::io(
            format_args!("{} failed", refusal.call),
            &io::Error::from_raw_os_error(Errno::EACCES as i32),
        ),
        (Errno::EACCES, true) => Failure::refused(format!(
            "{address} does not open with that token: it is not the one of {}",
            token_owner(machine, function)
        )),
        (Errno::EACCES, false) => Failure::refused(format!(
            "{address} does not open without a token: {}",
            who_knows_the_token(machine, function)
        ))
        .fix(format!("{doctor} --file FILE")),
        (Errno::EINVAL, true) if !token_is_asked_for(machine, function) => {
            Failure::refused(format!("{address} takes no token: nothing asks for one")).fix(doctor)
        }
        (Errno::EBUSY | Errno::EINVAL, _)
            if !Users::of(machine).of_function(function).is_empty() =>
        {
            in_use(machine, function)
        }
        (Errno::EBUSY, _) => Failure::new(
            Status::InUse,
            format!(
                "{address} is in use, or another device of its group is ({})",
                refusal.call
            ),
        )
        .fix(doctor),
        (errno, _) => Failure::io(
            format_args!("{address} does not open: {} failed", refusal.call),
            &io::Error::from_raw_os_error(errno as i32),
        )
        .fix(doctor),
    }
}

/// Whether the device needs a token to open, judging by its driver and that of its PF.
pub fn token_is_asked_for(machine: &Machine, function: &Function) -> bool {
    match function.role {
        Role::Vf { pf } => machine.is_under_vfio(pf),
        Role::Pf { .. } => true,
        Role::Plain => false,
    }
}

fn token_owner(machine: &Machine, function: &Function) -> String {
    match function.role {
        Role::Vf { pf } => format!(
            "PF {pf}{}",
            machine
                .function(pf)
                .map(|pf| held_by(machine, &pf))
                .unwrap_or_default()
        ),
        _ => "its open VFs".into(),
    }
}

/// Whether the token of the VF's PF has not been set, if its driver reports that.
pub fn token_is_random(machine: &Machine, vf: &Function) -> bool {
    let Role::Vf { pf } = vf.role else {
        return false;
    };
    let token = machine.function(pf).and_then(|pf| pf.token);
    token.is_some_and(|token| token.state.as_deref() == Some("random"))
}

/// Where to get the token of a device.
pub fn who_knows_the_token(machine: &Machine, function: &Function) -> String {
    let Role::Vf { pf } = function.role else {
        return "it has open VFs, so it takes the token that they were opened with".into();
    };
    let Some(pf) = machine.function(pf) else {
        return "its PF is under VFIO".into();
    };
    let under = format!("its PF {} is under {}", pf.address, pf.driver_name());
    let processes = Users::of(machine).of_function(&pf);
    if token_is_random(machine, function) {
        format!("{under}, and nobody has set its token yet")
    } else if processes.is_empty() {
        format!("{under}, so ask whoever set its token")
    } else {
        format!("{under}, so ask the user of {}", users::names(&processes))
    }
}

fn held_by(machine: &Machine, function: &Function) -> String {
    let processes = Users::of(machine).of_function(function);
    if processes.is_empty() {
        String::new()
    } else {
        format!(", which {} has open", users::names(&processes))
    }
}

/// The failure for a device that is open.
pub fn in_use(machine: &Machine, function: &Function) -> Failure {
    let processes = Users::of(machine).of_function(function);
    let failure = Failure::new(
        Status::InUse,
        format!(
            "{} is in use by {}",
            function.address,
            users::names(&processes)
        ),
    );
    match processes.first() {
        Some(process) => failure.fix(format!("kill {}", process.pid)),
        None => failure,
    }
}

/// Whether the device needs a token to open now, unless it is admitted.
pub fn needs_token(machine: &Machine, users: &Users, function: &Function) -> bool {
    match function.role {
        Role::Pf { .. } => has_open_vfs(machine, users, function),
        Role::Vf { .. } | Role::Plain => token_is_asked_for(machine, function),
    }
}

/// Whether a VF of the PF is open, according to its driver, or else to the processes.
pub fn has_open_vfs(machine: &Machine, users: &Users, pf: &Function) -> bool {
    match pf.token.as_ref().and_then(|token| token.open_vfs) {
        Some(open) => open > 0,
        None => machine
            .vfs(pf.address)
            .iter()
            .any(|vf| !users.of_function(vf).is_empty()),
    }
}
