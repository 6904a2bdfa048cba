// SPDX-License-Identifier: GPL-2.0-only

//! Bindings to `vfio` and `vfio-pci-core`, made by bindgen at build time.
//!
//! The generated file is not in the source tree: kbuild passes its path in the environment.

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

include!(env!("VFIO_PCI_RUST_BINDINGS"));
