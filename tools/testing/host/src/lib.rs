// SPDX-License-Identifier: GPL-2.0-only

//! The driver's pure logic, compiled on the host from the same files as for the kernel.

#![allow(dead_code, unused_imports)]

#[path = "../../../../denylist.rs"]
mod denylist;

#[path = "../../../../igd/view.rs"]
mod igd_view;

#[path = "../../../../vfio/feature/request.rs"]
mod request;

#[path = "../../../../vf_token/state.rs"]
mod state;

mod vfio;

#[cfg(test)]
mod address_tests;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod foreign_tests;
#[cfg(test)]
mod id_tests;
#[cfg(test)]
mod igd_tests;
#[cfg(test)]
mod interleaving_tests;
#[cfg(test)]
mod name_tests;
#[cfg(test)]
mod ordering_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod state_tests;

/// The state of a PF with this first token.
#[cfg(test)]
fn state_with(token: vfio::Uuid) -> state::State {
    let mut state = state::State::new();
    state.start(|first| first.copy_from(&token));
    state
}
