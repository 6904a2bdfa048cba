// SPDX-License-Identifier: GPL-2.0-only

//! A singly linked list.

use kernel::prelude::*;

/// A list of values in the order in which they were added. Unlike a vector it does not compute a
/// length when it grows, in which the compiler would see an overflow and a panic. The values are
/// dropped in a loop, not recursively.
pub(super) struct Chain<T>(Option<KBox<Link<T>>>);

struct Link<T> {
    value: T,
    rest: Chain<T>,
}

impl<T> Chain<T> {
    /// An empty list.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the value is dropped.
    pub(super) fn push(&mut self, value: T) -> Result {
        let mut end = &mut self.0;
        while let Some(link) = end {
            end = &mut link.rest.0;
        }
        let rest = Self::new();
        *end = Some(KBox::new(Link { value, rest }, GFP_KERNEL)?);
        Ok(())
    }

    /// The values.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let link = rest.0.as_ref()?;
            rest = &link.rest;
            Some(&link.value)
        })
    }

    /// Calls `f` with each value until it fails.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub(super) fn for_each_mut(&mut self, mut f: impl FnMut(&mut T) -> Result) -> Result {
        let mut rest = &mut self.0;
        while let Some(link) = rest {
            f(&mut link.value)?;
            rest = &mut link.rest.0;
        }
        Ok(())
    }
}

impl<T> Drop for Chain<T> {
    fn drop(&mut self) {
        while let Some(mut link) = self.0.take() {
            self.0 = link.rest.0.take();
        }
    }
}
