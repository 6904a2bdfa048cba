// SPDX-License-Identifier: GPL-2.0-only

//! card: serves a PCI function that a file describes to QEMU's `vfio-user-pci`.

#![deny(unsafe_code)]

mod config;
mod description;
mod function;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use description::Card;

/// Serves the PCI function that FILE describes, until QEMU ends.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The description of the card, in TOML.
    file: PathBuf,
    /// The socket to create, for QEMU's -device vfio-user-pci.
    #[arg(required_unless_present = "check")]
    socket: Option<PathBuf>,
    /// Only check whether FILE describes a card.
    #[arg(long, conflicts_with = "socket")]
    check: bool,
    /// The name of FILE in messages, if the user knows it under another one.
    #[arg(long, value_name = "NAME")]
    called: Option<String>,
}

fn read(file: &Path, name: &str) -> Result<Card, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    description::parse(&text).map_err(|error| format!("{name}:{error}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let name = arguments
        .called
        .unwrap_or_else(|| arguments.file.display().to_string());
    let card = match read(&arguments.file, &name) {
        Ok(card) => card,
        Err(error) => {
            eprintln!("card: {error}");
            return ExitCode::from(2);
        }
    };
    let Some(socket) = arguments.socket else {
        return ExitCode::SUCCESS;
    };
    match server::serve(&card, &socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("card: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
