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
