// SPDX-License-Identifier: GPL-2.0-only

//! PCI functions and VFIO, as sysfs shows them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    address::Address,
    failure::{Failure, Result, Status},
};

/// A machine, as it appears below a directory: `/`, or one that a test has created.
pub struct Machine {
    root: PathBuf,
}

/// The role of a function in SR-IOV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Plain,
    /// A physical function, with the number of its VFs and the number that it can have.
    Pf {
        vfs: u32,
        total: u32,
    },
    /// A virtual function of that PF.
    Vf {
        pf: Address,
    },
}

/// The files of `vf_token/`, which only vfio-pci-rust has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFiles {
    /// Whether the device opens without a token. `None` if this user cannot read the file.
    pub admitted: Option<bool>,
    /// Of a PF: `set` or `random`.
    pub state: Option<String>,
    pub generation: Option<u64>,
    pub open_vfs: Option<u32>,
}

/// A PCI function.
#[derive(Clone, Debug)]
pub struct Function {
    pub address: Address,
    pub vendor: u16,
    pub device: u16,
    /// Class, subclass and programming interface.
    pub class: u32,
    pub driver: Option<String>,
    pub driver_override: Option<String>,
    pub role: Role,
    pub group: Option<u32>,
    /// The name below `/dev/vfio/devices`. Exactly the functions under a VFIO driver have one.
    pub vfio: Option<String>,
    pub token: Option<TokenFiles>,
}

impl Function {
    pub fn is_vf(&self) -> bool {
        matches!(self.role, Role::Vf { .. })
    }

    /// Whether it is a bridge, which no VFIO driver binds.
    pub fn is_bridge(&self) -> bool {
        self.class >> 16 == 0x06
    }

    /// The driver's name, for a sentence.
    pub fn driver_name(&self) -> &str {
        self.driver.as_deref().unwrap_or("no driver")
    }
}

impl Machine {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether this is the machine that the program runs on, the only one to which system calls apply.
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The real path of a file of the machine. `path` is absolute.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file of sysfs or procfs that is no longer than a page, without the newline. `None` if it
    /// cannot be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read_file(path.as_ref()).ok()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        let mut page = [0; 4096];
        // One call reads all of it; there can be a thousand of these files.
        let length = fs::File::open(self.path(path))?.read(&mut page)?;
        let text = std::str::from_utf8(&page[..length]).map_err(io::Error::other)?;
        Ok(text.trim_end().to_owned())
    }

    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// The last component of the target of a link.
    pub fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The names in a directory, sorted; none if it does not exist.
    pub fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Writes a file of sysfs.
    pub fn write(&self, path: impl AsRef<Path>, text: &str) -> io::Result<()> {
        let path = self.path(path);
        // Without O_CREAT and O_TRUNC, since files in sysfs cannot be created.
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        io::Write::write_all(&mut file, text.as_bytes())
    }

    /// The directory of a PCI function.
    pub fn folder(address: Address) -> PathBuf {
        Path::new("/sys/bus/pci/devices").join(address.to_string())
    }

    /// All PCI functions, by address.
    pub fn functions(&self) -> Vec<Function> {
        let mut functions: Vec<_> = self
            .names("/sys/bus/pci/devices")
            .iter()
            .filter_map(|name| self.function(name.parse().ok()?))
            .collect();
        functions.sort_by_key(|function| function.address);
        functions
    }

    /// The function at that address, if there is one.
    pub fn function(&self, address: Address) -> Option<Function> {
        let folder = Self::folder(address);
        // Most of the data is in one file.
        let facts = self.read(folder.join("uevent"))?;
        let fact = |name: &str| {
            facts
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let id = |text: &str| hex(text).and_then(|id| u16::try_from(id).ok());
        let (vendor, device) = fact("PCI_ID")?.split_once(':')?;
        let vfio = self.names(folder.join("vfio-dev")).into_iter().next();
        let role = self.role(&folder);
        Some(Function {
            address,
            vendor: id(vendor)?,
            device: id(device)?,
            class: hex(fact("PCI_CLASS")?)?,
            driver: fact("DRIVER").map(str::to_owned),
            driver_override: self
                .read(folder.join("driver_override"))
                .filter(|name| name != "(null)" && !name.is_empty()),
            role,
            group: self
                .link(folder.join("iommu_group"))
                .and_then(|number| number.parse().ok()),
            token: vfio.as_ref().and_then(|_| self.token_files(&folder, role)),
            vfio,
        })
    }

    /// The function at that address.
    ///
    /// # Errors
    ///
    /// [`Status::NoDevice`] if there is none.
    pub fn get(&self, address: Address) -> Result<Function> {
        self.function(address)
            .ok_or_else(|| self.nothing_at(address))
    }

    /// The file of a parameter of a driver's module, whose name may be another one.
    pub fn parameter(&self, driver: &str, name: &str) -> PathBuf {
        let module = self
            .link(format!("/sys/bus/pci/drivers/{driver}/module"))
            .unwrap_or_else(|| driver.replace('-', "_"));
        format!("/sys/module/{module}/parameters/{name}").into()
    }

    /// Whether a file contains `Y`, with which the kernel shows that a parameter is on.
    pub fn is_on(&self, parameter: impl AsRef<Path>) -> bool {
        self.read(parameter).as_deref() == Some("Y")
    }

    /// Whether the function at that address is under a VFIO driver.
    pub fn is_under_vfio(&self, address: Address) -> bool {
        self.exists(Self::folder(address).join("vfio-dev"))
    }

    fn role(&self, folder: &Path) -> Role {
        if let Some(pf) = self
            .link(folder.join("physfn"))
            .and_then(|name| name.parse().ok())
        {
            return Role::Vf { pf };
        }
        match self
            .read(folder.join("sriov_totalvfs"))
            .and_then(|text| text.parse().ok())
        {
            // Not sriov_numvfs, since reading it waits for a change in progress.
            Some(total) if total > 0 => {
                let vfs = self
                    .names(folder)
                    .iter()
                    .filter(|name| name.starts_with("virtfn"))
                    .count();
                Role::Pf {
                    vfs: u32::try_from(vfs).unwrap_or(u32::MAX),
                    total,
                }
            }
            _ => Role::Plain,
        }
    }

    fn token_files(&self, folder: &Path, role: Role) -> Option<TokenFiles> {
        let folder = folder.join("vf_token");
        let admitted = match self.read_file(&folder.join("admit")) {
            Ok(text) => Some(text == "1"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => None,
        };
        // Only a PF has the other files.
        let read = |name: &str| {
            let is_pf = matches!(role, Role::Pf { .. });
            is_pf.then(|| self.read(folder.join(name))).flatten()
        };
        Some(TokenFiles {
            admitted,
            state: read("state"),
            generation: read("generation").and_then(|text| text.parse().ok()),
            open_vfs: read("open_vfs").and_then(|text| text.parse().ok()),
        })
    }

    /// The VFs of a PF, by their numbers.
    pub fn vfs(&self, pf: Address) -> Vec<Function> {
        let folder = Self::folder(pf);
        (0..)
            .map_while(|n| self.link(folder.join(format!("virtfn{n}"))))
            .filter_map(|name| self.function(name.parse().ok()?))
            .collect()
    }

    /// The functions of an IOMMU group.
    pub fn group(&self, number: u32) -> Vec<Function> {
        let members = self.names(format!("/sys/kernel/iommu_groups/{number}/devices"));
        members
            .iter()
            .filter_map(|name| self.function(name.parse().ok()?))
            .collect()
    }

    /// The PF that has, or could have, a VF at that address, and the VF's number.
    pub fn future_pf(&self, address: Address) -> Option<(Function, u32)> {
        self.functions().into_iter().find_map(|pf| {
            let Role::Pf { total, .. } = pf.role else {
                return None;
            };
            let number = |name: &str| {
                self.read(Self::folder(pf.address).join(name))?
                    .parse::<u32>()
                    .ok()
            };
            let (offset, stride) = (number("sriov_offset")?, number("sriov_stride")?);
            let at = |n: u32| {
                pf.address
                    .behind(n.checked_mul(stride)?.checked_add(offset)?)
            };
            let n = (0..total).find(|n| at(*n) == Some(address))?;
            Some((pf, n))
        })
    }

    /// The function that `text` names: an address, a VFIO node, a network interface, an NVMe drive.
    ///
    /// # Errors
    ///
    /// [`Status::NoDevice`] if nothing is called so, [`Status::Usage`] if a group has several functions.
    pub fn find(&self, text: &str) -> Result<Function> {
        if let Ok(address) = text.parse() {
            return self.get(address);
        }
        let name = text.strip_prefix("/dev/").unwrap_or(text);
        if let Some(vfio) = name.strip_prefix("vfio/devices/") {
            let found = self
                .functions()
                .into_iter()
                .find(|function| function.vfio.as_deref() == Some(vfio));
            return found.ok_or_else(|| nothing_called(text));
        }
        if let Some(number) = name.strip_prefix("vfio/") {
            let number = number.strip_prefix("noiommu-").unwrap_or(number);
            let mut members = number
                .parse()
                .map(|number| self.group(number))
                .unwrap_or_default();
            members.retain(|member| member.vfio.is_some());
            return match members.len() {
                0 => Err(nothing_called(text)),
                1 => Ok(members.remove(0)),
                _ => {
                    let names: Vec<_> = members
                        .iter()
                        .map(|member| member.address.to_string())
                        .collect();
                    Err(Failure::new(
                        Status::Usage,
                        format!(
                            "{text} has several devices, choose one: {}",
                            names.join(", ")
                        ),
                    ))
                }
            };
        }
        self.find_by_class(name).ok_or_else(|| nothing_called(text))
    }

    /// A device that its driver has named: its directory is below that of the PCI function.
    fn find_by_class(&self, name: &str) -> Option<Function> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return None;
        }
        ["net", "nvme", "block", "infiniband", "drm"]
            .iter()
            .find_map(|class| {
                let entry = self.path(format!("/sys/class/{class}/{name}"));
                // The directory of an NVMe block device can be elsewhere; that of the drive is not.
                let path = fs::canonicalize(entry.join("device"))
                    .or_else(|_| fs::canonicalize(entry))
                    .ok()?;
                let address = path
                    .iter()
                    .rev()
                    .find_map(|part| part.to_str()?.parse().ok())?;
                self.function(address)
            })
    }

    fn nothing_at(&self, address: Address) -> Failure {
        match self.future_pf(address) {
            Some((pf, n)) => Failure::new(Status::NoDevice, format!("there is no device {address}: it would be VF {n} of PF {}, which has fewer VFs", pf.address))
                .fix(format!("vfioctl doctor {address}")),
            None => nothing_called(&address.to_string()),
        }
    }
}

fn nothing_called(text: &str) -> Failure {
    Failure::new(Status::NoDevice, format!("there is no PCI device {text}")).fix("vfioctl list")
}
