/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * How vfio-pci-rust refuses, for programs that want to tell their users why.
 *
 * The requests themselves are those of linux/vfio.h. The constants below name
 * the values of errno by what they stand for in the one place or the other.
 */
#ifndef _UAPI_LINUX_VFIO_PCI_RUST_H
#define _UAPI_LINUX_VFIO_PCI_RUST_H

#include <linux/errno.h>
#include <linux/vfio.h>

/* The name of the driver in driver_override and below /sys/bus/pci/drivers. */
#define VFIO_PCI_RUST_DRIVER_NAME	"vfio-pci-rust"

/* The size of a VF token in bytes: a UUID, its most significant byte first. */
#define VFIO_PCI_RUST_TOKEN_SIZE	16

/* The least argsz with which the token can be set. */
#define VFIO_PCI_RUST_TOKEN_ARGSZ \
	(sizeof(struct vfio_device_feature) + VFIO_PCI_RUST_TOKEN_SIZE)

/*
 * VFIO_DEVICE_FEATURE, whatever the feature. The first one that applies is the
 * answer; EFAULT stands for an address that cannot be read or written.
 */

/* argsz is below the size of the header, or does not hold the feature's data. */
#define VFIO_PCI_RUST_ERR_ARGSZ		EINVAL
/* A flag bit above 18 is set; or GET and SET are, and PROBE is not. */
#define VFIO_PCI_RUST_ERR_FLAGS		EINVAL
/* The device has no feature of this index. */
#define VFIO_PCI_RUST_ERR_INDEX		ENOTTY
/* The feature cannot be got, or set; or neither is asked for, without PROBE. */
#define VFIO_PCI_RUST_ERR_OPERATION	EINVAL

/*
 * VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: SET alone, on PFs that can do SR-IOV. If it
 * is refused, the token is the same as before.
 */

/*
 * SR-IOV is not enabled on the PF: there are no VFs to protect. Not with the
 * module parameter lenient_token.
 */
#define VFIO_PCI_RUST_ERR_NO_VFS	ENODEV
/*
 * A VF of the PF is open, under this driver or another one; or a VF that is not
 * under this one is being opened, closed, reset, bound or unbound. With the
 * module parameter lenient_token not for the token that is set already.
 */
#define VFIO_PCI_RUST_ERR_VF_OPEN	EBUSY

/*
 * Opening: VFIO_GROUP_GET_DEVICE_FD with "ADDRESS vf_token=UUID", or
 * VFIO_DEVICE_BIND_IOMMUFD with VFIO_DEVICE_BIND_FLAG_TOKEN.
 */

/*
 * A VF whose PF is bound to a VFIO driver, or a PF with an open VF: the token is
 * missing, and the device is not admitted (vf_token/admit in sysfs), or wrong, or
 * it was replaced before the opening took effect. Or a PF
 * that is opened once more by the group that has it open, with another token; or
 * with another token while a VF that is not under this driver is being opened.
 */
#define VFIO_PCI_RUST_ERR_TOKEN		EACCES
/*
 * A token was presented for a device that has no use for it: a VF whose PF is
 * not bound to a VFIO driver, or a device without SR-IOV. Or the text behind the
 * address is no token.
 */
#define VFIO_PCI_RUST_ERR_UNUSED_TOKEN	EINVAL

#endif /* _UAPI_LINUX_VFIO_PCI_RUST_H */
