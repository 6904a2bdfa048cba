// SPDX-License-Identifier: GPL-2.0-only

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// See VFIO PCI devices, set the VF token of an SR-IOV card, admit its VFs, and find out why a device does not open
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
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print what is read, opened and written, on standard error
    #[arg(long, global = true)]
    pub debug: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// List the PCI functions that are under a VFIO driver or can be
    List {
        /// Only those that are under a VFIO driver
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
    /// Find what keeps programs from opening a device, and say how to mend it
    ///
    /// Goes through everything that has to hold, in the order in which the kernel asks, and stops at the first thing
    /// that is wrong. Without DEVICE it looks at what concerns the machine, and at every device under a VFIO driver.
    Doctor {
        /// The device (default: all that are under a VFIO driver, and the machine)
        #[arg(value_name = "DEVICE")]
        device: Option<String>,
        /// For a program of that user (default: yours)
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Username)]
        user: Option<String>,
        #[command(flatten)]
        token: OptionalToken,
        /// Open the device in the end, which resets it. With --file that is always done, if a token is asked for
        #[arg(long, requires = "device")]
        open: bool,
    },
    /// Give devices their drivers, VFs, tokens and admissions, as configuration files say
    ///
    /// What is already as it should be is left alone. See vfioctl.toml(5).
    Apply {
        /// The configuration (default: /etc/vfioctl.toml and /etc/vfioctl.d/*.toml)
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the JSON schema of what a command prints with --json
    Schema {
        #[arg(value_enum)]
        command: Schema,
    },
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Set the VF token of a PF that no program has open. Opening it for that resets it
    ///
    /// The token comes from --file, from standard input, or is made by --generate.
    Set {
        /// The physical function
        #[arg(value_name = "PF")]
        device: String,
        /// Make a random token; print it, or write it to --output
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
    /// Present the token on behalf of a device, which then opens without one (vfio-pci-rust only)
    Admit {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: String,
        #[command(flatten)]
        token: TokenFile,
    },
    /// End that
    Withdraw {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: String,
    },
    /// Try whether a token opens a VF. Opening it for that resets it
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
    /// The file with the token, which only its owner can read; - is standard input, which is the default
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

#[derive(Args)]
pub struct OptionalToken {
    /// The file with the VF token, which only its owner can read; - is standard input
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
