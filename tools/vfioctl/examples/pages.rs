// SPDX-License-Identifier: GPL-2.0-only

//! Writes the man pages of section 8 and the shell completions to a directory, from the command line in `src/cli.rs`:
//! `cargo run --example pages -- DIRECTORY`.

#[path = "../src/cli.rs"]
mod cli;

use std::{env, fs, io, path::Path};

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

const SECTION: &str = "8";
const MANUAL: &str = "System Administration";

const EXIT_STATUS: [(&str, &str); 7] = [
    ("0", "Done. The doctor found nothing that is wrong."),
    (
        "1",
        "The kernel refused, or something is wrong: the message says what.",
    ),
    ("2", "The command line or a configuration file is wrong."),
    ("3", "This user may not do that."),
    ("4", "There is no such device."),
    ("5", "A program uses the device."),
    ("130", "Interrupted by Ctrl-C."),
];

const FILES: [(&str, &str); 4] = [
    (
        "/etc/vfioctl.toml, /etc/vfioctl.d/*.toml",
        "What apply does. See vfioctl.toml(5).",
    ),
    (
        "/run/vfioctl/",
        "What apply remembers until the next boot. No token is in it.",
    ),
    ("vfioctl-apply.service", "Runs vfioctl apply at boot."),
    (
        "/usr/share/misc/pci.ids",
        "The names of devices. Without it they are shown as numbers.",
    ),
];

const ENVIRONMENT: [(&str, &str); 2] = [
    ("NO_COLOR", "If it is set, no colours are used."),
    ("COLUMNS", "The width of tables on a terminal."),
];

const EXAMPLES: [(&str, &str); 4] = [
    (
        "vfioctl doctor 01:10.0 --user libvirt-qemu",
        "Say what keeps a program of the user libvirt-qemu from opening the device.",
    ),
    (
        "vfioctl token set 0000:01:00.0 --generate --output /run/t",
        "Give the card a new token, and write it to a file that only root can read.",
    ),
    (
        "vfioctl token admit 0000:01:10.0 --file /run/t",
        "Let the VF be opened by programs that cannot present a token, such as libvirt.",
    ),
    (
        "vfioctl list --json | jq -r '.functions[] | select(.users != []) | .address'",
        "Print the addresses of the devices that are in use.",
    ),
];

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "name the folder to write to")
    })?;
    fs::create_dir_all(&folder)?;
    let mut command = cli::Cli::command().disable_help_subcommand(true);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "vfioctl", &folder)?;
    }
    command.build();
    pages(&command, None, folder.as_ref())
}

/// The page of a command, and those of its subcommands.
fn pages(command: &Command, parent: Option<&str>, folder: &Path) -> io::Result<()> {
    let man = Man::new(command.clone())
        .section(SECTION)
        .manual(MANUAL)
        .source(concat!("vfioctl ", env!("CARGO_PKG_VERSION")));
    let file = man.get_filename();
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut end = Roff::new();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    match parent {
        None => {
            list(&mut end, "EXIT STATUS", &EXIT_STATUS);
            secrets(&mut end);
            list(&mut end, "FILES", &FILES);
            list(&mut end, "ENVIRONMENT", &ENVIRONMENT);
            list(&mut end, "EXAMPLES", &EXAMPLES);
            see_also(&mut end, &[("vfioctl.toml", "5")]);
        }
        Some(parent) => see_also(&mut end, &[(parent, SECTION), ("vfioctl.toml", "5")]),
    }
    end.to_writer(&mut page)?;
    fs::write(folder.join(&file), page)?;
    let name = file.trim_end_matches(".8");
    for subcommand in command.get_subcommands() {
        pages(subcommand, Some(name), folder)?;
    }
    Ok(())
}

fn list(page: &mut Roff, heading: &str, entries: &[(&str, &str)]) {
    page.control("SH", [heading]);
    for (name, text) in entries {
        page.control("TP", []);
        page.text([bold(*name)]);
        page.text([roman(*text)]);
    }
}

fn secrets(page: &mut Roff) {
    page.control("SH", ["TOKENS"]);
    page.text([roman(
        "A token is read from a file or from standard input and never from the command line, where all users \
         could see it. It is printed by token set --generate without --output, and by nothing else. A file with a \
         token that others can read or write is refused.",
    )]);
}

fn see_also(page: &mut Roff, pages: &[(&str, &str)]) {
    page.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (number, (name, section)) in pages.iter().enumerate() {
        if number > 0 {
            line.push(roman(", "));
        }
        line.extend([bold(*name), roman(format!("({section})"))]);
    }
    page.text(line);
}
