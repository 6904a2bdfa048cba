/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The errors of vfio-pci-rust, for programs that explain them to their users.
 *
 * The requests themselves are those of linux/vfio.h. The constants below name
 * values of errno by what they mean for a request.
 */
#ifndef _UAPI_LINUX_VFIO_PCI_RUST_H
#define _UAPI_LINUX_VFIO_PCI_RUST_H

#include <linux/errno.h>
#include <linux/vfio.h>

/* The name of the driver in driver_override and below /sys/bus/pci/drivers. */
#define VFIO_PCI_RUST_DRIVER_NAME	"vfio-pci-rust"

/* The size of a VF token in bytes: a UUID, its most significant byte first. */
#define VFIO_PCI_RUST_TOKEN_SIZE	16

/* The smallest argsz with which the token can be set. */
#define VFIO_PCI_RUST_TOKEN_ARGSZ \
	(sizeof(struct vfio_device_feature) + VFIO_PCI_RUST_TOKEN_SIZE)

/*
 * VFIO_DEVICE_FEATURE, for any feature. The first condition that applies gives
 * the answer; EFAULT means that an address cannot be read or written.
 */

/* argsz is too small for the header, or for the feature's data. */
#define VFIO_PCI_RUST_ERR_ARGSZ		EINVAL
/* A flag bit above 18 is set; or GET and SET are set, and PROBE is not. */
#define VFIO_PCI_RUST_ERR_FLAGS		EINVAL
/* The device does not have a feature of this index. */
#define VFIO_PCI_RUST_ERR_INDEX		ENOTTY
/* The feature does not offer GET, or SET; or none of GET, SET and PROBE is set. */
#define VFIO_PCI_RUST_ERR_OPERATION	EINVAL

/*
 * VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: only SET, on PFs that support SR-IOV. After
 * an error the token is unchanged.
 */

/*
 * SR-IOV is off: the PF has no VFs. Not with the module parameter
 * lenient_token. Or the PF is being unbound.
 */
#define VFIO_PCI_RUST_ERR_NO_VFS	ENODEV
/*
 * A VF of the PF is open, under any VFIO driver; or a VF that is not bound to
 * this driver is just being opened, closed, reset, bound or unbound. With the
 * module parameter lenient_token, not for the token that is already set.
 */
#define VFIO_PCI_RUST_ERR_VF_OPEN	EBUSY

/*
 * Opening: VFIO_GROUP_GET_DEVICE_FD with "ADDRESS vf_token=UUID", or
 * VFIO_DEVICE_BIND_IOMMUFD with VFIO_DEVICE_BIND_FLAG_TOKEN.
 */

/*
 * A VF whose PF is bound to a VFIO driver, or a PF with an open VF: the token is
 * missing, and the device is not admitted (vf_token/admit in sysfs); or it is
 * wrong; or it was replaced before the opening took effect. Or a PF that is
 * opened with another token than its own, either once more by the group that has
 * it open, or while a VF that is not bound to this driver is being opened.
 */
#define VFIO_PCI_RUST_ERR_TOKEN		EACCES
/*
 * A token was presented for a device that needs none: a VF whose PF is not bound
 * to a VFIO driver, or a device without SR-IOV. Or the text after the address is
 * not a token.
 */
#define VFIO_PCI_RUST_ERR_UNUSED_TOKEN	EINVAL

#endif /* _UAPI_LINUX_VFIO_PCI_RUST_H */
