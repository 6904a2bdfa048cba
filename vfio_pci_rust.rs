// SPDX-License-Identifier: GPL-2.0-only

//! VFIO PCI driver in Rust that enforces the VF token.

mod denylist;
mod igd;
mod vf_token;
mod vfio;
mod vfio_feature;

use crate::vfio::module::{
    list,
    params,
    ModuleLink, //
};
use crate::vfio::{
    tell_kept_by,
    Address,
    Closed,
    Closing,
    Device,
    Driver,
    DriverName,
    Enabled,
    FeatureArg,
    Folder,
    Function,
    Id,
    IoctlReturn,
    Locked,
    Opened,
    Options,
    Overrides,
    Path,
    Registration,
    Unregistered,
    Uuid, //
};
use kernel::{
    device::Core,
    pci::{
        self,
        Vendor, //
    },
    prelude::*,
    str::BStr,
    ModuleMetadata, //
};

module! {
    type: VfioPciRustModule,
    name: "vfio_pci_rust",
    authors: ["vfio-pci-rust developers"],
    description: "VFIO PCI driver with enforced VF tokens",
    license: "GPL v2",
}

/// The driver's own name.
const OWN: &DriverName<VfioPciRust> = &DriverName::new(OWN_NAME, None);
const OWN_NAME: &CStr = c"vfio-pci-rust";

/// The name under which it stands in for the driver in C. It also binds devices whose
/// `driver_override` is its own name.
const TAKEOVER: &DriverName<VfioPciRust> = &DriverName::new(c"vfio-pci", Some(OWN_NAME));

/// The name of the module.
const MODULE_NAME: &CStr = <VfioPciRustModule as ModuleMetadata>::NAME;

/// The name of the module of the driver in C, which some programs look for.
const TAKEOVER_MODULE: &CStr = c"vfio_pci";

/// The module: one registered driver. Its parts are dropped in this order.
struct VfioPciRustModule {
    _overrides: Option<Pin<KBox<Overrides>>>,
    _takeover: Option<Takeover>,
    _driver: Pin<KBox<Registration<VfioPciRust>>>,
}

impl kernel::Module for VfioPciRustModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let takeover = params::takeover();

        let name = if takeover { TAKEOVER } else { OWN };
        let driver = Registration::new(name, MODULE_NAME, module).inspect_err(|e| {
            if takeover && *e == EBUSY {
                pr_warn!("takeover=1, but vfio-pci is loaded; run 'modprobe -r vfio-pci' first\n");
            }
        })?;
        let takeover = if takeover {
            Some(Takeover::new(&driver, module)?)
        } else {
            None
        };
        if params::disable_denylist() {
            pr_warn!("device denylist disabled.\n");
        }
        take_ids(&driver);
        Ok(Self {
            _overrides: take_devices(&driver)?,
            _takeover: takeover,
            _driver: driver,
        })
    }
}

/// What exists only while the driver stands in for the one in C.
struct Takeover {
    _link: Option<ModuleLink>,
    _own_name: Pin<KBox<Registration<VfioPciRust>>>,
}

impl Takeover {
    fn new(driver: &Registration<VfioPciRust>, module: &'static ThisModule) -> Result<Self> {
        let own_name = driver.also_named(OWN, MODULE_NAME, module)?;
        let link = ModuleLink::new(TAKEOVER_MODULE, module).unwrap_or_else(|_| {
            pr_warn!("/sys/module/vfio_pci, which some programs look for, not created\n");
            None
        });
        Ok(Self {
            _link: link,
            _own_name: own_name,
        })
    }
}

/// Logs which entry of a parameter is wrong, and why.
#[cold]
fn warn(what: &str, entry: &[u8]) {
    pr_warn!("{} {}\n", what, BStr::from_bytes(entry));
}

/// Makes the driver bind the devices that the parameter `ids` names.
fn take_ids(driver: &Registration<VfioPciRust>) {
    for entry in list::entries(params::ids()) {
        let Some(id) = Id::parse(entry) else {
            warn("invalid id string", entry);
            continue;
        };
        if driver.add_id(&id).is_err() {
            warn("failed to add dynamic id", entry);
            continue;
        }
        pr_info!("add {}\n", BStr::from_bytes(entry));
        tell_kept_by(driver.names(), &id);
    }
}

/// Makes the driver bind the devices that the parameter `devices` names.
fn take_devices(driver: &Registration<VfioPciRust>) -> Result<Option<Pin<KBox<Overrides>>>> {
    if params::devices().is_empty() {
        return Ok(None);
    }
    let addresses = list::entries(params::devices()).filter_map(|entry| {
        let address = Address::parse(entry);
        if address.is_none() {
            warn(
                "not a device address, write one such as 0000:01:00.0:",
                entry,
            );
        }
        address
    });
    let overrides = KBox::pin_init(Overrides::new(driver.names(), addresses)?, GFP_KERNEL)?;
    overrides.give_present();
    Ok(Some(overrides))
}

// `denylist` repeats these numbers, so that it depends on nothing else.
const _: () = {
    use crate::vfio::pci_ids as ids;

    assert!(denylist::VENDOR == Vendor::INTEL.as_raw());
    let expected = [
        ids::PCI_DEVICE_ID_INTEL_QAT_C3XXX,
        ids::PCI_DEVICE_ID_INTEL_QAT_C3XXX_VF,
        ids::PCI_DEVICE_ID_INTEL_QAT_C62X,
        ids::PCI_DEVICE_ID_INTEL_QAT_C62X_VF,
        ids::PCI_DEVICE_ID_INTEL_QAT_DH895XCC,
        ids::PCI_DEVICE_ID_INTEL_QAT_DH895XCC_VF,
        ids::PCI_DEVICE_ID_INTEL_DSA_SPR0,
        ids::PCI_DEVICE_ID_INTEL_IAX_SPR0,
    ];
    let mut i = 0;
    while i < expected.len() {
        assert!(denylist::DEVICES[i] as u32 == expected[i]);
        i += 1;
    }
};

/// Refuses devices on the denylist.
fn check_denylist(pdev: &pci::Device) -> Result {
    if !denylist::has(pdev.vendor_id().as_raw(), pdev.device_id()) {
        return Ok(());
    }
    if params::disable_denylist() {
        dev_warn!(pdev, "device denylist disabled - allowing this device\n");
        return Ok(());
    }
    dev_warn!(
        pdev,
        "not bound: the device is on the denylist, its user could harm the machine; if you trust \
         the user, load the module with disable_denylist=1\n"
    );
    Err(EINVAL)
}

/// The driver.
struct VfioPciRust;

#[vtable]
impl Driver for VfioPciRust {
    type Data = vf_token::Role;
    type Open = Option<vf_token::Claim>;

    const FOLDER: Option<&'static Folder<Self>> = Some(vf_token::FOLDER);

    fn options() -> Options {
        Options {
            nointxmask: params::nointxmask(),
            disable_vga: params::disable_vga(),
            disable_idle_d3: params::disable_idle_d3(),
        }
    }

    fn init(pdev: &pci::Device<Core<'_>>) -> impl PinInit<Self::Data, Error> {
        let pdev: &pci::Device = pdev;
        check_denylist(pdev).and_then(|()| vf_token::Role::new(Function::of(pdev)))
    }

    fn registered(dev: &Device<Self, Locked>) {
        vf_token::registered(dev);
    }

    fn unregistering(dev: &Device<Self, Locked>) {
        vf_token::unregistering(dev);
    }

    fn unregistered(dev: &Device<Self, Unregistered>) {
        vf_token::unregistered(dev);
    }

    fn open_device<'a>(dev: Closed<'a, Self>) -> Result<(Enabled<'a, Self>, Self::Open)> {
        let device = dev.device();
        let claim = vf_token::claim(&dev)?;
        let enabled = dev.enable().and_then(|enabled| {
            if igd::is_handled(enabled.pdev()) {
                igd::add_regions(&enabled)?;
            }
            vf_token::opened(&enabled)?;
            Ok(enabled)
        });
        let enabled = match enabled {
            Ok(enabled) => enabled,
            Err(e) => {
                drop(claim);
                vf_token::not_opened(device);
                return Err(e);
            }
        };
        Ok((enabled, claim))
    }

    fn close_device(dev: &Device<Self, Closing>) {
        vf_token::closed(dev);
    }

    fn device_feature(dev: &Device<Self, Opened>, flags: u32, arg: FeatureArg) -> IoctlReturn {
        vfio_feature::dispatch(dev, flags, arg)
    }

    fn match_token(dev: &Device<Self>, token: Option<&Uuid>, path: Path) -> Result {
        vf_token::match_token(dev, token, path)
    }

    fn match_malformed(dev: &Device<Self>) {
        dev.notice(
            "not opened: the text after the address is not a VF token; write \"vf_token=\" and a \
             UUID of 36 characters",
            None,
            "",
        );
    }

    fn sriov_configure(dev: &Device<Self, Locked>, num_vfs: c_int) -> Result<c_int> {
        if !params::enable_sriov() {
            dev.notice(
                "SR-IOV not configured: write Y to \
                  /sys/module/vfio_pci_rust/parameters/enable_sriov first",
                None,
                "",
            );
            return Err(ENOENT);
        }
        vf_token::sriov_configure(dev, num_vfs)
    }
}
