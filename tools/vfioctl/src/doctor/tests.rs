// SPDX-License-Identifier: GPL-2.0-only

//! Tests of the rules on directories that look like the sysfs of a machine.

use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use super::*;

const PF: &str = "0000:01:00.0";
const VF: &str = "0000:01:10.0";

/// A machine without a problem, with a PF and its VF under vfio-pci-rust.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.file("proc/sys/kernel/osrelease", "7.3.4\n");
        tree.file("sys/class/iommu/dmar0/x", "");
        for (n, address, device) in [(11, PF, "10C9"), (12, VF, "10CA")] {
            let folder = format!("sys/bus/pci/devices/{address}");
            tree.file(
                &format!("{folder}/uevent"),
                &format!("DRIVER=vfio-pci-rust\nPCI_CLASS=20000\nPCI_ID=8086:{device}\n"),
            );
            tree.file(&format!("{folder}/driver_override"), "vfio-pci-rust\n");
            tree.file(&format!("{folder}/power/runtime_status"), "suspended\n");
            tree.file(&format!("{folder}/vfio-dev/vfio{n}/dev"), "511:0\n");
            tree.link(
                &format!("{folder}/iommu_group"),
                &format!("/sys/kernel/iommu_groups/{n}"),
            );
            tree.file(
                &format!("sys/kernel/iommu_groups/{n}/devices/{address}"),
                "",
            );
            tree.file(&format!("sys/class/vfio/{n}/dev"), "240:0\n");
            tree.file(&format!("dev/vfio/{n}"), "");
            tree.file(&format!("dev/vfio/devices/vfio{n}"), "");
        }
        for file in [
            "dev/vfio/vfio",
            "dev/iommu",
            "sys/module/vfio_iommu_type1/x",
            "sys/bus/pci/drivers/vfio-pci-rust/x",
        ] {
            tree.file(file, "");
        }
        for (name, text) in [
            ("sriov_totalvfs", "7"),
            ("sriov_offset", "128"),
            ("sriov_stride", "2"),
            ("vf_token/state", "set"),
            ("vf_token/open_vfs", "0"),
            ("vf_token/admit", "1"),
        ] {
            tree.file(&format!("sys/bus/pci/devices/{PF}/{name}"), text);
        }
        tree.link(
            &format!("sys/bus/pci/devices/{PF}/virtfn0"),
            &format!("../{VF}"),
        );
        tree.link(
            &format!("sys/bus/pci/devices/{VF}/physfn"),
            &format!("../{PF}"),
        );
        tree.file(&format!("sys/bus/pci/devices/{VF}/vf_token/admit"), "0");
        tree
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(Path::new(target), path).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.0.path().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
        .unwrap();
    }

    /// Sets the driver of a function; an empty name removes it.
    fn driver(&self, address: &str, class: &str, driver: &str) {
        let line = if driver.is_empty() {
            String::new()
        } else {
            format!("DRIVER={driver}\n")
        };
        self.file(
            &format!("sys/bus/pci/devices/{address}/uevent"),
            &format!("{line}PCI_CLASS={class}\nPCI_ID=8086:10C9\n"),
        );
        self.remove(&format!("sys/bus/pci/devices/{address}/vfio-dev"));
    }

    /// The last finding of the doctor about a device.
    fn last(&self, address: &str) -> (String, Verdict, String, Option<String>) {
        self.last_with(address, None)
    }

    fn last_with(
        &self,
        address: &str,
        token: Option<&Token>,
    ) -> (String, Verdict, String, Option<String>) {
        let machine = Machine::new(self.0.path());
        let users = Users::of(&machine);
        let doctor = Doctor {
            machine: &machine,
            users: &users,
            user: None,
            token,
            open: false,
        };
        let address = address.parse().unwrap();
        let examination = match machine.function(address) {
            Some(function) => doctor.examine(&function),
            None => {
                let (pf, number) = machine.future_pf(address).unwrap();
                doctor.examine_future(&address.to_string(), &pf, number)
            }
        };
        let last = examination.checks.into_iter().next_back().unwrap();
        (last.check, last.verdict, last.text, last.fix)
    }

    fn finds(&self, address: &str, check: &str, text: &str, fix: Option<&str>) {
        let (found, verdict, said, fixed) = self.last(address);
        assert_eq!((found.as_str(), verdict), (check, Verdict::Wrong), "{said}");
        assert!(said.contains(text), "{said}");
        assert_eq!(fixed.as_deref(), fix);
    }
}

#[test]
fn a_machine_with_nothing_wrong_is_healthy() {
    let (check, verdict, text, _) = Tree::new().last(PF);
    assert_eq!((check.as_str(), verdict), ("sriov", Verdict::Ok), "{text}");
    assert!(text.contains("1 of 7 VFs"));
}

#[test]
fn a_vf_needs_a_token_unless_it_is_admitted() {
    let tree = Tree::new();
    tree.finds(
        VF,
        "token",
        "so ask whoever set its token",
        Some("vfioctl token admit 0000:01:10.0 --file FILE"),
    );
    assert_eq!(tree.last_with(VF, Some(&Token::generate())).1, Verdict::Ok);
    tree.file(
        &format!("sys/bus/pci/devices/{PF}/vf_token/state"),
        "random",
    );
    tree.finds(
        VF,
        "token",
        "nobody has set its token",
        Some("vfioctl token set 0000:01:00.0 --generate --output FILE"),
    );
    tree.file(&format!("sys/bus/pci/devices/{VF}/vf_token/admit"), "1\n");
    assert_eq!(tree.last(VF).1, Verdict::Ok);
}

#[test]
fn a_vf_whose_pf_is_not_under_vfio_takes_no_token() {
    let tree = Tree::new();
    tree.driver(PF, "20000", "igb");
    assert_eq!(tree.last(VF).1, Verdict::Ok);
    let (check, verdict, text, _) = tree.last_with(VF, Some(&Token::generate()));
    assert_eq!((check.as_str(), verdict), ("token", Verdict::Wrong));
    assert!(text.contains("nothing asks for one"));
}

#[test]
fn a_pf_with_open_vfs_needs_their_token() {
    let tree = Tree::new();
    tree.file(&format!("sys/bus/pci/devices/{PF}/vf_token/open_vfs"), "1");
    tree.file(&format!("sys/bus/pci/devices/{PF}/vf_token/admit"), "0");
    tree.finds(
        PF,
        "token",
        "it has open VFs",
        Some("vfioctl token admit 0000:01:00.0 --file FILE"),
    );
}

#[test]
fn a_kernel_without_vf_tokens_is_too_old() {
    let tree = Tree::new();
    for (release, old) in [
        ("5.6.19", true),
        ("4.19.0-amd64", true),
        ("5.7.0", false),
        ("10.0", false),
    ] {
        tree.file("proc/sys/kernel/osrelease", release);
        assert_eq!(tree.last(PF).0 == "kernel", old, "{release}");
    }
}

#[test]
fn the_iommu_is_off() {
    let tree = Tree::new();
    tree.remove("sys/class/iommu");
    tree.remove("sys/kernel/iommu_groups");
    tree.file("sys/firmware/acpi/tables/APIC", "");
    tree.finds(PF, "iommu", "in the firmware's settings", None);
    tree.file("sys/firmware/acpi/tables/DMAR", "");
    assert!(tree.last(PF).2.contains("needs intel_iommu=on"));
    tree.file("usr/sbin/grubby", "");
    tree.finds(
        PF,
        "iommu",
        "intel_iommu=on",
        Some("grubby --update-kernel=ALL --args=intel_iommu=on && reboot"),
    );
    tree.file("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
    assert_eq!(tree.last(PF).0, "iommu");
    tree.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
    assert_ne!(tree.last(PF).0, "iommu");
}

#[test]
fn a_device_is_not_covered_by_an_iommu() {
    let tree = Tree::new();
    tree.remove(&format!("sys/bus/pci/devices/{PF}/iommu_group"));
    tree.finds(PF, "group", "no IOMMU group", None);
}

#[test]
fn a_bridge_is_nothing_for_vfio() {
    let tree = Tree::new();
    tree.driver(PF, "60400", "pcieport");
    tree.finds(PF, "kind", "bridge", None);
}

#[test]
fn a_device_is_on_the_denylist() {
    let tree = Tree::new();
    tree.remove(&format!("sys/bus/pci/devices/{PF}/vfio-dev"));
    tree.file(
        &format!("sys/bus/pci/devices/{PF}/uevent"),
        "PCI_CLASS=B4000\nPCI_ID=8086:37C8\n",
    );
    tree.finds(
        PF,
        "denylist",
        "denylist of vfio-pci-rust",
        Some("modprobe -r vfio_pci_rust; modprobe vfio_pci_rust disable_denylist=1"),
    );
    tree.file("sys/module/vfio_pci_rust/parameters/disable_denylist", "Y");
    assert_eq!(tree.last(PF).0, "driver");
}

#[test]
fn no_driver_is_loaded() {
    let tree = Tree::new();
    tree.driver(PF, "20000", "igb");
    tree.remove("sys/bus/pci/drivers/vfio-pci-rust");
    tree.finds(PF, "module", "no VFIO driver", Some("modprobe vfio_pci"));
    tree.file(
        "lib/modules/7.3.4/modules.dep",
        "updates/dkms/vfio-pci-rust.ko: kernel/x.ko\n",
    );
    tree.finds(
        PF,
        "module",
        "no VFIO driver",
        Some("modprobe vfio_pci_rust"),
    );
    tree.file(
        "sys/kernel/security/lockdown",
        "none [integrity] confidentiality\n",
    );
    tree.finds(PF, "module", "locked down", Some("modprobe vfio_pci_rust"));
}

#[test]
fn a_device_has_another_driver_or_none() {
    let tree = Tree::new();
    let folder = format!("/sys/bus/pci/devices/{PF}");
    tree.driver(PF, "20000", "igb");
    let (_, _, _, fix) = tree.last(PF);
    assert_eq!(
        fix.unwrap(),
        format!(
            "echo vfio-pci-rust >{folder}/driver_override && echo {PF} >{folder}/driver/unbind && echo {PF} >/sys/bus/pci/drivers_probe"
        )
    );
    tree.driver_none();
    tree.finds(
        PF,
        "driver",
        "no driver has it",
        Some(&format!(
            "echo vfio-pci-rust >{folder}/driver_override && echo {PF} >/sys/bus/pci/drivers_probe"
        )),
    );
}

impl Tree {
    fn driver_none(&self) {
        self.file(
            &format!("sys/bus/pci/devices/{PF}/uevent"),
            "PCI_CLASS=20000\nPCI_ID=8086:10C9\n",
        );
    }
}

#[test]
fn a_device_does_not_wake_up() {
    let tree = Tree::new();
    tree.file(
        &format!("sys/bus/pci/devices/{PF}/power/runtime_status"),
        "error\n",
    );
    tree.finds(
        PF,
        "power",
        "did not wake up",
        Some(&format!("echo on >/sys/bus/pci/devices/{PF}/power/control")),
    );
}

#[test]
fn a_group_is_not_viable() {
    let tree = Tree::new();
    let other = "0000:01:00.1";
    tree.file("sys/kernel/iommu_groups/11/devices/0000:01:00.1", "");
    for (driver, harmless) in [
        ("", true),
        ("pci-stub", true),
        ("pcieport", true),
        ("snd_hda_intel", false),
    ] {
        tree.file(&format!("sys/bus/pci/devices/{other}/vfio-dev/x"), "");
        tree.driver(other, "40300", driver);
        assert_eq!(tree.last(PF).0 != "viable", harmless, "{driver}");
    }
    tree.finds(
        PF,
        "viable",
        "is bound to snd_hda_intel",
        Some(&format!(
            "echo {other} >/sys/bus/pci/devices/{other}/driver/unbind"
        )),
    );
}

#[test]
fn what_programs_open_is_missing() {
    let tree = Tree::new();
    tree.remove("dev/vfio/devices/vfio11");
    tree.finds(
        PF,
        "node",
        "/dev/vfio/devices/vfio11 is missing",
        Some("mkdir -p /dev/vfio/devices && mknod -m 600 /dev/vfio/devices/vfio11 c 511 0"),
    );
    tree.remove("dev/vfio/11");
    tree.finds(
        PF,
        "node",
        "/dev/vfio/11 is missing",
        Some("mkdir -p /dev/vfio && mknod -m 600 /dev/vfio/11 c 240 0"),
    );
    tree.remove("dev/iommu");
    tree.finds(PF, "iommufd", "no /dev/iommu", Some("modprobe iommufd"));
    tree.file("sys/class/misc/iommu/dev", "10:127\n");
    tree.finds(
        PF,
        "iommufd",
        "no /dev/iommu",
        Some("mknod -m 660 /dev/iommu c 10 127"),
    );
    tree.remove("sys/module/vfio_iommu_type1");
    tree.finds(
        PF,
        "container",
        "vfio_iommu_type1 is not loaded",
        Some("modprobe vfio_iommu_type1"),
    );
    tree.remove("dev/vfio/vfio");
    assert!(tree.last(PF).2.contains("no /dev/vfio/vfio"));
}

#[test]
fn a_program_has_it_open() {
    let tree = Tree::new();
    tree.file("proc/77/comm", "dpdk-testpmd\n");
    tree.link("proc/77/fd/5", "anon_inode:[vfio-device]");
    tree.file(
        "proc/77/fdinfo/5",
        &format!("pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/0000:00:01.0/{PF}\n"),
    );
    tree.finds(
        PF,
        "users",
        "in use by dpdk-testpmd (pid 77)",
        Some("kill 77"),
    );
    tree.finds(
        VF,
        "token",
        "ask the user of dpdk-testpmd (pid 77)",
        Some("vfioctl token admit 0000:01:10.0 --file FILE"),
    );
    tree.link("proc/78/fd/9", "/dev/vfio/12");
    tree.finds(VF, "users", "(pid 78)", Some("kill 78"));
}

#[test]
fn a_vf_is_not_there_yet() {
    let tree = Tree::new();
    let third = "0000:01:10.4";
    let parameter = "sys/module/vfio_pci_rust/parameters/enable_sriov";
    tree.link(
        "sys/bus/pci/drivers/vfio-pci-rust/module",
        "/sys/module/vfio_pci_rust",
    );
    tree.file(parameter, "N\n");
    tree.finds(
        third,
        "enable_sriov",
        "enable_sriov is off",
        Some(&format!("echo Y >/{parameter}")),
    );
    tree.file(parameter, "Y\n");
    let file = format!("/sys/bus/pci/devices/{PF}/sriov_numvfs");
    tree.finds(
        third,
        "vfs",
        "VF 2",
        Some(&format!("echo 0 >{file} && echo 3 >{file}")),
    );
    tree.remove(&format!("sys/bus/pci/devices/{PF}/virtfn0"));
    tree.finds(third, "vfs", "VF 2", Some(&format!("echo 3 >{file}")));
}

#[test]
fn devices_are_found_by_their_names() {
    let tree = Tree::new();
    let machine = Machine::new(tree.0.path());
    tree.link(
        "sys/class/net/eth0/device",
        &format!("../../../bus/pci/devices/{PF}"),
    );
    for name in [
        PF,
        "01:00.0",
        "/dev/vfio/11",
        "/dev/vfio/devices/vfio11",
        "eth0",
    ] {
        assert_eq!(
            machine
                .find(name)
                .map_err(|failure| failure.message)
                .unwrap()
                .address
                .to_string(),
            PF,
            "{name}"
        );
    }
    for name in [
        "02:00.0",
        "/dev/vfio/99",
        "/dev/vfio/devices/vfio9",
        "eth1",
        "",
        "..",
        "/etc",
    ] {
        assert_eq!(
            machine.find(name).err().unwrap().status,
            crate::failure::Status::NoDevice,
            "{name}"
        );
    }
    // A member of the group that is not under VFIO does not count.
    tree.file("sys/kernel/iommu_groups/11/devices/0000:01:00.1", "");
    tree.file(
        "sys/bus/pci/devices/0000:01:00.1/uevent",
        "PCI_CLASS=40300\nPCI_ID=8086:1\n",
    );
    assert!(machine.find("/dev/vfio/11").is_ok());
    tree.file("sys/kernel/iommu_groups/11/devices/0000:01:10.0", "");
    assert_eq!(
        machine.find("/dev/vfio/11").err().unwrap().status,
        crate::failure::Status::Usage
    );
}
