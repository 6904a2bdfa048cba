// SPDX-License-Identifier: GPL-2.0-only

//! The output: tables for people, one JSON object for programs.

use std::{
    env, fmt,
    io::{IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use tabled::{
    builder::Builder,
    settings::{
        Color, Padding, Style as TableStyle, Width,
        object::{Columns, Rows},
        peaker::PriorityMax,
    },
};

use crate::{
    failure::Failure,
    report::{self, Check, Verdict},
};

static DEBUG: AtomicBool = AtomicBool::new(false);

pub fn set_debug(on: bool) {
    DEBUG.store(on, Ordering::Relaxed);
}

/// Prints what is read, opened or written, with `--debug`. Never pass a token to it.
pub fn debug(what: impl fmt::Display) {
    if DEBUG.load(Ordering::Relaxed) {
        eprintln!("vfioctl: {what}");
    }
}

pub const BOLD: Style = Style::new().bold();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

/// The form of the results. Colours are used only on a terminal, and not if `NO_COLOR` is set.
#[derive(Clone, Copy)]
pub struct Output {
    pub json: bool,
    pub quiet: bool,
}

impl Output {
    /// The object of `--json`.
    pub fn object(self, object: &impl Serialize) {
        let text = serde_json::to_string_pretty(object).expect("reports have string keys only");
        line(text);
    }

    /// Prints a note before a step, or while the program waits.
    pub fn say(self, text: impl fmt::Display) {
        if !self.quiet && !self.json {
            anstream::eprintln!("{text}");
        }
    }

    /// Prints a line of a result.
    pub fn tell(self, text: impl fmt::Display) {
        if !self.json && !self.quiet {
            line(text);
        }
    }

    /// Prints why a command failed.
    pub fn fail(self, failure: &Failure) {
        if self.json {
            self.object(&report::Error::from(failure));
        }
        anstream::eprintln!("{RED}vfioctl:{RED:#} {}", failure.message);
        if let Some(fix) = &failure.fix {
            anstream::eprintln!("  to fix it: {BOLD}{fix}{BOLD:#}");
        }
    }
}

/// Prints a line. The reader may be gone, as in `vfioctl list | head -n 1`.
pub fn line(text: impl fmt::Display) {
    if writeln!(anstream::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints a table: on a terminal with a heading, and as wide as the terminal; otherwise one row per line, with tabs
/// between the fields.
pub fn table(heading: &[&str], rows: &[Vec<String>]) {
    if !std::io::stdout().is_terminal() {
        let lines: Vec<_> = rows.iter().map(|row| row.join("\t")).collect();
        line(lines.join("\n"));
        return;
    }
    let mut builder = Builder::default();
    builder.push_record(heading.iter().copied());
    for row in rows {
        builder.push_record(row);
    }
    let mut table = builder.build();
    table
        .with(TableStyle::empty())
        .with(Padding::new(0, 2, 0, 0));
    table.modify(Columns::last(), Padding::zero());
    table.modify(Rows::first(), Color::BOLD);
    if let Some(width) = width() {
        table.with(
            Width::truncate(width)
                .suffix("…")
                .priority(PriorityMax::left()),
        );
    }
    line(table);
}

/// The width of the terminal: `COLUMNS`, or what the terminal reports.
fn width() -> Option<usize> {
    let columns = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    columns.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)))
}

/// A line of the doctor.
pub fn check(check: &Check) -> String {
    let (style, word) = match check.verdict {
        Verdict::Ok => (GREEN, "ok   "),
        Verdict::Note => (YELLOW, "note "),
        Verdict::Wrong => (RED, "wrong"),
    };
    let mut text = format!("  {style}{word}{style:#}  {}: {}", check.check, check.text);
    if let Some(fix) = &check.fix {
        text.push_str(&format!("\n         to fix it: {BOLD}{fix}{BOLD:#}"));
    }
    text
}
