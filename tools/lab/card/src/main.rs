// SPDX-License-Identifier: GPL-2.0-only

//! Serves a PCI card to QEMU's `vfio-user-pci`, as a file describes it.

mod config;
mod description;
mod server;

use clap::Parser;
use description::Card;
use std::{path::PathBuf, process::ExitCode};

/// Serves a PCI card to QEMU's vfio-user-pci, as a file describes it.
#[derive(Parser)]
struct Arguments {
    /// The description of the card, see example.toml
    card: PathBuf,
    /// The socket for QEMU; without it the file is only checked
    socket: Option<PathBuf>,
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let file = arguments.card.display();
    let text = std::fs::read_to_string(&arguments.card).map_err(|e| format!("{file}: {e}"))?;
    let card = Card::parse(&text).map_err(|e| format!("{file}:{e}"))?;
    match &arguments.socket {
        Some(socket) => server::serve(card, socket).map_err(|e| format!("{file}: {e}")),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("card: {why}");
            ExitCode::FAILURE
        }
    }
}
