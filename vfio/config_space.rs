// SPDX-License-Identifier: GPL-2.0-only

//! Configuration space: that of the device, as its user sees it, and that of other functions.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::{
    function,
    Address,
    Driver,
    Enabled,
    Span, //
};
use core::ptr;
use kernel::{
    bindings,
    error::to_result,
    pci,
    prelude::*,
    sync::aref::ARef,
    uaccess::UserSliceWriter, //
};

/// How `vfio-pci-core` marks, in its map of the configuration space, bytes that the user reads and
/// writes only in memory: `PCI_CAP_ID_INVALID_VIRT` of `drivers/vfio/pci/vfio_pci_priv.h`.
const VIRTUAL: u8 = 0xfe;

impl<T: Driver> Enabled<'_, T> {
    /// Reads four bytes of the device's configuration space.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device does not answer.
    pub(crate) fn read_config_dword(&self, at: u8) -> Result<u32> {
        let mut value = 0;
        // SAFETY: `pdev` is valid, and so is the place for the value.
        let status =
            unsafe { bindings::pci_read_config_dword(self.pdev_raw(), at.into(), &raw mut value) };
        // It is a status of PCI, not an errno.
        if status != 0 {
            return Err(ENODEV);
        }
        Ok(value)
    }

    /// Virtualizes four bytes of the configuration space for the user of the device: they start as
    /// `value`, and what the user writes there is read back and does not reach the device.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the device's configuration space is too small.
    pub(crate) fn virtualize_config_dword(&self, at: u8, value: u32) -> Result {
        let at = usize::from(at);
        let bytes = value.to_le_bytes();
        if at.saturating_add(bytes.len()) > config_size(self.pdev()) {
            return Err(EINVAL);
        }
        let core = self.as_raw();
        // SAFETY: The device is enabled, so that both are arrays of the size of its configuration
        // space, and nobody else uses them yet.
        unsafe {
            let (values, map) = ((*core).vconfig.add(at), (*core).pci_config_map.add(at));
            ptr::copy_nonoverlapping(bytes.as_ptr(), values, bytes.len());
            map.write_bytes(VIRTUAL, bytes.len());
        }
        Ok(())
    }
}

fn config_size(pdev: &pci::Device) -> usize {
    // SAFETY: `pci::Device` transparently wraps a valid `struct pci_dev`, in which this is set
    // before a driver sees the device.
    let size = unsafe { (*ptr::from_ref(pdev).cast::<bindings::pci_dev>()).cfg_size };
    usize::try_from(size).unwrap_or(0)
}

/// The configuration space of a PCI function that need not belong to the driver, to be read.
pub(crate) struct ConfigSpace(ARef<pci::Device>);

impl ConfigSpace {
    /// The configuration space of the function at this address, if there is one.
    pub(crate) fn of(at: Address) -> Option<Self> {
        function::find(at).map(Self)
    }

    /// The function.
    pub(crate) fn pdev(&self) -> &pci::Device {
        &self.0
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> usize {
        config_size(&self.0)
    }

    /// Copies the bytes `at` to a user, piece by piece as they are read from the function.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of them exist, or the user's memory is not writable; others if the
    /// function does not answer.
    pub(crate) fn copy_to(&self, mut at: Span, to: &mut UserSliceWriter) -> Result {
        while let Some(part) = at.take_aligned() {
            let bytes = self.read(part)?;
            to.write_slice(bytes.get(..part.size()).ok_or(EFAULT)?)?;
        }
        Ok(())
    }

    /// Reads the bytes `at`, of which there are 1, 2 or 4. Fails like `copy_to`.
    fn read(&self, at: Span) -> Result<[u8; 4]> {
        if at.range().end > self.size() {
            return Err(EFAULT);
        }
        let pdev = ptr::from_ref(self.pdev()).cast_mut().cast();
        let place = c_int::try_from(at.range().start)?;
        let mut value = 0u32;
        let mut half = 0u16;
        let mut byte = 0u8;
        // SAFETY: `pci::Device` transparently wraps a valid `struct pci_dev`, the offset is inside
        // of its configuration space, and the places for the value are valid.
        to_result(unsafe {
            match at.size() {
                4 => bindings::pci_user_read_config_dword(pdev, place, &raw mut value),
                2 => bindings::pci_user_read_config_word(pdev, place, &raw mut half),
                _ => bindings::pci_user_read_config_byte(pdev, place, &raw mut byte),
            }
        })?;
        // Two of the three are zero.
        Ok((value | u32::from(half) | u32::from(byte)).to_le_bytes())
    }
}
