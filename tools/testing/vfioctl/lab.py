# SPDX-License-Identifier: GPL-2.0-only
"""Code shared by the tests of vfioctl: the machine in the guest, and running vfioctl in it."""

import contextlib
import glob
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest
import uuid

import jsonschema

FOLDER = pathlib.Path(__file__).resolve().parent
LAB = FOLDER.parents[1] / "lab"

PCI = pathlib.Path("/sys/bus/pci")
VFIOCTL = os.environ["VFIOCTL"]
DRIVER = os.environ.get("DRIVER", "vfio-pci-rust")
RUST = DRIVER == "vfio-pci-rust"
PF = "0000:01:00.0"
VF = "0000:01:10.0"

# Exit statuses.
DONE, REFUSED, USAGE, NOT_PERMITTED, NO_DEVICE, IN_USE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

# An ordinary user.
USER, UID = "nobody", 65534


def read(path):
    return pathlib.Path(path).read_text(encoding="ascii").strip()


def write(path, text):
    pathlib.Path(path).write_text(text, encoding="ascii")


def shell(command):
    subprocess.run(["sh", "-ec", command], check=True, stdin=subprocess.DEVNULL)


def driver(address):
    try:
        return os.path.basename(os.readlink(PCI / "devices" / address / "driver"))
    except FileNotFoundError:
        return None


def group(address):
    return os.path.basename(os.readlink(PCI / "devices" / address / "iommu_group"))


def cdev(address):
    """The node of the device itself, None if the kernel has none."""
    name = os.path.basename(glob.glob(f"{PCI}/devices/{address}/vfio-dev/vfio*")[0])
    node = f"/dev/vfio/devices/{name}"
    return node if os.path.exists(node) else None


def load(**parameters):
    subprocess.run(["modprobe", DRIVER] + [f"{name}={value}" for name, value in parameters.items()], check=True)


def bind(address, name=DRIVER):
    """Binds a device to a driver; with the name "" to its default one."""
    folder = PCI / "devices" / address
    write(folder / "driver_override", name or "\n")
    if driver(address):
        write(folder / "driver/unbind", address)
    write(PCI / "drivers_probe", address)


def set_vfs(number, pf=PF):
    write(PCI / "devices" / pf / "sriov_numvfs", "0")
    if number:
        write(PCI / "devices" / pf / "sriov_numvfs", str(number))


class Case(unittest.TestCase):
    """A test that starts with the cards under their own drivers, and no VFIO driver loaded."""

    maxDiff = None

    def setUp(self):
        self.tokens = set()
        self.since = len(self.kernel_log())
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.folder = pathlib.Path(self.stack.enter_context(_temporary_folder()))
        self.stack.callback(self.start_again)
        self.start_again()

    def start_again(self):
        for pf in glob.glob(f"{PCI}/devices/0000:0[1-9]:00.0"):
            pf = os.path.basename(pf)
            if os.path.exists(PCI / "devices" / pf / "sriov_numvfs") and driver(pf):
                set_vfs(0, pf)
            if (driver(pf) or "").startswith("vfio-pci") or not driver(pf):
                bind(pf, "")
        for module in ("vfio_pci_rust", "vfio_pci"):
            if os.path.exists(f"/sys/module/{module}"):
                subprocess.run(["modprobe", "-r", module], check=True)
        # Nodes made by mknod, which the kernel does not remove.
        for node in glob.glob("/dev/vfio/[0-9]*") + glob.glob("/dev/vfio/devices/*"):
            os.remove(node)

    def tearDown(self):
        log = "".join(self.kernel_log()[self.since:])
        for token in self.tokens:
            self.assertNotIn(token, log, "a token is in the kernel's log")

    @staticmethod
    def kernel_log():
        return subprocess.run(["dmesg"], check=True, capture_output=True, text=True).stdout.splitlines(True)

    # ---- vfioctl ---------------------------------------------------------------------------------

    def vfioctl(self, *words, status=DONE, token=None, user=None, env=None):
        """Runs it, and returns standard output and standard error. Neither may contain a token."""
        command = [VFIOCTL, *map(str, words)]
        if user:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *command]
        result = subprocess.run(command, capture_output=True, text=True, input=token, timeout=120,
                                check=False, env={**os.environ, **(env or {})})
        said = f"{words}: status {result.returncode}\n{result.stdout}{result.stderr}"
        self.assertEqual(result.returncode, status, said)
        for known in self.tokens:
            self.assertNotIn(known, result.stdout + result.stderr, "a token is printed")
        if status in (REFUSED, NOT_PERMITTED, NO_DEVICE, IN_USE) and not {"doctor", "apply"} & set(words):
            self.assertEqual(result.stderr.count("vfioctl: "), 1, said)
        return result.stdout, result.stderr

    def json(self, schema, *words, **options):
        """Runs it with --json, and validates the object with the schema that it prints itself."""
        output, _ = self.vfioctl("--json", *words, **options)
        found = json.loads(output)
        jsonschema.validate(found, json.loads(self.vfioctl("schema", schema)[0]))
        return found

    def start(self, *words):
        """Starts it in the background."""
        process = subprocess.Popen([VFIOCTL, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.stack.callback(lambda: process.poll() is None and process.kill())
        return process

    def system_calls(self, *words):
        """Runs it, and returns standard output, its system calls, and how often it went through the processes."""
        log = self.folder / "strace"
        output = subprocess.run(["strace", "-f", "-qq", "-y", "-o", log, VFIOCTL, *map(str, words)], check=True,
                                capture_output=True, text=True).stdout
        calls = log.read_text(encoding="utf-8").splitlines()
        return output, calls, sum("openat(" in call and '"/proc",' in call for call in calls)

    # ---- tokens, and programs that have devices open ----------------------------------------------

    def token(self):
        """A token, which must not appear in any output."""
        token = str(uuid.uuid4())
        self.tokens.add(token)
        return token

    def token_file(self, token=None, mode=0o600):
        path = self.folder / f"token-{uuid.uuid4().hex[:8]}"
        path.write_text((token or self.token()) + "\n", encoding="ascii")
        path.chmod(mode)
        return path

    def open_device(self, address, token=None):
        """A program that has the device open until it is killed."""
        code = ("import sys, time, uuid; sys.path.insert(0, sys.argv[1]); import demo\n"
                "demo.Device.has_cdevs = bool(demo.glob.glob('/dev/vfio/devices/vfio*'))\n"
                "token = sys.stdin.readline().strip()\n"
                "device = demo.Device(sys.argv[2], uuid.UUID(token) if token else None)\n"
                "print('open', flush=True); time.sleep(1000)")
        process = subprocess.Popen([sys.executable, "-c", code, str(LAB), address],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(self.end, process)
        process.stdin.write((token or "") + "\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), "open\n")
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()

    # ---- devices in the state that most tests want ------------------------------------------------

    def give_pf(self, vfs=1, **parameters):
        load(enable_sriov=1, **parameters)
        bind(PF)
        set_vfs(vfs)
        return PF

    def give_token(self, vfs=1):
        """Sets the token of a PF with VFs, and returns the file with the token."""
        self.give_pf(vfs)
        path = self.token_file()
        self.vfioctl("token", "set", PF, "--file", path)
        return path

    # ---- the doctor -------------------------------------------------------------------------------

    def doctor(self, *words, **options):
        """The checks of a device, by name, and the last one."""
        found = self.json("doctor", "doctor", *words, **options)
        (examination,) = found["examinations"]
        checks = {check["check"]: check for check in examination["checks"]}
        return checks, examination["checks"][-1]

    def finds(self, check, text, *words, **values):
        """The doctor finds something wrong, and what it says to do fixes it."""
        _, last = self.doctor(*words, status=REFUSED)
        self.assertEqual((last["check"], last["verdict"]), (check, "wrong"), last)
        self.assertIn(text, last["text"])
        # The text output says the same.
        output, _ = self.vfioctl("doctor", *words, status=REFUSED)
        self.assertIn(last["text"], output)
        fix = last["fix"]
        self.assertIn(f"to fix it: {fix}", output)
        for name, value in values.items():
            fix = fix.replace(name, str(value))
        shell(fix.replace("vfioctl ", f"{VFIOCTL} ", 1) if fix.startswith("vfioctl ") else fix)
        return last

    def healthy(self, *words):
        """The doctor finds nothing."""
        checks, _ = self.doctor(*words)
        self.assertNotIn("wrong", [check["verdict"] for check in checks.values()])
        return checks


@contextlib.contextmanager
def _temporary_folder():
    path = pathlib.Path(f"/run/vfioctl-test-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    path.mkdir(mode=0o755)
    try:
        yield path
    finally:
        subprocess.run(["rm", "-rf", path], check=True)
