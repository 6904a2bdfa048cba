// SPDX-License-Identifier: GPL-2.0-only
/*
 * Module parameters that the `module!` macro cannot declare yet: those that
 * can be written in sysfs.
 */

#include <linux/moduleparam.h>

#include "params.h"

bool vfio_pci_rust_enable_sriov;
#ifdef CONFIG_PCI_IOV
module_param_named(enable_sriov, vfio_pci_rust_enable_sriov, bool, 0644);
MODULE_PARM_DESC(enable_sriov,
		 "Let sriov_numvfs create VFs of bound PFs. The user space driver of the PF must know how to serve them (default: N)");
#endif
