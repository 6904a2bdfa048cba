/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The header from which bindgen generates the bindings to VFIO.
 */
#ifndef VFIO_PCI_RUST_BINDINGS_H
#define VFIO_PCI_RUST_BINDINGS_H

#include <linux/mman.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>
#include <linux/uuid.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>

#include "module/params.h"

/* Inline functions and macros of the headers, as functions. See helpers.c. */
void vfio_pci_rust_ratelimit_init(struct ratelimit_state *rs);

/* mutex_trylock() for one of many locks that are taken with @outer held. */
bool vfio_pci_rust_mutex_trylock_nest_lock(struct mutex *lock, struct mutex *outer);

/*
 * Returns the VF of @pf after @vf, or the first one if @vf is NULL, with a
 * reference. Drops the reference to @vf. If @vf has been removed meanwhile, the
 * walk starts again, so a VF may come twice.
 */
struct pci_dev *vfio_pci_rust_next_vf(struct pci_dev *pf, struct pci_dev *vf);

/* 1 if the driver_override of @dev is @name, 0 if it is another, -1 if it has none. */
int vfio_pci_rust_match_driver_override(struct device *dev, const char *name);

#endif /* VFIO_PCI_RUST_BINDINGS_H */
