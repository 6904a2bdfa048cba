// SPDX-License-Identifier: GPL-2.0-only
/*
 * Module parameters that the `module!` macro cannot declare yet: strings, and
 * those that can be read or written in sysfs.
 */

#include <linux/module.h>

#include "params.h"

/* The `module!` macro has no field for it. See CHANGELOG.md. */
MODULE_VERSION("0.1.0");

char vfio_pci_rust_ids[VFIO_PCI_RUST_LIST_SIZE];
module_param_string(ids, vfio_pci_rust_ids, sizeof(vfio_pci_rust_ids), 0);
MODULE_PARM_DESC(ids,
		 "IDs of devices to bind, as vendor:device[:subvendor[:subdevice[:class[:class_mask]]]] in hexadecimal, separated by commas");

char vfio_pci_rust_devices[VFIO_PCI_RUST_LIST_SIZE];
module_param_string(devices, vfio_pci_rust_devices, sizeof(vfio_pci_rust_devices), 0);
MODULE_PARM_DESC(devices,
		 "Addresses of devices to bind if they have no driver, now or when they appear, such as 0000:01:00.0, separated by commas");

bool vfio_pci_rust_takeover;
module_param_named(takeover, vfio_pci_rust_takeover, bool, 0444);
MODULE_PARM_DESC(takeover,
		 "Register as vfio-pci, for programs that look for a driver of that name; vfio-pci must not be loaded (default: N)");

bool vfio_pci_rust_enable_sriov;
#ifdef CONFIG_PCI_IOV
module_param_named(enable_sriov, vfio_pci_rust_enable_sriov, bool, 0644);
MODULE_PARM_DESC(enable_sriov,
		 "Let sriov_numvfs create VFs of bound PFs, whose user space drivers must be able to serve them (default: N)");
#endif

bool vfio_pci_rust_lenient_token;
module_param_named(lenient_token, vfio_pci_rust_lenient_token, bool, 0644);
MODULE_PARM_DESC(lenient_token,
		 "Let the VF token be set while there are no VFs, and the current one again while VFs are open (default: N)");

bool vfio_pci_rust_nointxmask;
module_param_named(nointxmask, vfio_pci_rust_nointxmask, bool, 0644);
MODULE_PARM_DESC(nointxmask,
		 "Mask INTx at the interrupt controller instead of in the device, for devices bound from now on (default: N)");

bool vfio_pci_rust_disable_vga;
#ifdef CONFIG_VFIO_PCI_VGA
module_param_named(disable_vga, vfio_pci_rust_disable_vga, bool, 0444);
MODULE_PARM_DESC(disable_vga,
		 "Give no access to legacy VGA resources (default: N)");
#endif

bool vfio_pci_rust_disable_idle_d3;
module_param_named(disable_idle_d3, vfio_pci_rust_disable_idle_d3, bool, 0644);
MODULE_PARM_DESC(disable_idle_d3,
		 "Keep devices in D0 while nobody has them open, for devices bound from now on (default: N)");

bool vfio_pci_rust_disable_denylist;
module_param_named(disable_denylist, vfio_pci_rust_disable_denylist, bool, 0444);
MODULE_PARM_DESC(disable_denylist,
		 "Also bind devices with which an untrusted user could harm the machine (default: N)");
