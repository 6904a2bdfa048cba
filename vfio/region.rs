// SPDX-License-Identifier: GPL-2.0-only

//! Regions of a device that its driver adds.
//!
//! C header: [`include/linux/vfio_pci_core.h`](srctree/include/linux/vfio_pci_core.h)

use super::{
    bindings,
    Driver,
    Enabled,
    Span, //
};
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

/// A region that a driver adds to those that every PCI device has, while a user has the device
/// open.
///
/// Users find it by its [`Kind`]. Several may use it at the same time.
#[vtable]
pub(crate) trait Region: Send + Sync + Sized + 'static {
    /// Reads the bytes `at` into user memory. `to` has room for just as many bytes.
    ///
    /// # Errors
    ///
    /// The user gets the error. Some bytes may have been read before it.
    fn read(&self, at: Span, to: &mut UserSliceWriter) -> Result;

    /// Writes the bytes `at` from user memory. `from` has just as many bytes. Without this method
    /// the region cannot be written.
    ///
    /// # Errors
    ///
    /// As for `read`.
    fn write(&self, _at: Span, _from: &mut UserSliceReader) -> Result {
        Err(EINVAL)
    }

    /// Adds capabilities of the region to the answer of `VFIO_DEVICE_GET_REGION_INFO`.
    ///
    /// # Errors
    ///
    /// Any error is the answer to the ioctl.
    fn capability(&self, _caps: &mut Capabilities<'_>) -> Result {
        Ok(())
    }
}

/// The kind of a region, by which users find it: `type` and `subtype` of `struct
/// vfio_region_info_cap_type`.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// The type. For that of a vendor, see [`Kind::of_vendor`].
    pub(crate) type_: u32,
    /// The subtype.
    pub(crate) subtype: u32,
}

impl Kind {
    /// A kind that the vendor with this ID has defined for its devices.
    pub(crate) const fn of_vendor(vendor: u16, subtype: u32) -> Self {
        Self {
            type_: bindings::VFIO_REGION_TYPE_PCI_VENDOR_TYPE | vendor as u32,
            subtype,
        }
    }
}

/// The capabilities in an answer of `VFIO_DEVICE_GET_REGION_INFO`.
pub(crate) struct Capabilities<'a>(&'a mut bindings::vfio_info_cap);

impl Capabilities<'_> {
    /// Adds a capability with this ID and version, and a number behind its header.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory for it.
    #[cfg_attr(not(CONFIG_VFIO_PCI_RUST_KUNIT_TEST), expect(dead_code))]
    pub(crate) fn add(&mut self, id: u16, version: u16, value: u64) -> Result {
        #[repr(C)]
        struct Capability {
            header: bindings::vfio_info_cap_header,
            value: u64,
        }

        let mut capability = Capability {
            header: bindings::vfio_info_cap_header {
                id,
                version,
                next: 0,
            },
            value,
        };
        // SAFETY: The capability starts with its header, is of that size without padding, and is
        // copied. The list is one that the VFIO core fills.
        to_result(unsafe {
            bindings::vfio_info_add_capability(
                self.0,
                (&raw mut capability).cast(),
                size_of::<Capability>(),
            )
        })
    }
}

/// The `struct vfio_pci_regops` of a type of regions, whose `data` is a `KBox` of that type.
struct RegionVTable<R: Region>(PhantomData<R>);

impl<R: Region> RegionVTable<R> {
    const OPS: &'static bindings::vfio_pci_regops = &bindings::vfio_pci_regops {
        rw: Some(Self::rw),
        release: Some(Self::release),
        mmap: None,
        add_capability: if R::HAS_CAPABILITY {
            Some(Self::add_capability)
        } else {
            None
        },
    };

    /// # Safety
    ///
    /// Called by `vfio-pci-core` for a user who has the device open, with an offset in a region
    /// with this table, which is there until all users have closed the device; nobody else has
    /// access to the offset during the call.
    unsafe extern "C" fn rw(
        vdev: *mut bindings::vfio_pci_core_device,
        buf: *mut c_char,
        count: usize,
        ppos: *mut kernel::bindings::loff_t,
        iswrite: bool,
    ) -> isize {
        const START_BITS: u64 = (1 << bindings::VFIO_PCI_OFFSET_SHIFT) - 1;
        // SAFETY: By the requirement of this function.
        let pos = unsafe { *ppos };
        let (index, start) = (
            (pos >> bindings::VFIO_PCI_OFFSET_SHIFT) as usize,
            pos as u64 & START_BITS,
        );
        let added = index.wrapping_sub(bindings::VFIO_PCI_NUM_REGIONS as usize);
        // SAFETY: The core has checked that there is a region of that number. It changes the array
        // behind `region` only while the device is being opened or closed.
        let region = unsafe { &*(*vdev).region.add(added) };
        // SAFETY: `data` comes from `KBox::into_raw()`, and only `release()` takes it back.
        let data = unsafe { &*region.data.cast::<R>() };
        let Some(at) = Span::clip(start, count, region.size) else {
            return EINVAL.to_errno() as isize;
        };

        let user = UserSlice::new(UserPtr::from_ptr(buf.cast()), at.size());
        let left = if iswrite {
            let mut from = user.reader();
            data.write(at, &mut from).map(|()| from.len())
        } else {
            let mut to = user.writer();
            data.read(at, &mut to).map(|()| to.len())
        };
        match left {
            Ok(left) => {
                let done = at.size().saturating_sub(left) as isize;
                // SAFETY: As above.
                unsafe { *ppos = pos.wrapping_add(done as i64) };
                done
            }
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called once by `vfio-pci-core` for a region with this table, which it does not use after
    /// that.
    unsafe extern "C" fn release(
        _vdev: *mut bindings::vfio_pci_core_device,
        region: *mut bindings::vfio_pci_region,
    ) {
        // SAFETY: `data` comes from `KBox::into_raw()`.
        drop(unsafe { KBox::from_raw((*region).data.cast::<R>()) });
    }

    /// # Safety
    ///
    /// Called by `vfio-pci-core` for a region with this table of a device that is open during the
    /// call, with a list of capabilities to which nobody else has access.
    unsafe extern "C" fn add_capability(
        _vdev: *mut bindings::vfio_pci_core_device,
        region: *mut bindings::vfio_pci_region,
        caps: *mut bindings::vfio_info_cap,
    ) -> c_int {
        // SAFETY: `data` comes from `KBox::into_raw()`, and only `release()` takes it back.
        let data = unsafe { &*(*region).data.cast::<R>() };
        // SAFETY: By the requirement of this function.
        let mut caps = Capabilities(unsafe { &mut *caps });
        match data.capability(&mut caps) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }
}

impl<T: Driver> Enabled<'_, T> {
    /// Adds a region of `size` bytes, which its user finds by its kind. The region is dropped when
    /// the device has been closed, or if its opening fails.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory for it.
    pub(crate) fn add_region<R: Region>(&self, kind: Kind, size: usize, region: R) -> Result {
        let flags = if R::HAS_WRITE {
            bindings::VFIO_REGION_INFO_FLAG_READ | bindings::VFIO_REGION_INFO_FLAG_WRITE
        } else {
            bindings::VFIO_REGION_INFO_FLAG_READ
        };
        let data = KBox::into_raw(KBox::new(region, GFP_KERNEL_ACCOUNT)?);
        // SAFETY: The device is enabled and nobody uses it yet, so its regions may change. The
        // table is that of the type of `data`, which belongs to the region from here on.
        to_result(unsafe {
            bindings::vfio_pci_core_register_dev_region(
                self.as_raw(),
                kind.type_,
                kind.subtype,
                RegionVTable::<R>::OPS,
                size,
                flags,
                data.cast(),
            )
        })
        .inspect_err(|_| {
            // SAFETY: `data` comes from `KBox::into_raw()`, and no region has it.
            drop(unsafe { KBox::from_raw(data) })
        })
    }
}

#[cfg(CONFIG_VFIO_PCI_RUST_KUNIT_TEST)]
#[kernel::macros::kunit_tests(vfio_pci_rust_region)]
mod tests {
    use super::{
        super::kunit::UserPage,
        *, //
    };
    use core::sync::atomic::{
        AtomicU8,
        Ordering, //
    };

    static DROPPED: AtomicU8 = AtomicU8::new(0);

    /// Four bytes, all of which are the one that was written last.
    struct Last(AtomicU8);

    impl Drop for Last {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[vtable]
    impl Region for Last {
        fn read(&self, at: Span, to: &mut UserSliceWriter) -> Result {
            let bytes = [self.0.load(Ordering::Relaxed); 4];
            to.write_slice(at.of(&bytes).ok_or(EINVAL)?)
        }

        fn write(&self, at: Span, from: &mut UserSliceReader) -> Result {
            for _ in at.range() {
                self.0.store(from.read()?, Ordering::Relaxed);
            }
            Ok(())
        }

        fn capability(&self, caps: &mut Capabilities<'_>) -> Result {
            caps.add(7, 1, 0x1234)
        }
    }

    /// Calls `act` with a device that has one region and nothing else.
    fn with_region(act: impl FnOnce(*mut bindings::vfio_pci_core_device) -> Result) -> Result {
        type Core = bindings::vfio_pci_core_device;
        let mut core = KBox::new(core::mem::MaybeUninit::<Core>::zeroed(), GFP_KERNEL)?;
        let core = core.as_mut_ptr();
        let data = KBox::new(Last(AtomicU8::new(1)), GFP_KERNEL)?;
        let mut region = bindings::vfio_pci_region {
            type_: 0,
            subtype: 0,
            ops: RegionVTable::<Last>::OPS,
            data: KBox::into_raw(data).cast(),
            size: 4,
            flags: 0,
        };
        // SAFETY: `core` is memory for the structure, of which only this is used.
        unsafe { (*core).region = &raw mut region };
        let result = act(core);
        // SAFETY: The region has this table, and nobody uses it after this.
        unsafe { RegionVTable::<Last>::release(core, &raw mut region) };
        result
    }

    fn rw(
        core: *mut bindings::vfio_pci_core_device,
        page: &UserPage,
        at: i64,
        count: usize,
        iswrite: bool,
    ) -> (isize, i64) {
        let start = i64::from(bindings::VFIO_PCI_NUM_REGIONS) << bindings::VFIO_PCI_OFFSET_SHIFT;
        let mut pos = start + at;
        let buf = page.last(4).as_mut_ptr().cast();
        // SAFETY: `core` is a device with the region of this number and table.
        let ret = unsafe { RegionVTable::<Last>::rw(core, buf, count, &raw mut pos, iswrite) };
        (ret, pos - start)
    }

    #[test]
    fn a_region_is_read_and_written_where_it_is() -> Result {
        let page = UserPage::new()?;
        let fault = EFAULT.to_errno() as isize;
        let invalid = EINVAL.to_errno() as isize;
        with_region(|core| {
            page.fill_last(&[9, 8, 7, 6])?;
            assert_eq!(rw(core, &page, 0, 2, true), (2, 2));
            assert_eq!(rw(core, &page, 1, 4, false), (3, 4));
            let mut seen = [0; 4];
            page.read_last(&mut seen)?;
            assert_eq!(seen, [8, 8, 8, 6]);
            assert_eq!(rw(core, &page, 4, 1, false), (invalid, 4));
            assert_eq!(rw(core, &page, 4, 1, true), (invalid, 4));
            // The page ends before the requested bytes do, but the region does not.
            page.fill_last(&[5])?;
            let start = i64::from(bindings::VFIO_PCI_NUM_REGIONS);
            let mut pos = start << bindings::VFIO_PCI_OFFSET_SHIFT;
            let buf = page.last(1).as_mut_ptr().cast();
            // SAFETY: As in `rw()`.
            let ret = unsafe { RegionVTable::<Last>::rw(core, buf, 2, &raw mut pos, false) };
            assert_eq!(ret, fault);
            assert_eq!(pos, start << bindings::VFIO_PCI_OFFSET_SHIFT);
            Ok(())
        })
    }

    #[test]
    fn a_region_goes_with_its_data() -> Result {
        let before = DROPPED.load(Ordering::Relaxed);
        with_region(|_| Ok(()))?;
        assert_eq!(DROPPED.load(Ordering::Relaxed), before.wrapping_add(1));
        Ok(())
    }

    #[test]
    fn a_region_tells_of_itself() -> Result {
        with_region(|core| {
            let mut caps = bindings::vfio_info_cap {
                buf: core::ptr::null_mut(),
                size: 0,
            };
            // SAFETY: The region has this table; the list is empty.
            let ret = unsafe {
                RegionVTable::<Last>::add_capability(core, (*core).region, &raw mut caps)
            };
            assert_eq!(ret, 0);
            assert_eq!(caps.size, 16);
            // SAFETY: The list has that many bytes, a header and a number.
            let (id, value) = unsafe { ((*caps.buf).id, *caps.buf.add(1).cast::<u64>()) };
            // SAFETY: The list is the kernel's memory, and nobody uses it any more.
            unsafe { kernel::bindings::kfree(caps.buf.cast()) };
            assert_eq!((id, value), (7, 0x1234));
            Ok(())
        })
    }
}
