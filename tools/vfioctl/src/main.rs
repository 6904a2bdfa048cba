// SPDX-License-Identifier: GPL-2.0-only

//! vfioctl: see, set, admit and explain VFIO PCI devices and their VF tokens.

#![deny(unsafe_code)]

mod address;
mod apply;
mod cli;
mod command;
#[path = "../../../denylist.rs"]
mod denylist;
mod doctor;
mod failure;
mod ioctl;
mod machine;
mod open;
mod output;
mod report;
mod token;
mod users;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Schema, TokenCommand};
use failure::{Result, Status};
use machine::Machine;
use output::Output;
use report::Outcome;
use token::Token;
use users::Users;

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::set_debug(cli.debug);
    let output = Output {
        json: cli.json,
        quiet: cli.quiet,
    };
    run(&Machine::new("/"), output, cli.command).unwrap_or_else(|failure| {
        output.fail(&failure);
        failure.into()
    })
}

fn run(machine: &Machine, output: Output, command: Command) -> Result<ExitCode> {
    match command {
        Command::List { vfio } => command::list(machine, output, vfio),
        Command::Show { device } => command::show(machine, output, &device)?,
        Command::Features { device, token } => {
            command::features(machine, output, &device, token.file.as_deref())?
        }
        Command::Token(TokenCommand::Set {
            device,
            generate,
            output: to,
            token,
            wait,
        }) => {
            let source = command::Source {
                generate,
                output: to.as_deref(),
                file: token.file.as_deref(),
                wait,
            };
            command::token_set(machine, output, &device, &source)?;
        }
        Command::Token(TokenCommand::Admit { device, token }) => {
            command::token_admit(machine, output, &device, token.file.as_deref())?
        }
        Command::Token(TokenCommand::Withdraw { device }) => {
            command::token_withdraw(machine, output, &device)?
        }
        Command::Token(TokenCommand::Check { device, token }) => {
            command::token_check(machine, output, &device, token.file.as_deref())?
        }
        Command::Doctor {
            device,
            user,
            token,
            open,
        } => {
            let token = token
                .file
                .map(|file| Token::read(Some(&file)))
                .transpose()?;
            let user = user.map(|name| doctor::user(&name)).transpose()?;
            let doctor = doctor::Doctor {
                machine,
                users: &Users::of(machine),
                user,
                token: token.as_ref(),
                open,
            };
            if !command::examine(machine, output, &doctor, device.as_deref())? {
                return Ok(ExitCode::from(Status::Refused as u8));
            }
        }
        Command::Apply { file, dry_run } => {
            return apply(machine, output, file.as_deref(), dry_run);
        }
        Command::Schema { command } => schema(command),
    }
    Ok(ExitCode::SUCCESS)
}

fn apply(
    machine: &Machine,
    output: Output,
    file: Option<&std::path::Path>,
    dry_run: bool,
) -> Result<ExitCode> {
    let interrupted = command::interrupts();
    let (report, failure) = apply::apply(machine, file, dry_run, &interrupted, |step, failure| {
        let word = match step.outcome {
            Outcome::Already => "already",
            Outcome::Done => "done",
            Outcome::Would => "would",
            Outcome::Failed => "failed",
            Outcome::Left => "left",
        };
        output.tell(format_args!("{}  {word:7}  {}", step.device, step.text));
        if let Some(failure) = failure.filter(|_| !output.json) {
            output.fail(failure);
        }
    })?;
    if output.json {
        output.object(&report);
    }
    Ok(match failure {
        Some(failure) => {
            if output.json || failure.status == Status::Interrupted {
                eprintln!("vfioctl: {}", failure.message);
            }
            failure.into()
        }
        None => ExitCode::SUCCESS,
    })
}

fn schema(command: Schema) {
    let schema = match command {
        Schema::List => schemars::schema_for!(report::List),
        Schema::Show => schemars::schema_for!(report::Show),
        Schema::Features => schemars::schema_for!(report::Features),
        Schema::Token => schemars::schema_for!(report::Token),
        Schema::Doctor => schemars::schema_for!(report::Doctor),
        Schema::Apply => schemars::schema_for!(report::Apply),
        Schema::Error => schemars::schema_for!(report::Error),
    };
    output::line(serde_json::to_string_pretty(&schema).expect("a schema is JSON"));
}
