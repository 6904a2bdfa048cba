# SPDX-License-Identifier: GPL-2.0-only
"""Problems that the doctor finds: each one is provoked, and then fixed as the doctor says."""

import os
import pathlib
import pwd
import subprocess

from lab import (DRIVER, NO_DEVICE, PCI, PF, REFUSED, RUST, UID, USER, VF, Case, bind, cdev, driver, group, load, read, set_vfs,
                 shell, write)


class Driver(Case):
    def test_no_driver_is_loaded(self):
        self.finds("module", "no VFIO driver", PF)
        self.assertEqual(self.doctor(PF, status=REFUSED)[1]["check"], "driver")

    def test_another_driver_has_it(self):
        load()
        self.finds("driver", "igb has it", PF)
        self.assertEqual(driver(PF), DRIVER)
        self.healthy(PF)

    def test_no_driver_has_it(self):
        load()
        write(PCI / "devices" / PF / "driver/unbind", PF)
        self.finds("driver", "no driver has it", PF)
        self.healthy(PF)

    def test_its_override_names_no_driver(self):
        load()
        write(PCI / "devices" / PF / "driver/unbind", PF)
        write(PCI / "devices" / PF / "driver_override", "vfio-pcie")
        self.finds("driver", "driver_override is vfio-pcie", PF)
        self.healthy(PF)

    def test_a_bridge_is_nothing_for_vfio(self):
        bridge = os.path.basename(os.path.dirname(os.path.realpath(PCI / "devices" / PF)))
        self.assertIn("it is a bridge", self.doctor(bridge, status=REFUSED)[1]["text"])


class Nodes(Case):
    def test_the_containers_iommu_is_missing(self):
        self.give_pf()
        subprocess.run(["modprobe", "-r", "vfio_iommu_type1"], check=True)
        self.finds("container", "vfio_iommu_type1 is not loaded", PF)
        self.healthy(PF)

    def test_the_containers_node_is_missing(self):
        self.give_pf()
        os.remove("/dev/vfio/vfio")
        self.finds("container", "there is no /dev/vfio/vfio", PF)
        self.healthy(PF)

    def test_iommufds_node_is_missing(self):
        self.give_pf()
        os.remove("/dev/iommu")
        self.finds("iommufd", "there is no /dev/iommu", PF)
        self.healthy(PF, "--open")

    def test_the_node_of_the_group_is_missing(self):
        self.give_pf()
        os.remove(f"/dev/vfio/{group(PF)}")
        self.finds("node", f"/dev/vfio/{group(PF)} is missing", PF)
        self.healthy(PF)

    def test_the_node_of_the_device_is_missing(self):
        self.give_pf()
        node = cdev(PF)
        os.remove(node)
        self.finds("node", f"{node} is missing", PF)
        self.healthy(PF, "--open")


class Rights(Case):
    def setUp(self):
        super().setUp()
        self.limits = pathlib.Path(f"/etc/security/limits.d/vfio-{USER}.conf")
        self.stack.callback(self.limits.unlink, missing_ok=True)

    def allow_memory(self):
        self.limits.write_text(f"{USER} - memlock unlimited\n", encoding="ascii")

    def test_the_user_cannot_open_the_node(self):
        self.give_pf()
        self.allow_memory()
        self.finds("rights", f"{USER} cannot open /dev/vfio/{group(PF)}", PF, "--user", USER)
        self.healthy(PF, "--user", USER)

    def test_the_user_cannot_open_the_container(self):
        self.give_pf()
        self.allow_memory()
        os.chmod("/dev/vfio/vfio", 0o600)
        self.stack.callback(os.chmod, "/dev/vfio/vfio", 0o666)
        self.assertIn("chmod a+rw /dev/vfio/vfio", self.finds("rights", "cannot open", PF, "--user", USER)["fix"])
        self.healthy(PF, "--user", USER)

    def test_the_user_may_lock_too_little_memory(self):
        self.give_pf()
        os.chown(f"/dev/vfio/{group(PF)}", UID, UID)
        self.finds("memlock", "MiB of memory only", PF, "--user", USER)
        self.healthy(PF, "--user", USER)

    def test_the_user_asks_for_himself(self):
        self.give_pf()
        checks, last = self.doctor(PF, user=UID, status=REFUSED)
        self.assertEqual(last["check"], "rights")
        self.assertIn(pwd.getpwuid(UID).pw_name, last["text"])
        self.assertEqual(checks["driver"]["verdict"], "ok")

    def test_a_user_that_is_not_there(self):
        self.assertIn("there is no user nobodyatall", self.vfioctl("doctor", PF, "--user", "nobodyatall", status=REFUSED)[1])


class Use(Case):
    def test_a_program_has_it_open(self):
        self.give_pf()
        holder = self.open_device(PF)
        self.finds("users", f"in use by python3 (pid {holder.pid})", PF)
        holder.wait()
        self.healthy(PF)

    def test_sriov_is_not_enabled(self):
        load()
        bind(PF)
        self.finds("enable_sriov", "enable_sriov is off", VF)
        self.finds("vfs", "which has 0", VF)
        self.assertEqual(len(list((PCI / "devices" / PF).glob("virtfn*"))), 1)

    def test_there_are_too_few_vfs(self):
        self.give_pf(vfs=1)
        third = "0000:01:10.4"
        self.finds("vfs", f"it would be VF 2 of PF {PF}, which has 1", third)
        self.assertEqual(driver(third), DRIVER)

    def test_nothing_is_called_so(self):
        self.vfioctl("doctor", "0000:55:00.0", status=NO_DEVICE)


class Tokens(Case):
    def test_nobody_has_set_a_token(self):
        self.give_pf()
        path = self.folder / "t"
        if RUST:
            self.finds("token", "nobody has set its token yet", VF, FILE=path)
        else:
            self.assertIn("ask whoever set its token", self.doctor(VF, status=REFUSED)[1]["text"])
            self.vfioctl("token", "set", PF, "--generate", "--output", path)
        self.assertEqual(self.healthy(VF, "--file", path)["open"]["verdict"], "ok")

    def test_a_token_is_needed_and_its_owner_is_named(self):
        self.give_pf()
        path = self.token_file()
        token = path.read_text(encoding="ascii").strip()
        holder = self.open_device(PF, token)
        text = f"its PF {PF} is under {DRIVER}, so ask the user of python3 (pid {holder.pid})"
        self.finds("token", text, VF, FILE=path)
        self.healthy(VF, *([] if RUST else ["--file", path]))

    def test_the_token_is_wrong(self):
        self.give_token()
        _, last = self.doctor(VF, "--file", self.token_file(), status=REFUSED)
        self.assertEqual(last["check"], "open")
        self.assertIn("does not open with that token", last["text"])

    def test_others_can_read_the_file(self):
        path = self.give_token()
        path.chmod(0o640)
        _, error = self.vfioctl("doctor", VF, "--file", path, status=REFUSED)
        shell(error.split("to fix it: ")[1])
        self.healthy(VF, "--file", path)

    def test_a_token_is_given_that_nothing_asks_for(self):
        load()
        set_vfs(1)
        bind(VF)
        _, last = self.doctor(VF, "--file", self.token_file(), status=REFUSED)
        self.assertIn("nothing asks for one", last["text"])
        self.assertEqual(last["fix"], f"vfioctl doctor {VF}")
        self.assertEqual(self.healthy(VF, "--open")["open"]["verdict"], "ok")

    def test_a_pf_with_open_vfs_wants_their_token(self):
        path = self.give_token()
        self.open_device(VF, path.read_text(encoding="ascii").strip())
        self.finds("token", "it has open VFs", PF, FILE=path)
        self.healthy(PF, *([] if RUST else ["--file", path]))

    def test_an_open_that_changes_a_token_is_not_tried(self):
        self.give_token()
        before = read(PCI / "devices" / PF / "vf_token/generation") if RUST else None
        checks = self.healthy(PF, "--file", self.token_file())
        self.assertEqual(checks["token"]["verdict"], "note")
        if RUST:
            self.assertEqual(read(PCI / "devices" / PF / "vf_token/generation"), before)

    def test_the_machine_is_examined_with_all_devices(self):
        path = self.give_token()
        found = self.json("doctor", "doctor", status=REFUSED)
        self.assertEqual([one["address"] for one in found["examinations"]], [None, PF, VF])
        if RUST:
            self.vfioctl("token", "admit", VF, "--file", path)
            self.assertTrue(self.json("doctor", "doctor")["healthy"])
