/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Module parameters, which Rust reads.
 */
#ifndef VFIO_PCI_RUST_PARAMS_H
#define VFIO_PCI_RUST_PARAMS_H

#include <linux/types.h>

extern bool vfio_pci_rust_enable_sriov;

#endif /* VFIO_PCI_RUST_PARAMS_H */
