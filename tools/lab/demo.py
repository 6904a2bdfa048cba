#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Shows the VF token on an SR-IOV card, step by step.

Runs as root in the lab's guest, as `make demo`. Exit status 0 if every answer was the expected one.
"""

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import struct
import subprocess
import sys
import uuid

PCI = "/sys/bus/pci"
DRIVER = "vfio-pci-rust"

# From linux/vfio.h: ioctls are _IO(';', 100 + n).
VFIO_SET_IOMMU = 0x3B66
VFIO_GROUP_SET_CONTAINER = 0x3B68
VFIO_GROUP_GET_DEVICE_FD = 0x3B6A
VFIO_TYPE1v2_IOMMU = 3
VFIO_DEVICE_GET_REGION_INFO = 0x3B6C
VFIO_DEVICE_FEATURE = 0x3B75
VFIO_DEVICE_BIND_IOMMUFD = 0x3B76
VFIO_DEVICE_BIND_FLAG_TOKEN = 1
VFIO_DEVICE_FEATURE_SET = 1 << 17
VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0
VFIO_PCI_CONFIG_REGION_INDEX = 7

# The meaning of the answers.
MEANING = {
    "OK": "granted",
    "EACCES": "permission denied: the token is missing or wrong",
    "EBUSY": "a VF is open",
    "ENODEV": "there are no VFs",
}

OWN_MACHINE = """
On a machine of your own with Debian 13 and that kernel (trixie-backports), as root:
   make deb{arch}
   apt install ./build/deb/vfio-pci-rust-dkms_*.deb
   modprobe vfio_pci_rust enable_sriov=1
"""

unexpected = 0
step_number = 0


def step(text):
    """Starts the next step."""
    global step_number
    step_number += 1
    print(f"\n{step_number}. {text}", flush=True)


def tell(text):
    """Adds a line to the step."""
    print(f"   {text}", flush=True)


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def expect(action, wanted, call):
    """Makes the call, prints the answer, and counts it if it is not the `wanted` one.

    Ends the demo if the call failed and should not have, since the other steps depend on it.
    """
    global unexpected
    result = None
    try:
        result = call()
        answer = "OK"
    except OSError as error:
        answer = errno.errorcode.get(error.errno, str(error.errno))
    verdict = "as expected" if answer == wanted else f"EXPECTED: {wanted}"
    tell(f"{action}  ->  {answer} ({MEANING.get(answer, 'unforeseen')}), {verdict}")
    if answer != wanted:
        unexpected += 1
        if wanted == "OK":
            sys.exit("\nThe demo ends here: this should have been granted.")
    return result


class Device:
    """An open VFIO device: by its character device where the kernel has those, else by its group."""

    has_cdevs = False

    def __init__(self, address, token=None):
        with contextlib.ExitStack() as self.stack:
            self.fd = (self.open_cdev if self.has_cdevs else self.open_group)(address, token)
            self.stack = self.stack.pop_all()

    def open_file(self, path):
        fd = os.open(path, os.O_RDWR)
        self.stack.callback(os.close, fd)
        return fd

    def open_cdev(self, address, token):
        name = os.path.basename(glob.glob(f"{PCI}/devices/{address}/vfio-dev/vfio*")[0])
        iommufd = self.open_file("/dev/iommu")
        fd = self.open_file(f"/dev/vfio/devices/{name}")
        secret = bytearray(token.bytes if token else bytes(16))
        pointer = address_of(secret) if token else 0
        flags = VFIO_DEVICE_BIND_FLAG_TOKEN if token else 0
        bind = struct.pack("=IIiIQ", 24, flags, iommufd, 0, pointer)
        fcntl.ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, bytearray(bind))
        return fd

    def open_group(self, address, token):
        container = self.open_file("/dev/vfio/vfio")
        number = os.path.basename(os.readlink(f"{PCI}/devices/{address}/iommu_group"))
        group = self.open_file(f"/dev/vfio/{number}")
        fcntl.ioctl(group, VFIO_GROUP_SET_CONTAINER, struct.pack("=i", container))
        fcntl.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)
        name = f"{address} vf_token={token}" if token else address
        fd = fcntl.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bytearray(name.encode() + b"\0"))
        self.stack.callback(os.close, fd)
        return fd

    def close(self):
        self.stack.close()

    def set_token(self, token):
        flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN
        fcntl.ioctl(self.fd, VFIO_DEVICE_FEATURE, struct.pack("=II", 24, flags) + token.bytes)

    def ids(self):
        """Vendor and device, read from config space through the open device."""
        info = bytearray(struct.pack("=IIIIQQ", 32, 0, VFIO_PCI_CONFIG_REGION_INDEX, 0, 0, 0))
        fcntl.ioctl(self.fd, VFIO_DEVICE_GET_REGION_INFO, info)
        offset = struct.unpack("=IIIIQQ", info)[5]
        return "%04x:%04x" % struct.unpack("=HH", os.pread(self.fd, 4, offset))


def address_of(buffer):
    """The address of a buffer's bytes."""
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


def last_kernel_message():
    lines = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    ours = [line for line in lines.splitlines() if DRIVER in line and "token" in line]
    return ours[-1].split("] ", 1)[-1] if ours else "(nothing)"


def open_and_close(address, token=None):
    device = Device(address, token)
    device.close()


def find_pf():
    for path in sorted(glob.glob(f"{PCI}/devices/*/sriov_totalvfs")):
        if int(read(path)) > 0:
            return path.split("/")[-2]
    sys.exit("demo: there is no SR-IOV card here; run it in the guest, as 'make demo'")


def main():
    subprocess.run(["modprobe", "vfio_pci_rust"], check=True)
    subprocess.run(["modprobe", "-q", "-a", "vfio_iommu_type1", "iommufd"], check=False)
    Device.has_cdevs = os.path.exists("/dev/iommu")
    write("/sys/module/vfio_pci_rust/parameters/enable_sriov", "1")
    pf = find_pf()
    sysfs = f"{PCI}/devices/{pf}"
    token, wrong, second = (uuid.uuid4() for _ in range(3))

    step("A card with SR-IOV is given to user space: its physical function (PF).")
    if os.path.exists(f"{sysfs}/driver"):
        write(f"{sysfs}/driver/unbind", pf)
    write(f"{sysfs}/driver_override", DRIVER)
    write(f"{PCI}/drivers_probe", pf)
    ids = f"{read(f'{sysfs}/vendor')[2:]}:{read(f'{sysfs}/device')[2:]}"
    tell(f"PF {pf} ({ids}) is bound to {os.path.basename(os.readlink(f'{sysfs}/driver'))}")
    user = expect("A program, say DPDK, opens the PF", "OK", lambda: Device(pf))

    step("Whoever drives the PF can harm its virtual functions (VFs), so they need its consent:")
    tell("a token, a UUID that the PF's user sets and that every user of a VF presents.")
    expect("The PF's user sets a token", "ENODEV", lambda: user.set_token(token))
    tell("There are no VFs yet, SR-IOV is off. vfio-pci would say OK here.")

    step("The administrator turns SR-IOV on.")
    write(f"{sysfs}/sriov_numvfs", "2")
    vf, other_vf = (os.path.basename(os.readlink(f"{sysfs}/virtfn{i}")) for i in range(2))
    drivers = [os.path.basename(os.readlink(f"{PCI}/devices/{v}/driver")) for v in (vf, other_vf)]
    tell(f"VFs {vf} and {other_vf} appear, bound to {' and '.join(sorted(set(drivers)))}")
    expect("The PF's user sets the token", "OK", lambda: user.set_token(token))

    step(f"Another program wants VF {vf}.")
    expect("It opens the VF without a token", "EACCES", lambda: open_and_close(vf))
    tell(f"The kernel log says: {last_kernel_message()}")
    expect("It opens the VF with a wrong token", "EACCES", lambda: open_and_close(vf, wrong))
    vf_user = expect("It opens the VF with the right token", "OK", lambda: Device(vf, token))
    tell(f"Through it, the VF answers with its ids: {vf_user.ids()}")

    step("While a VF is open its token stays, so that nobody changes the rules under its user.")
    expect("The PF's user sets another token", "EBUSY", lambda: user.set_token(second))
    tell("vfio-pci would say OK here.")
    expect("The same token still opens the other VF", "OK", lambda: open_and_close(other_vf, token))

    step("The VF is closed, and the PF's user sets another token.")
    vf_user.close()
    expect("It sets the other token", "OK", lambda: user.set_token(second))
    expect("The VF is opened with the old token", "EACCES", lambda: open_and_close(vf, token))
    expect("The VF is opened with the new token", "OK", lambda: open_and_close(vf, second))

    user.close()
    write(f"{sysfs}/sriov_numvfs", "0")
    if unexpected:
        print(f"\n{unexpected} answers were not the expected ones.")
        sys.exit(1)
    print("\nEvery answer was the expected one.")
    way = "character device and iommufd" if Device.has_cdevs else "group and container"
    print(f"Shown on Linux {os.uname().release}, with every device opened by its {way}.")
    print(OWN_MACHINE.format(arch="" if os.uname().machine == "x86_64" else " ARCH=arm64"), end="")


if __name__ == "__main__":
    main()
