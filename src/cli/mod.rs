//! The command line: clients of the control socket that own nothing, and the administrator's commands.
//!
//! Exit codes are fixed: 0 done, 1 failed, 2 wrong usage, 64 bad configuration, 69 daemon or database out of reach, 75 try
//! again later. Errors go to standard error and say what was wrong, where, and what to do next.

pub mod admin;
pub mod args;
pub mod client;
pub mod contacts;
pub mod doctor;
pub mod exit;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod list;
pub mod logging;
pub mod messages;
pub mod optouts;
pub mod output;
pub mod people_args;
pub mod providers;
pub mod settings;
pub mod status;
pub mod template_args;
pub mod templates;
pub mod when;

use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{self, GarageConfig};
use crate::{daemon, demo};
use args::{Arguments, Command};
use client::Client;
use exit::{Exit, Failure};

/// Parses the arguments, runs the command, says what went wrong.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nothing can be done about a terminal that cannot be written to.
            let _ = error.print();
            return exit.into();
        }
    };
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::complain(&format!("ecar-sms: {:#}", failure.error));
            failure.exit.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failure::failed)?;
    // Boxed: all that any command holds would otherwise lie on the stack for as long as the daemon runs.
    let exit = runtime.block_on(Box::pin(dispatch(arguments)));
    // A blocked name look-up must not keep the process from ending.
    runtime.shutdown_background();
    exit
}

async fn dispatch(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { globals, command } = arguments;
    let zone = || {
        config::load(globals.config.as_deref())
            .map_or_else(|_| GarageConfig::default(), |config| config.garage)
            .time_zone
    };
    let client = || Client::new(config::socket_path(globals.socket.as_deref(), globals.config.as_deref()));
    match command {
        Command::Run => {
            let config = config::load(globals.config.as_deref())?;
            let _guard = logging::start(&config.log, globals.log_format, globals.verbose)?;
            let options = daemon::Options { config: globals.config, socket: globals.socket };
            Box::pin(daemon::run(options, config)).await.map_err(Failure::of_daemon)?;
            Ok(Exit::Done)
        }
        Command::Demo { once, port } => {
            demo::run(demo::DemoOptions { once, port }).await.map_err(Failure::failed)?;
            Ok(Exit::Done)
        }
        Command::Install { dry_run, role } => {
            admin::install(&config::load(globals.config.as_deref())?, role.as_deref(), dry_run).await
        }
        Command::Adopt => admin::adopt(&config::load(globals.config.as_deref())?).await,
        Command::Uninstall { dry_run } => admin::uninstall(&config::load(globals.config.as_deref())?, dry_run).await,
        Command::Doctor { json } => doctor::run(&globals, json).await,
        Command::Gateway { listen, smpp, script } => admin::gateway(listen, smpp, script.as_deref()).await,
        Command::Status { json } => status::status(&client(), json, &zone()).await,
        Command::List(filter) => messages::list(&client(), &filter, &zone()).await,
        Command::Show { id, json } => messages::show(&client(), id, json, &zone()).await,
        Command::Resend { ids, json } => messages::act(&client(), "resend", &ids, json).await,
        Command::Cancel { which, json } => messages::act_on(&client(), "cancel", &which, json).await,
        Command::Release { which, json } => messages::act_on(&client(), "release", &which, json).await,
        Command::Send(send) => messages::send(&client(), &send, &zone()).await,
        Command::Provider { action } => providers::run(&client(), action).await,
        Command::Setting { action } => settings::run(&client(), action).await,
        Command::Template { action } => templates::run(&client(), action, &zone()).await,
        Command::Contact { action } => contacts::run(&client(), action, &zone()).await,
        Command::Optout { action } => optouts::run(&client(), action, &zone()).await,
        Command::Pause => {
            status::order(&client(), "/v1/pause", "paused: nothing is sent until `ecar-sms resume`").await
        }
        Command::Resume => status::order(&client(), "/v1/resume", "messages go out again").await,
        Command::Reload => status::order(&client(), "/v1/reload", "configuration reloaded").await,
        Command::Completions { shell } => admin::completions(shell),
        Command::Man => admin::man(),
    }
}
