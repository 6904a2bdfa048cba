// SPDX-License-Identifier: GPL-2.0-only

//! A second name of the module in sysfs.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// A link in `/sys/module` to the module's own directory there, which exists until this is dropped.
///
/// # Invariants
///
/// `folder` is the kernel object of `/sys/module`, and the link `name` in it was created by this.
pub(crate) struct ModuleLink {
    folder: *mut bindings::kobject,
    name: &'static CStr,
}

// SAFETY: sysfs takes the locks that it needs, and links belong to no thread.
unsafe impl Send for ModuleLink {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl Sync for ModuleLink {}

impl ModuleLink {
    /// Creates the link, if the driver is a module and not built into the kernel.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the name exists already, `ENOMEM`.
    pub(crate) fn new(name: &'static CStr, module: &'static ThisModule) -> Result<Option<Self>> {
        if cfg!(not(MODULE)) {
            return Ok(None);
        }
        // SAFETY: A module is in sysfs, with a parent, before its init function is called and until
        // after its end.
        let (own, folder) = unsafe {
            let own = &raw mut (*module.as_ptr()).mkobj.kobj;
            (own, (*own).parent)
        };
        // SAFETY: Both are kernel objects in sysfs, as above.
        to_result(unsafe { bindings::sysfs_create_link(folder, own, name.as_char_ptr()) })?;
        // INVARIANT: The link has been created.
        Ok(Some(Self { folder, name }))
    }
}

impl Drop for ModuleLink {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::sysfs_remove_link(self.folder, self.name.as_char_ptr()) };
    }
}
