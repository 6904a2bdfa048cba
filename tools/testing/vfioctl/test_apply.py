# SPDX-License-Identifier: GPL-2.0-only
"""vfioctl apply: a configuration is applied, and only once."""

import os
import pathlib
import signal

from lab import (DRIVER, IN_USE, NO_DEVICE, NOT_PERMITTED, PCI, PF, REFUSED, RUST, UID, USAGE, VF, Case, bind, driver, load, read,
                 set_vfs)

NVME = "0000:02:00.0"


class Apply(Case):
    def config(self, text):
        path = self.folder / "vfioctl.toml"
        path.write_text(text, encoding="ascii")
        return path

    def card(self, vfs=2, more=""):
        """The card as the examples have it, for either driver."""
        admit = 'admit = "all"\n' if RUST else ""
        path = self.token_file()
        config = self.config(f'[[device]]\naddress = "{PF}"\ndriver = "{DRIVER}"\nvfs = {vfs}\n'
                             f'token_file = "{path}"\n{admit}{more}')
        return config, path

    def outcomes(self, *words, **options):
        return [step["outcome"] for step in self.json("apply", "apply", *words, **options)["steps"]]

    def state(self):
        names = ["driver_override", "sriov_numvfs"]
        return [driver(PF)] + [read(PCI / "devices" / PF / name) for name in names] + os.listdir("/sys/bus/pci/drivers")

    def test_a_card_becomes_what_the_file_says(self):
        config, path = self.card()
        before = self.state()
        self.assertEqual(set(self.outcomes(config, "--dry-run")), {"would"})
        self.assertEqual(self.state(), before)
        self.assertEqual(set(self.outcomes(config)), {"done"})
        self.assertEqual((driver(PF), driver(VF), driver("0000:01:10.2")), (DRIVER, DRIVER, DRIVER))
        self.vfioctl("token", "check", VF, "--file", path)
        if RUST:
            self.healthy(VF)
            self.healthy("0000:01:10.2")

    def test_a_second_time_changes_nothing(self):
        config, _ = self.card()
        self.outcomes(config)
        log = len(self.kernel_log())
        self.assertEqual(set(self.outcomes(config)), {"already"})
        self.assertEqual(set(self.outcomes(config, "--dry-run")), {"already"})
        self.assertEqual(self.kernel_log()[log:], [])

    def test_another_token_in_the_file_is_set(self):
        config, path = self.card()
        self.outcomes(config)
        path.write_text(self.token(), encoding="ascii")
        self.assertEqual(self.outcomes(config).count("done"), 3 if RUST else 1)
        self.vfioctl("token", "check", VF, "--file", path)

    def test_a_token_that_somebody_else_has_changed_is_set_again(self):
        config, path = self.card()
        self.outcomes(config)
        if not RUST:  # which does not tell
            return
        self.vfioctl("token", "set", PF, token=self.token())
        self.assertEqual(self.outcomes(config).count("done"), 3)
        self.vfioctl("token", "check", VF, "--file", path)

    def test_a_token_that_another_program_sets_is_presented_only(self):
        if not RUST:
            return
        config, path = self.card(more="set_token = false\n")
        outcomes = self.outcomes(config, status=REFUSED)
        self.assertEqual(outcomes[-2:], ["failed", "left"])
        self.vfioctl("token", "set", PF, "--file", path)
        self.assertEqual(self.outcomes(config)[-2:], ["done", "done"])

    def test_a_card_that_has_its_driver_gets_vfs(self):
        load(enable_sriov=0)
        bind(PF)
        config = self.config(f'[[device]]\naddress = "{PF}"\nvfs = 2\n')
        self.assertEqual(self.outcomes(config), ["done", "done"])
        self.assertEqual((driver(PF), driver(VF)), (DRIVER, DRIVER))

    def test_the_vfs_of_a_card_that_stays_with_the_kernel(self):
        config = self.config(f'[[device]]\naddress = "{NVME}"\ndriver = "nvme"\nvfs = 2\nvf_driver = "{DRIVER}"\n')
        self.outcomes(config)
        self.assertEqual([driver(NVME), driver("0000:02:00.1"), driver("0000:02:00.2")], ["nvme", DRIVER, DRIVER])
        self.healthy("0000:02:00.1", "--open")
        self.assertEqual(set(self.outcomes(config)), {"already"})
        for vf in ("0000:02:00.1", "0000:02:00.2"):
            bind(vf, "")

    def test_a_device_in_use_is_left_alone(self):
        self.give_pf()
        holder = self.open_device(PF)
        config = self.config(f'[[device]]\naddress = "{PF}"\ndriver = "igb"\nvfs = 1\n')
        output, error = self.vfioctl("apply", config, status=IN_USE)
        self.assertIn(f"in use by python3 (pid {holder.pid})", error)
        self.assertEqual([line.split()[1] for line in output.splitlines()], ["already", "failed", "left"])
        self.assertEqual(driver(PF), DRIVER)

    def test_vfs_in_use_are_left_alone(self):
        config, path = self.card(vfs=1)
        self.outcomes(config)
        self.open_device(VF, path.read_text(encoding="ascii").strip())
        more = self.config(config.read_text(encoding="ascii").replace("vfs = 1", "vfs = 3"))
        self.assertIn("failed", self.outcomes(more, status=IN_USE))
        self.assertEqual(len(list((PCI / "devices" / PF).glob("virtfn*"))), 1)

    def test_one_that_fails_does_not_keep_the_others(self):
        config = self.config(f'[[device]]\naddress = "0000:55:00.0"\nvfs = 1\n[[device]]\naddress = "{PF}"\ndriver = "{DRIVER}"\n')
        self.assertEqual(self.outcomes(config, status=NO_DEVICE), ["failed", "done", "done"])
        self.assertEqual(driver(PF), DRIVER)

    def test_a_driver_that_does_not_take_it_leaves_it_to_the_one_before(self):
        config = self.config(f'[[device]]\naddress = "{PF}"\ndriver = "virtio-pci"\n')
        _, error = self.vfioctl("apply", config, status=REFUSED)
        self.assertIn(f"virtio-pci did not take {PF}, which has igb now", error)
        self.assertEqual(driver(PF), "igb")

    def test_what_went_wrong_is_said(self):
        for text, status, says in (
            ("[[device]]\naddress = 'eth0'\n", USAGE, "no address"),
            ("[[device]]\naddress = '01:00.0'\ndrvier = 'x'\n", USAGE, "vfioctl.toml:3: unknown field `drvier`"),
            ("[device\n", USAGE, "vfioctl.toml:1"),
            (f"[[device]]\naddress = '{PF}'\nvfs = 99\n", REFUSED, "can have"),
            (f"[[device]]\naddress = '{PF}'\ndriver = 'nosuch'\n", REFUSED, "modprobe nosuch failed"),
            (f"[[device]]\naddress = '{PF}'\ndriver = '{DRIVER}'\nvfs = 1\ntoken_file = '/no'\n", REFUSED, "there is no file /no"),
        ):
            with self.subTest(text):
                self.assertIn(says, self.vfioctl("apply", self.config(text), status=status)[1])
        self.assertIn("cannot read", self.vfioctl("apply", "/no/file", status=REFUSED)[1])
        self.assertIn("there is no configuration", self.vfioctl("apply", status=REFUSED)[1])

    def test_the_files_in_etc_are_read(self):
        folder = pathlib.Path("/etc/vfioctl.d")
        folder.mkdir()
        self.stack.callback(folder.rmdir)
        config = folder / "card.toml"
        self.stack.callback(config.unlink)
        config.write_text(f'[[device]]\naddress = "{PF}"\ndriver = "{DRIVER}"\n', encoding="ascii")
        (folder / "card.toml~").write_text("nonsense", encoding="ascii")
        self.stack.callback((folder / "card.toml~").unlink)
        self.assertEqual(self.outcomes(), ["done", "done"])

    def test_two_at_a_time_are_refused(self):
        load(enable_sriov=1)
        bind(PF)
        config, _ = self.card(vfs=7)
        first = self.start("apply", config)
        # One of them is refused, or they run one after the other.
        self.assertIn(self.start("apply", config).wait(60), (0, IN_USE))
        self.assertIn(first.wait(60), (0, IN_USE))
        self.outcomes(config)
        self.assertEqual(set(self.outcomes(config)), {"already"})

    def test_ctrl_c_leaves_the_rest(self):
        config, _ = self.card(vfs=7)
        process = self.start("apply", config)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
        rest = process.stdout.read()
        self.assertEqual(status, 130, rest)
        self.assertIn("left", rest)
        self.outcomes(config)
        self.assertEqual(set(self.outcomes(config)), {"already"})
