// SPDX-License-Identifier: GPL-2.0-only

//! VFIO PCI driver in Rust, which keeps the promises about the VF token.

mod vf_token;
mod vfio;
mod vfio_feature;

use crate::vfio::{
    params,
    Closed,
    Device,
    Driver,
    Enabled,
    FeatureArg,
    Function,
    Locked,
    Registration,
    Uuid, //
};
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

module! {
    type: VfioPciRustModule,
    name: "vfio_pci_rust",
    authors: ["vfio-pci-rust developers"],
    description: "VFIO PCI driver in Rust, with enforced VF tokens",
    license: "GPL v2",
}

/// The name of the driver, for PCI and in `driver_override`.
const DRIVER_NAME: &CStr = c"vfio-pci-rust";

/// The module: one registered driver.
#[pin_data]
struct VfioPciRustModule {
    #[pin]
    _driver: Registration<VfioPciRust>,
}

impl kernel::InPlaceModule for VfioPciRustModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- Registration::new(DRIVER_NAME, module),
        })
    }
}

/// The driver.
struct VfioPciRust;

#[vtable]
impl Driver for VfioPciRust {
    type Data = vf_token::Role;
    type Open = Option<vf_token::Claim>;

    fn init(pdev: &pci::Device<Core<'_>>) -> impl PinInit<Self::Data, Error> {
        vf_token::Role::new(Function::of(pdev))
    }

    fn registered(dev: &Locked<'_, Self>) {
        vf_token::publish(dev);
    }

    fn unregistering(dev: &Locked<'_, Self>) {
        // It waits until the users of the VFs have closed them. The core would do it later anyway.
        if dev.num_vfs() > 0 {
            let _ = dev.sriov_configure(0);
        }
        vf_token::retire(dev);
    }

    fn open_device<'a>(dev: Closed<'a, Self>) -> Result<(Enabled<'a, Self>, Self::Open)> {
        let claim = vf_token::claim(&dev)?;
        Ok((dev.enable()?, claim))
    }

    fn device_feature(dev: &Device<Self>, flags: u32, arg: FeatureArg) -> Result {
        vfio_feature::dispatch(dev, flags, arg)
    }

    fn match_token_uuid(dev: &Device<Self>, token: Option<&Uuid>) -> Result {
        vf_token::match_token(dev, token)
    }

    fn sriov_configure(dev: &Locked<'_, Self>, num_vfs: c_int) -> Result<c_int> {
        if !params::enable_sriov() {
            if dev.may_log() {
                dev_info!(
                    dev.pdev(),
                    "SR-IOV not configured: set the module parameter enable_sriov first\n"
                );
            }
            return Err(ENOENT);
        }
        dev.sriov_configure(num_vfs)
    }
}
