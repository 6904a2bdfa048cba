// SPDX-License-Identifier: GPL-2.0-only

//! The programs that have VFIO files open.

use std::{collections::HashMap, fmt, fs};

use schemars::JsonSchema;
use serde::Serialize;

use crate::machine::{Function, Machine};

/// A program that has a device or its group open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    pub pid: u32,
    /// The program's name, as `ps` prints it.
    pub program: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.program, self.pid)
    }
}

/// Which programs have which files open. Only root sees all; other users see their own programs.
#[derive(Default)]
pub struct Users {
    by_file: HashMap<String, Vec<Process>>,
}

/// The target of an open device in `/proc/PID/fd`, in whichever way it was opened.
const DEVICE: &str = "anon_inode:[vfio-device]";

impl Users {
    /// Looks at every file descriptor of every process, once.
    pub fn of(machine: &Machine) -> Self {
        let mut users = Self::default();
        for pid in machine
            .names("/proc")
            .iter()
            .filter_map(|name| name.parse().ok())
        {
            users.add_files_of(machine, pid);
        }
        users
    }

    fn add_files_of(&mut self, machine: &Machine, pid: u32) {
        for fd in machine.names(format!("/proc/{pid}/fd")) {
            let Ok(target) = fs::read_link(machine.path(format!("/proc/{pid}/fd/{fd}"))) else {
                continue;
            };
            let Some(mut file) = target.to_str().map(str::to_owned) else {
                continue;
            };
            if file == DEVICE {
                let info = machine
                    .read(format!("/proc/{pid}/fdinfo/{fd}"))
                    .unwrap_or_default();
                let Some(path) = info
                    .lines()
                    .find_map(|line| line.strip_prefix("vfio-device-syspath:"))
                else {
                    continue;
                };
                file = path.rsplit('/').next().unwrap_or_default().to_owned();
            } else if !file.starts_with("/dev/vfio/") || file == "/dev/vfio/vfio" {
                continue;
            }
            let program = || {
                machine
                    .read(format!("/proc/{pid}/comm"))
                    .unwrap_or_default()
            };
            let processes = self.by_file.entry(file).or_default();
            if processes.iter().all(|process| process.pid != pid) {
                processes.push(Process {
                    pid,
                    program: program(),
                });
            }
        }
    }

    /// The programs that have the function open, or its node, or its group.
    pub fn of_function(&self, function: &Function) -> Vec<Process> {
        let files = [
            Some(function.address.to_string()),
            function
                .vfio
                .as_ref()
                .map(|name| format!("/dev/vfio/devices/{name}")),
            function.group.map(|number| format!("/dev/vfio/{number}")),
            function
                .group
                .map(|number| format!("/dev/vfio/noiommu-{number}")),
        ];
        let mut all: Vec<Process> = Vec::new();
        for process in files
            .iter()
            .flatten()
            .filter_map(|file| self.by_file.get(file))
            .flatten()
        {
            if !all.contains(process) {
                all.push(process.clone());
            }
        }
        all.sort_by_key(|process| process.pid);
        all
    }
}

/// Several programs, for a sentence.
pub fn names(processes: &[Process]) -> String {
    processes
        .iter()
        .map(Process::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
