/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What bindgen reads to make the bindings of the VFIO room.
 */
#ifndef VFIO_PCI_RUST_BINDINGS_H
#define VFIO_PCI_RUST_BINDINGS_H

#include <linux/mman.h>
#include <linux/ratelimit.h>
#include <linux/uuid.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>

#include "params.h"

/* Inline functions and macros of the headers, as functions. See helpers.c. */
void vfio_pci_rust_ratelimit_init(struct ratelimit_state *rs);

#endif /* VFIO_PCI_RUST_BINDINGS_H */
