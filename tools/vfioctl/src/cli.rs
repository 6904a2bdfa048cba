// SPDX-License-Identifier: GPL-2.0-only

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// List VFIO PCI devices, set the VF token of an SR-IOV card, admit its VFs, and find out why a device does not open
///
/// DEVICE is an address (0000:01:00.0 or 01:00.0), a node (/dev/vfio/12, /dev/vfio/devices/vfio0), a network
/// interface or an NVMe drive.
#[derive(Parser)]
#[command(
    name = "vfioctl",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit status: 0 done, 1 refused or wrong, 2 wrong usage, 3 not permitted, 4 no such device, 5 in use."
)]
pub struct Cli {
    /// Print one JSON object (see 'vfioctl schema')
    #[arg(short, long, global = true)]
    pub json: bool,
    /// Print only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print to standard error what is read, opened and written
    #[arg(long, global = true)]
    pub debug: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// List the PCI functions that are, or can be, bound to a VFIO driver
    List {
        /// Only those that are bound to a VFIO driver
        #[arg(long)]
        vfio: bool,
    },
    /// Show a device with its IOMMU group, and its PF or VFs
    Show {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: String,
    },
    /// Open a device, which resets it, and list its VFIO features
    Features {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: String,
        #[command(flatten)]
        token: OptionalToken,
    },
    /// Set, present and check VF tokens
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Token(TokenCommand),
    /// Find out what keeps programs from opening a device, and how to fix it
    ///
    /// Checks all conditions, in the order in which the kernel does, and stops at the first that is not met.
    /// Without DEVICE it checks the machine, and every device that is bound to a VFIO driver.
    Doctor {
        /// The device (default: the machine, and all devices that are bound to a VFIO driver)
        #[arg(value_name = "DEVICE")]
        device: Option<String>,
        /// Check for programs of this user (default: yours)
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Username)]
        user: Option<String>,
        #[command(flatten)]
        token: OptionalToken,
        /// Finally open the device, which resets it. --file implies this if a token is needed
        #[arg(long, requires = "device")]
        open: bool,
    },
    /// Bind devices to drivers, create VFs, set tokens and admit VFs, as configuration files say
    ///
    /// Whatever is already configured is left alone. See vfioctl.toml(5).
    Apply {
        /// The configuration (default: /etc/vfioctl.toml and /etc/vfioctl.d/*.toml)
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Show what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the JSON schema of a command's output with --json
    Schema {
        #[arg(value_enum)]
        command: Schema,
    },
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Set the VF token of a PF that no program has open; this opens and so resets the PF
    ///
    /// The token is read from --file or standard input, or generated with --generate.
    Set {
        /// The physical function
        #[arg(value_name = "PF")]
        device: String,
        /// Generate a random token, and print it or write it to --output
        #[arg(long, conflicts_with = "file")]
        generate: bool,
        /// Write the generated token to this file, which only its owner can read
        #[arg(long, value_name = "FILE", requires = "generate", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
        #[command(flatten)]
        token: TokenFile,
        /// Wait until all VFs are closed
        #[arg(long)]
        wait: bool,
    },
    /// Admit a device: present its token, so that it opens without one (vfio-pci-rust only)
    Admit {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: String,
        #[command(flatten)]
        token: TokenFile,
    },
    /// End the admission of a device
    Withdraw {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: String,
    },
    /// Check whether a token opens a VF; this opens and so resets the VF
    Check {
        /// The virtual function
        #[arg(value_name = "VF")]
        device: String,
        #[command(flatten)]
        token: TokenFile,
    },
}

#[derive(Args)]
pub struct TokenFile {
    /// A file with the token that only its owner can read; - is standard input, the default
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

#[derive(Args)]
pub struct OptionalToken {
    /// A file with the VF token that only its owner can read; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// What has a schema.
#[derive(Clone, Copy, ValueEnum)]
pub enum Schema {
    List,
    Show,
    Features,
    Token,
    Doctor,
    Apply,
    Error,
}
