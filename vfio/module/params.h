/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Module parameters, which Rust reads.
 */
#ifndef VFIO_PCI_RUST_PARAMS_H
#define VFIO_PCI_RUST_PARAMS_H

#include <linux/types.h>

#define VFIO_PCI_RUST_LIST_SIZE 1024

extern char vfio_pci_rust_ids[VFIO_PCI_RUST_LIST_SIZE];
extern char vfio_pci_rust_devices[VFIO_PCI_RUST_LIST_SIZE];
extern bool vfio_pci_rust_takeover;
extern bool vfio_pci_rust_enable_sriov;
extern bool vfio_pci_rust_lenient_token;
extern bool vfio_pci_rust_nointxmask;
extern bool vfio_pci_rust_disable_vga;
extern bool vfio_pci_rust_disable_idle_d3;
extern bool vfio_pci_rust_disable_denylist;

#endif /* VFIO_PCI_RUST_PARAMS_H */
