// SPDX-License-Identifier: GPL-2.0-only

//! Sample of a VFIO PCI driver in Rust: a variant driver with a feature of its own.
//!
//! Every device has a label of 32 bytes, which its users can read and write, and which stays until
//! the device is unbound: a note from one user to the next. It is feature 0xf000 of
//! `VFIO_DEVICE_FEATURE`, with GET, SET and PROBE. `vfio-pci-core` does everything else.
//!
//! To try it, bind any PCI device to it, such as QEMU's `nvme`.

// The sample does not use everything.
#[allow(dead_code, unused_imports)]
mod vfio;

use crate::vfio::{
    feature_table,
    Device,
    Driver,
    DriverName,
    FeatureArg,
    IoctlReturn,
    Opened,
    Registration, //
};
use kernel::{
    device::Core,
    new_mutex,
    pci,
    prelude::*,
    sync::Mutex,
    ModuleMetadata, //
};

module! {
    type: LabelModule,
    name: "vfio_pci_label",
    authors: ["vfio-pci-rust developers"],
    description: "Sample VFIO PCI driver with a feature of its own",
    license: "GPL v2",
}

struct LabelModule {
    _driver: Pin<KBox<Registration<LabelDriver>>>,
}

impl kernel::Module for LabelModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _driver: Registration::new(NAME, <Self as ModuleMetadata>::NAME, module)?,
        })
    }
}

const NAME: &DriverName<LabelDriver> = &DriverName::new(c"vfio-pci-label", None);

const FEATURE_LABEL: u32 = 0xf000;

type Label = [u8; 32];

struct LabelDriver;

#[pin_data]
struct Labelled {
    #[pin]
    label: Mutex<Label>,
}

#[vtable]
impl Driver for LabelDriver {
    type Data = Labelled;
    type Open = ();

    fn init(_pdev: &pci::Device<Core<'_>>) -> impl PinInit<Self::Data, Error> {
        try_pin_init!(Labelled {
            label <- new_mutex!([0; 32]),
        })
    }

    fn device_feature(dev: &Device<Self, Opened>, flags: u32, arg: FeatureArg) -> IoctlReturn {
        dispatch(dev, flags, arg)
    }
}

feature_table! {
    fn dispatch(dev: &Device<LabelDriver, Opened>);

    FEATURE_LABEL => get_set: Label = get_label, set_label;
}

fn get_label(dev: &Device<LabelDriver, Opened>) -> Result<Label> {
    Ok(*dev.data().label.lock())
}

fn set_label(dev: &Device<LabelDriver, Opened>, label: &Label) -> Result {
    *dev.data().label.lock() = *label;
    Ok(())
}
