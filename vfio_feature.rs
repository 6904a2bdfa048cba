// SPDX-License-Identifier: GPL-2.0-only

//! `VFIO_DEVICE_FEATURE`: which features there are, and who answers them.
//!
//! A feature of ours implements [`Feature`] and has one line in [`dispatch`]. The order of the
//! checks, the sizes and the copies from and to user space are the same for all of them.
//!
//! UAPI: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

mod request;

use self::request::{
    Action,
    Operations,
    Request, //
};
use crate::{
    vf_token,
    vfio::{
        uapi,
        Device,
        FeatureArg,
        Uuid, //
    },
    VfioPciRust, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

type VfioDevice = Device<VfioPciRust>;

// `request` has these as numbers of its own, to depend on nothing.
const _: () = assert!(
    request::INDEX_MASK == uapi::VFIO_DEVICE_FEATURE_MASK
        && request::GET == uapi::VFIO_DEVICE_FEATURE_GET
        && request::SET == uapi::VFIO_DEVICE_FEATURE_SET
        && request::PROBE == uapi::VFIO_DEVICE_FEATURE_PROBE
);

/// A feature that this driver answers itself.
trait Feature {
    /// The data behind the header, of which no more than its size is read.
    type Data: FromBytes + Default;

    /// What can be done with it.
    const OPERATIONS: Operations;

    /// Whether the device has the feature.
    fn supported(dev: &VfioDevice) -> bool;

    /// Takes over the data of a SET.
    fn set(dev: &VfioDevice, data: &Self::Data) -> Result;
}

/// `VFIO_DEVICE_FEATURE_PCI_VF_TOKEN`, see [`vf_token`].
///
/// There is no GET: it would show the token of the previous user.
struct PciVfToken;

impl Feature for PciVfToken {
    type Data = Uuid;

    const OPERATIONS: Operations = Operations {
        get: false,
        set: true,
    };

    fn supported(dev: &VfioDevice) -> bool {
        vf_token::of_pf(dev).is_some()
    }

    fn set(dev: &VfioDevice, data: &Uuid) -> Result {
        vf_token::set(dev, vf_token::of_pf(dev).ok_or(ENOTTY)?, data)
    }
}

fn run<F: Feature>(dev: &VfioDevice, request: Request, arg: FeatureArg) -> Result {
    if !F::supported(dev) {
        return Err(ENOTTY);
    }
    match request.check(F::OPERATIONS, size_of::<F::Data>(), arg.size())? {
        Action::Probe => Ok(()),
        Action::Set => {
            // Read in place, so that a secret leaves no second copy on the stack.
            let mut data = F::Data::default();
            arg.read_into(&mut data)?;
            F::set(dev, &data)
        }
        // No feature of ours offers it.
        Action::Get => Err(EINVAL),
    }
}

/// Answers a `VFIO_DEVICE_FEATURE` call on `dev`.
///
/// # Errors
///
/// In the order in which they decide:
///
/// - `EINVAL` if the flags make no sense, see [`Request::new`].
/// - `ENOTTY` if the device does not support the feature.
/// - `EINVAL` if the feature does not offer the operation, or there is too little data, see
///   [`Request::check`].
/// - `EFAULT` if the data cannot be read or written.
/// - Those of the feature.
pub(crate) fn dispatch(dev: &VfioDevice, flags: u32, arg: FeatureArg) -> Result {
    let request = Request::new(flags)?;
    match request.index() {
        uapi::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN => run::<PciVfToken>(dev, request, arg),
        uapi::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
        | uapi::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP
        | uapi::VFIO_DEVICE_FEATURE_LOW_POWER_EXIT
        | uapi::VFIO_DEVICE_FEATURE_DMA_BUF
        | uapi::VFIO_DEVICE_FEATURE_ZPCI_ERROR => dev.core_ioctl_feature(request.flags(), arg),
        _ => Err(ENOTTY),
    }
}
