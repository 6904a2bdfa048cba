# SPDX-License-Identifier: GPL-2.0-only
"""The effects and exit statuses of vfioctl's commands on real devices."""

import json
import os
import pathlib
import signal
import subprocess
import time

from lab import (DONE, DRIVER, IN_USE, INTERRUPTED, NO_DEVICE, NOT_PERMITTED, PCI, PF, REFUSED, RUST, UID, USAGE, VF,
                 Case, bind, cdev, driver, group, load, read, set_vfs, shell)


class List(Case):
    def entries(self):
        return {entry["address"]: entry for entry in self.json("list", "list")["functions"]}

    def test_a_card_under_its_own_driver_is_listed(self):
        entry = self.entries()[PF]
        self.assertEqual((entry["driver"], entry["role"], entry["vfio"]), ("igb", "pf", False))
        self.assertEqual((entry["vfs"], entry["token"], entry["users"]), (0, None, []))
        self.assertIn("82576", entry["name"])
        self.assertEqual(entry["iommu_group"], int(group(PF)))

    def test_pf_and_vf_under_vfio_tell_of_each_other(self):
        self.give_pf(vfs=2)
        entries = self.entries()
        self.assertEqual((entries[PF]["vfs"], entries[PF]["role"]), (2, "pf"))
        self.assertEqual((entries[VF]["pf"], entries[VF]["role"]), (PF, "vf"))
        self.assertEqual(entries[VF]["group_node"], f"/dev/vfio/{group(VF)}")
        self.assertEqual(entries[VF]["device_node"], cdev(VF))
        self.assertTrue(entries[VF]["token"]["needed"])
        self.assertFalse(entries[PF]["token"]["needed"])

    def test_the_program_that_has_a_device_open_is_named(self):
        self.give_pf()
        holder = self.open_device(PF)
        self.assertEqual([user["pid"] for user in self.entries()[PF]["users"]], [holder.pid])
        self.assertIn(f"python3 (pid {holder.pid})", self.vfioctl("list")[0])

    def test_bridges_are_left_out_and_vfio_lists_vfios_alone(self):
        self.give_pf()
        self.assertNotIn("06", {entry["class"][:2] for entry in self.entries().values()})
        lines = self.vfioctl("list", "--vfio")[0].splitlines()
        self.assertEqual([line.split("\t")[0] for line in lines], [PF, VF])

    def test_on_a_terminal_there_is_a_heading_as_wide_as_it_is(self):
        def terminal(**variables):
            command = " ".join(f"{name}={value}" for name, value in variables.items()) + f" {os.environ['VFIOCTL']} list"
            result = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True,
                                    check=True, env={**os.environ, "TERM": "xterm"})
            return result.stdout.splitlines()

        self.assertIn("ADDRESS", terminal(COLUMNS=100)[0])
        self.assertIn("\x1b[", terminal(COLUMNS=100)[0])
        lines = terminal(COLUMNS=60, NO_COLOR=1)
        self.assertNotIn("\x1b[", "".join(lines))
        self.assertLessEqual(max(map(len, lines)), 60)
        self.assertNotIn("ADDRESS", self.vfioctl("list")[0])


class Show(Case):
    def test_a_pf_is_shown_with_its_vfs(self):
        self.give_pf(vfs=2)
        shown = self.json("show", "show", PF)
        self.assertEqual([vf["pf"] for vf in shown["vfs"]], [PF, PF])
        self.assertIn("flr", shown["reset_method"])
        self.assertEqual([member["address"] for member in shown["iommu_group"]], [PF])
        text, _ = self.vfioctl("show", PF)
        self.assertIn(f"VF 1  {shown['vfs'][1]['address']}", text)

    def test_a_vf_is_shown_below_its_pf(self):
        self.give_pf()
        self.assertEqual(self.json("show", "show", VF)["pf"]["address"], PF)
        first, *others = self.vfioctl("show", VF)[0].splitlines()
        self.assertIn(PF, first)
        self.assertTrue(any(line.startswith(f"  {VF}") for line in others))

    def test_a_device_is_found_by_what_people_call_it(self):
        names = [PF, PF[5:], os.listdir(PCI / "devices" / PF / "net")[0]]
        nvme = os.path.basename(os.path.realpath("/sys/class/nvme/nvme0/device"))
        for name in names:
            self.assertEqual(self.json("show", "show", name)["function"]["address"], PF, name)
        for name in ("nvme0", "/dev/nvme0"):
            self.assertEqual(self.json("show", "show", name)["function"]["address"], nvme, name)
        self.give_pf()
        for name in filter(None, (f"/dev/vfio/{group(VF)}", cdev(VF))):
            self.assertEqual(self.json("show", "show", name)["function"]["address"], VF, name)

    def test_what_is_not_there_is_no_device(self):
        for name in ("0000:55:00.0", "eth99", "/dev/vfio/999", "/dev/vfio/devices/vfio99", "../../etc", ""):
            error = self.json("error", "show", name, status=NO_DEVICE)["error"]
            self.assertEqual(error["status"], NO_DEVICE)
        self.assertIn("it would be VF 0 of PF 0000:01:00.0", self.vfioctl("show", VF, status=NO_DEVICE)[1])


class Features(Case):
    def test_features_have_their_names(self):
        self.give_pf()
        found = {one["name"]: one for one in self.json("features", "features", PF)["features"]}
        self.assertEqual([found["PCI_VF_TOKEN"][key] for key in ("index", "supported", "get", "set")], [0, True, False, True])
        self.assertTrue(found["LOW_POWER_ENTRY"]["set"])
        self.assertFalse(found["MIGRATION"]["supported"])

    def test_opening_is_announced_and_can_be_silent(self):
        self.give_pf()
        self.assertIn(f"opening {PF}, which resets it", self.vfioctl("features", PF)[1])
        self.assertEqual(self.vfioctl("features", "--quiet", PF)[1], "")

    def test_a_vf_wants_its_token(self):
        path = self.give_token()
        self.vfioctl("features", VF, status=REFUSED)
        self.assertIn("LOW_POWER_EXIT\tyes", self.vfioctl("features", VF, "--file", path)[0])

    def test_a_device_in_use_is_left_alone(self):
        self.give_pf()
        holder = self.open_device(PF)
        _, error = self.vfioctl("features", PF, status=IN_USE)
        self.assertIn(f"in use by python3 (pid {holder.pid})", error)
        self.assertIsNone(holder.poll())

    def test_a_device_under_another_driver_is_sent_to_the_doctor(self):
        _, error = self.vfioctl("features", PF, status=REFUSED)
        self.assertIn("igb, not a VFIO driver", error)
        self.assertIn(f"vfioctl doctor {PF}", error)


class Token(Case):
    def test_a_token_from_a_file_opens_the_vf(self):
        path = self.give_token()
        self.assertEqual(self.json("token", "token", "check", VF, "--file", path)["result"], "opens")
        self.open_device(VF, path.read_text(encoding="ascii").strip())

    def test_a_token_from_standard_input_opens_the_vf(self):
        self.give_pf()
        token = self.token()
        self.vfioctl("token", "set", PF, token=token)
        self.vfioctl("token", "check", VF, "--file", "-", token=token.upper())

    def test_a_generated_token_is_printed_once(self):
        self.give_pf()
        output, error = self.vfioctl("token", "set", PF, "--generate", "--debug")
        token = output.strip()
        self.assertEqual(len(token), 36)
        self.assertNotIn(token, error)
        self.tokens.add(token)
        self.vfioctl("token", "check", VF, token=token)
        self.assertEqual(len(json.loads(self.vfioctl("token", "set", PF, "--generate", "-j")[0])["token"]), 36)

    def test_a_generated_token_goes_to_a_file_that_only_its_owner_reads(self):
        self.give_pf()
        path = self.folder / "t"
        for _ in range(2):  # the second takes the place of the first
            written = self.json("token", "token", "set", PF, "--generate", "--output", path)
            self.assertEqual((written["file"], written["token"]), (str(path), None))
            self.tokens.add(path.read_text(encoding="ascii").strip())
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.vfioctl("token", "check", VF, "--file", path)
        self.assertEqual(len(self.tokens), 2)
        self.assertEqual(os.listdir(self.folder), ["t"])

    def test_a_wrong_token_is_refused(self):
        self.give_token()
        _, error = self.vfioctl("token", "check", VF, token=self.token(), status=REFUSED)
        self.assertIn("does not open with that token", error)

    def test_nothing_is_left_open(self):
        path = self.give_token()
        self.vfioctl("token", "check", VF, "--file", path)
        self.vfioctl("token", "set", PF, token=self.token())

    def test_the_processes_are_looked_through_once(self):
        self.give_pf()
        _, _, walks = self.system_calls("token", "set", PF, "--generate", "--output", self.folder / "generated")
        self.assertEqual(walks, 1)

    def test_it_is_not_set_without_vfs(self):
        self.give_pf(vfs=0)
        if RUST:
            _, error = self.vfioctl("token", "set", PF, token=self.token(), status=REFUSED)
            self.assertIn("sriov_numvfs", error)
            self.assertEqual(read(PCI / "devices" / PF / "vf_token/state"), "random")
            pathlib.Path("/sys/module/vfio_pci_rust/parameters/lenient_token").write_text("Y", encoding="ascii")
        self.vfioctl("token", "set", PF, token=self.token())

    def test_it_is_not_set_while_a_vf_is_open(self):
        path = self.give_token()
        old = path.read_text(encoding="ascii").strip()
        holder = self.open_device(VF, old)
        new = self.folder / "new"
        _, error = self.vfioctl("token", "set", PF, "--generate", "--output", new, status=IN_USE)
        self.assertIn(f"{VF} by python3 (pid {holder.pid})", error)
        self.assertFalse(new.exists())
        self.end(holder)
        self.vfioctl("token", "check", VF, "--file", path)

    def test_it_waits_until_the_vfs_are_closed(self):
        path = self.give_token()
        holder = self.open_device(VF, path.read_text(encoding="ascii").strip())
        new = self.token_file()
        waiter = self.start("token", "set", PF, "--file", new, "--wait")
        self.wait_for(waiter, "waiting")
        self.assertNotIn(new.read_bytes().strip(), pathlib.Path(f"/proc/{waiter.pid}/cmdline").read_bytes())
        self.end(holder)
        self.assertEqual(waiter.wait(30), DONE, waiter.stderr.read())
        self.vfioctl("token", "check", VF, "--file", new)

    def test_ctrl_c_ends_the_wait(self):
        path = self.give_token()
        holder = self.open_device(VF, path.read_text(encoding="ascii").strip())
        new = self.folder / "new"
        waiter = self.start("token", "set", PF, "--generate", "--output", new, "--wait")
        self.wait_for(waiter, "waiting")
        waiter.send_signal(signal.SIGINT)
        self.assertEqual(waiter.wait(30), INTERRUPTED)
        self.assertIn("was not set", waiter.stderr.read())
        self.assertEqual(sorted(os.listdir(self.folder)), [path.name])
        self.end(holder)
        self.vfioctl("token", "check", VF, "--file", path)

    @staticmethod
    def wait_for(process, text):
        while text not in (line := process.stderr.readline()):
            assert line, "it ended"

    def test_a_file_that_others_can_read_is_refused(self):
        self.give_pf()
        path = self.token_file(mode=0o644)
        _, error = self.vfioctl("token", "set", PF, "--file", path, status=REFUSED)
        self.assertIn(f"chmod 600 {path}", error)
        shell(f"chmod 600 {path}")
        self.vfioctl("token", "set", PF, "--file", path)

    def test_a_file_of_somebody_else_is_refused(self):
        self.give_pf()
        path = self.token_file()
        os.chown(path, UID, UID)
        self.assertIn(f"chown root {path}", self.vfioctl("token", "set", PF, "--file", path, status=REFUSED)[1])

    def test_what_is_no_token_is_refused(self):
        self.give_pf()
        for text in ("", "none\n", "12345678-1234", "{12345678-1234-1234-1234-123456789abc}"):
            self.vfioctl("token", "set", PF, token=text, status=REFUSED)
        self.assertIn("there is no file", self.vfioctl("token", "set", PF, "--file", "/no/file", status=REFUSED)[1])
        self.assertIn("cannot write", self.vfioctl("token", "set", PF, "--generate", "--output", "/no/file", status=REFUSED)[1])

    def test_a_device_that_has_no_token_is_told_apart(self):
        self.give_pf()
        self.assertIn("is a VF", self.vfioctl("token", "set", VF, "--generate", status=REFUSED)[1])
        self.assertIn("has no SR-IOV", self.vfioctl("token", "set", "00:02.0", "--generate", status=REFUSED)[1])
        self.assertIn("is no VF", self.vfioctl("token", "check", PF, token=self.token(), status=REFUSED)[1])

    def test_a_pf_in_use_is_left_to_its_program(self):
        self.give_pf()
        holder = self.open_device(PF)
        self.assertIn(f"pid {holder.pid}", self.vfioctl("token", "set", PF, "--generate", status=IN_USE)[1])

    def test_the_command_line_takes_no_token(self):
        self.give_pf()
        self.vfioctl("token", "set", PF, "12345678-1234-1234-1234-123456789abc", status=USAGE)
        self.vfioctl("token", "set", PF, "--generate", "--file", "/t", status=USAGE)
        self.vfioctl("token", "set", status=USAGE)
        self.vfioctl("tokens", status=USAGE)


class Admit(Case):
    def test_an_admitted_vf_opens_without_a_token(self):
        path = self.give_token()
        if not RUST:
            for words in (("admit", VF, "--file", path), ("withdraw", VF)):
                self.assertIn("only vfio-pci-rust", self.vfioctl("token", *words, status=REFUSED)[1])
            return
        self.assertEqual(self.json("token", "token", "admit", VF, "--file", path)["result"], "admitted")
        self.end(self.open_device(VF))
        self.assertEqual(self.json("show", "show", VF)["function"]["token"]["admitted"], True)
        self.assertIn("\tadmitted\t", self.vfioctl("list", "--vfio")[0])
        self.assertEqual(self.json("token", "token", "withdraw", VF)["result"], "withdrawn")
        self.vfioctl("features", VF, status=REFUSED)

    def test_only_the_pfs_token_admits(self):
        self.give_token()
        self.vfioctl("token", "admit", VF, token=self.token(), status=REFUSED)
        if RUST:
            self.assertEqual(read(PCI / "devices" / VF / "vf_token/admit"), "0")

    def test_without_a_pf_under_vfio_nothing_is_to_be_admitted(self):
        load()
        set_vfs(1)
        bind(VF)
        self.vfioctl("token", "admit", VF, token=self.token(), status=REFUSED)
        self.assertIn("nothing asks for one", self.vfioctl("token", "check", VF, token=self.token(), status=REFUSED)[1])


class Rights(Case):
    def test_an_ordinary_user_sees_and_changes_nothing(self):
        self.give_pf()
        self.assertIn(PF, self.vfioctl("list", user=UID)[0])
        self.vfioctl("show", PF, user=UID)
        for words in (("features", PF), ("token", "set", PF, "--generate"), ("apply", "/dev/null")):
            _, error = self.vfioctl(*words, status=NOT_PERMITTED, user=UID)
            self.assertIn("root", error)

    def test_a_user_with_rights_on_the_node_needs_no_root(self):
        self.give_pf()
        os.chown(f"/dev/vfio/{group(PF)}", UID, UID)
        if cdev(PF):
            os.chown(cdev(PF), UID, UID)
            os.chmod("/dev/iommu", 0o666)
        self.vfioctl("token", "set", PF, token=self.token(), user=UID)

    def test_whoever_reads_no_further_ends_it_quietly(self):
        result = subprocess.run(["sh", "-c", f"{os.environ['VFIOCTL']} list | head -n 1"], capture_output=True, text=True, check=True)
        self.assertEqual((result.stdout.count("\n"), result.stderr), (1, ""))


class Names(Case):
    def test_the_driver_under_vfio_pcis_name_is_known_by_its_files(self):
        if not RUST:
            return
        load(takeover=1, enable_sriov=1)
        bind(PF, "vfio-pci")
        set_vfs(1)
        path = self.token_file()
        self.vfioctl("token", "set", PF, "--file", path)
        self.vfioctl("token", "admit", VF, "--file", path)
        self.assertEqual(driver(VF), "vfio-pci")
        self.healthy(VF)
