// SPDX-License-Identifier: GPL-2.0-only

//! Errors, and the exit status.

use std::{fmt, io, process::ExitCode};

/// Exit status. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The kernel refused, or something is wrong.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The user has no permission.
    NotPermitted = 3,
    /// There is no such device.
    NoDevice = 4,
    /// The device is in use.
    InUse = 5,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Why a command failed: a sentence, and a command that fixes it, if there is one.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
    pub fix: Option<String>,
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            fix: None,
        }
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Status::Refused, message)
    }

    /// A system call that failed: `what` says what was done, as in "cannot open /dev/vfio/12".
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::PermissionDenied => Status::NotPermitted,
            io::ErrorKind::ResourceBusy => Status::InUse,
            _ => Status::Refused,
        };
        let failure = Self::new(status, format!("{what}: {}", reason(error)));
        if status == Status::NotPermitted && !nix::unistd::geteuid().is_root() {
            return failure.fix("run the command as root (sudo)");
        }
        failure
    }

    /// Adds what to do.
    pub fn fix(self, command: impl Into<String>) -> Self {
        Self {
            fix: Some(command.into()),
            ..self
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure.status as u8)
    }
}

/// An error of the kernel, without the number that Rust adds to it.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
