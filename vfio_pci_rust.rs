// SPDX-License-Identifier: GPL-2.0-only

//! VFIO PCI driver in Rust, which keeps the promises about the VF token.

mod denylist;
mod igd;
mod vf_token;
mod vfio;
mod vfio_feature;

use crate::vfio::{
    module::{
        list,
        params,
        ModuleLink,
        Overrides, //
    },
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
    Path,
    Registration,
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
struct Own;

impl DriverName for Own {
    const NAME: &'static CStr = c"vfio-pci-rust";
}

/// Its name when it stands in for the driver in C.
struct Takeover;

impl DriverName for Takeover {
    const NAME: &'static CStr = c"vfio-pci";
    // For those who write it into `driver_override` all the same.
    const OTHER: Option<&'static CStr> = Some(Own::NAME);
}

/// The name of the module of the driver in C, by which programs look for that, too.
const TAKEOVER_MODULE: &CStr = c"vfio_pci";

/// The module: one registered driver. What is named first ends first.
struct VfioPciRustModule {
    _overrides: Option<Pin<KBox<Overrides>>>,
    _link: Option<ModuleLink>,
    _own_name: Option<Pin<KBox<Registration<VfioPciRust>>>>,
    _driver: Pin<KBox<Registration<VfioPciRust>>>,
}

impl kernel::Module for VfioPciRustModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let takeover = params::takeover();
        let module_name = <Self as ModuleMetadata>::NAME;

        let driver = if takeover {
            let registration = Registration::new::<Takeover>(module_name, module);
            KBox::pin_init(registration, GFP_KERNEL).inspect_err(|e| {
                if *e == EBUSY {
                    warn(
                        "takeover=1, but vfio-pci is there: 'modprobe -r vfio-pci' first",
                        b"",
                    );
                }
            })
        } else {
            KBox::pin_init(Registration::new::<Own>(module_name, module), GFP_KERNEL)
        }?;
        let mut link = None;
        let mut own_name = None;
        if takeover {
            let registration = driver.also_named::<Own>(module_name, module);
            own_name = Some(KBox::pin_init(registration, GFP_KERNEL)?);
            link = ModuleLink::new(TAKEOVER_MODULE, module)
                .inspect_err(|_| warn("no /sys/module/vfio_pci for programs that look for it", b""))
                .unwrap_or(None);
        }
        if params::disable_denylist() {
            warn("device denylist disabled.", b"");
        }
        take_ids(&driver);
        let overrides = take_devices(&driver)?;
        Ok(Self {
            _overrides: overrides,
            _link: link,
            _own_name: own_name,
            _driver: driver,
        })
    }
}

/// Tells who loads the module what is not as it was asked for, or should not be.
// A call of this takes much less code than `pr_warn!()`.
#[cold]
#[inline(never)]
fn warn(text: &str, entry: &[u8]) {
    pr_warn!("{}{}\n", text, BStr::from_bytes(entry));
}

/// Makes the driver take the devices that the parameter `ids` names.
fn take_ids(driver: &Registration<VfioPciRust>) {
    for entry in list::entries(params::ids()) {
        let Some(id) = Id::parse(entry) else {
            warn("invalid id string ", entry);
            continue;
        };
        match driver.add_id(&id) {
            Ok(()) => {
                pr_info!("add {}\n", BStr::from_bytes(entry));
                driver.tell_kept(&id);
            }
            Err(_) => warn("failed to add dynamic id ", entry),
        }
    }
}

/// Makes the driver take the devices that the parameter `devices` names.
fn take_devices(driver: &Registration<VfioPciRust>) -> Result<Option<Pin<KBox<Overrides>>>> {
    if params::devices().is_empty() {
        return Ok(None);
    }
    let addresses = list::entries(params::devices()).filter_map(|entry| {
        let address = Address::parse(entry);
        if address.is_none() {
            warn(
                "no address of a device, write one such as 0000:01:00.0: ",
                entry,
            );
        }
        address
    });
    let overrides = KBox::pin_init(Overrides::new(driver.names(), addresses)?, GFP_KERNEL)?;
    overrides.give_present();
    Ok(Some(overrides))
}

// `denylist` has these as numbers of its own, to depend on nothing.
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
    let (what, result) = if params::disable_denylist() {
        (c"device denylist disabled - allowing this device", Ok(()))
    } else {
        (
            c"device denylist has this device, not bound: its user could harm the machine; load \
             the module with disable_denylist=1 if you trust the user",
            Err(EINVAL),
        )
    };
    vfio::warn(pdev, what);
    result
}

/// The driver.
struct VfioPciRust;

#[vtable]
impl Driver for VfioPciRust {
    type Data = vf_token::Role;
    type Open = Option<vf_token::Claim>;

    const FOLDER: Option<&'static Folder<Self>> = Some(vf_token::FOLDER);

    #[inline]
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

    #[inline]
    fn registered(dev: &Locked<'_, Self>) {
        vf_token::registered(dev);
    }

    fn unregistering(dev: &Locked<'_, Self>) {
        vf_token::unregistering(dev);
    }

    fn unregistered(dev: &Locked<'_, Self>) {
        vf_token::unregistered(dev);
    }

    #[inline]
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

    #[inline]
    fn close_device(dev: Closing<'_, Self>) {
        vf_token::closed(&dev);
    }

    #[inline]
    fn device_feature(dev: &Opened<'_, Self>, flags: u32, arg: FeatureArg) -> IoctlReturn {
        vfio_feature::dispatch(dev, flags, arg)
    }

    fn match_token(dev: &Device<Self>, token: Option<&Uuid>, path: Path) -> Result {
        vf_token::match_token(dev, token, path)
    }

    #[cold]
    fn match_malformed(dev: &Device<Self>) {
        dev.notice(
            c"not opened: what follows the address is no VF token; write \"vf_token=\" and a UUID \
             of 36 characters",
            None,
            c"",
        );
    }

    #[inline]
    fn sriov_configure(dev: &Locked<'_, Self>, num_vfs: c_int) -> Result<c_int> {
        if !params::enable_sriov() {
            dev.notice(
                c"SR-IOV not configured: write Y to \
                  /sys/module/vfio_pci_rust/parameters/enable_sriov first",
                None,
                c"",
            );
            return Err(ENOENT);
        }
        vf_token::sriov_configure(dev, num_vfs)
    }
}
