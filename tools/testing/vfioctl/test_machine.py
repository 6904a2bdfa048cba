# SPDX-License-Identifier: GPL-2.0-only
"""What the doctor finds on unusual machines, with a class for each of them."""

import os
import re
import subprocess

from lab import DRIVER, PCI, PF, REFUSED, VF, Case, bind, cdev, driver, group, load, set_vfs, write

SATA, SMBUS = "0000:00:1f.2", "0000:00:1f.3"


class Stock(Case):
    """Debian's kernel, which has no character devices."""

    def test_everything_goes_by_the_group(self):
        path = self.give_token()
        self.assertIsNone(cdev(PF))
        self.assertIsNone(self.json("list", "list", "--vfio")["functions"][0]["device_node"])
        self.assertEqual(self.healthy(VF, "--file", path)["node"]["text"], f"it has /dev/vfio/{group(VF)}")
        self.vfioctl("token", "check", VF, "--file", path)
        self.vfioctl("features", PF)

    def test_another_device_of_the_group_has_a_driver(self):
        self.assertEqual(group(SATA), group(SMBUS))
        subprocess.run(["modprobe", "ahci"], check=True)
        self.assertEqual(driver(SATA), "ahci")
        load()
        bind(SMBUS)
        self.finds("viable", f"{SATA} is in it, too, and is bound to ahci", SMBUS)
        self.assertEqual(self.healthy(SMBUS)["viable"]["verdict"], "note")
        self.assertIn(f"also in its IOMMU group: ", self.vfioctl("show", SMBUS)[0])
        bind(SMBUS, "")


class Lockdown(Case):
    """Debian's kernel, locked down."""

    def test_an_unsigned_module_is_refused(self):
        if not os.path.ismount("/sys/kernel/security"):
            subprocess.run(["mount", "-t", "securityfs", "securityfs", "/sys/kernel/security"], check=True)
        _, last = self.doctor(PF, status=REFUSED)
        self.assertEqual(last["check"], "module")
        self.assertIn("locked down, so it loads signed modules only", last["text"])
        self.assertNotEqual(subprocess.run(["sh", "-c", last["fix"]], check=False).returncode, 0)


class WithoutIommu(Case):
    """A machine whose IOMMU is off, with a kernel that can do without one."""

    def test_the_iommu_is_off(self):
        for words in ((PF,), ()):
            found = self.json("doctor", "doctor", *words, status=REFUSED)["examinations"][0]["checks"][-1]
            self.assertEqual(found["check"], "iommu")
            self.assertIn("intel_iommu=on", found["fix"])
        self.assertIsNone(self.json("show", "show", PF)["function"]["iommu_group"])

    def test_the_mode_without_an_iommu_is_noted(self):
        load(enable_sriov=1)
        write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")
        self.stack.callback(write, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N")
        bind(PF)
        checks = self.healthy(PF)
        self.assertEqual(checks["iommu"]["verdict"], "note")
        self.assertIn("noiommu", checks["group"]["text"])
        self.assertEqual(self.doctor(PF, "--user", "nobody", status=REFUSED)[1]["check"], "rights")


class ManyVfs(Case):
    """A drive with many VFs."""

    NVME = "0000:01:00.0"

    def calls(self, vfs):
        """The system calls of `vfioctl list` with so many VFs: all but those that look into processes, whose
        number changes by itself; and how often it went through the processes."""
        set_vfs(vfs, self.NVME)
        output, calls, walks = self.system_calls("list", "--vfio")
        self.assertEqual(len(output.splitlines()), 1 + vfs)
        return sum(not re.search(r"/proc/\d", call) for call in calls), walks

    def test_the_number_of_system_calls_grows_with_that_of_the_vfs(self):
        load(enable_sriov=1)
        bind(self.NVME)
        counts = [self.calls(vfs) for vfs in (1, 16, 31)]
        few, some, many = (calls for calls, _ in counts)
        print("# with 1, 16 and 31 VFs:", counts)
        self.assertLess(abs((many - some) - (some - few)), (some - few) / 20, counts)
        self.assertTrue(all(walks == 1 for _, walks in counts), counts)
