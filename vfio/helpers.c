// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inline functions and macros that Rust cannot call, as functions.
 */

#include "bindings.h"

void vfio_pci_rust_ratelimit_init(struct ratelimit_state *rs)
{
	ratelimit_state_init(rs, DEFAULT_RATELIMIT_INTERVAL,
			     DEFAULT_RATELIMIT_BURST);
}

bool vfio_pci_rust_mutex_trylock_nest_lock(struct mutex *lock, struct mutex *outer)
{
	return mutex_trylock_nest_lock(lock, outer);
}

struct pci_dev *vfio_pci_rust_next_vf(struct pci_dev *pf, struct pci_dev *vf)
{
	do {
		vf = pci_get_device(PCI_ANY_ID, PCI_ANY_ID, vf);
	} while (vf && (!vf->is_virtfn || pci_physfn(vf) != pf));
	return vf;
}

int vfio_pci_rust_match_driver_override(struct device *dev, const char *name)
{
	const struct device_driver driver = { .name = name };

	return device_match_driver_override(dev, &driver);
}
