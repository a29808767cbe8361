//! `install`, `adopt`, `uninstall`, `gateway`, `completions`, `man`.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::sync::broadcast::error::RecvError;

use super::args::Arguments;
use super::exit::{Exit, Failure};
use super::output;
use crate::config::{Config, ConfigError};
use crate::db::{Target, install};
use crate::gateway::{self, Gateway, Script};
use crate::outbox::guards::COPY_MEND;

fn target(config: &Config) -> Result<Target, Failure> {
    let parsed = Target::parse(config.database_url()?);
    Ok(parsed.map_err(|error| ConfigError::Value { name: "DATABASE_URL".to_owned(), problem: error.to_string() })?)
}

/// Installs, or prints what would be run.
///
/// # Errors
/// As the installer's; nothing has changed then.
pub async fn install(config: &Config, role: Option<&str>, dry_run: bool) -> Result<Exit, Failure> {
    let target = target(config)?;
    let plan = install::install(&target, role, dry_run).await?;
    if dry_run {
        output::say(&plan.sql);
        return Ok(Exit::Done);
    }
    let applied = if plan.migrations.is_empty() {
        "tables were up to date".to_owned()
    } else {
        format!("applied {}", plan.migrations.join(", "))
    };
    output::say(&format!(
        "installed in {}, schema {}: {applied}; functions and triggers are in place",
        target.describe(),
        plan.schema
    ));
    if let Some(differs) = install::identity(&target).await? {
        output::say(&format!("this database is a copy: {differs}; {COPY_MEND}"));
    }
    match plan.role {
        Some(role) => output::say(&format!("role {role} has the rights that the daemon needs")),
        None => output::say(&format!(
            "no role {} exists: the daemon needs this role or another one with rights (CREATE ROLE {} LOGIN; then run install again)",
            install::DEFAULT_ROLE,
            install::DEFAULT_ROLE
        )),
    }
    Ok(Exit::Done)
}

/// Makes a copy the installation.
///
/// # Errors
/// As the installer's; nothing has changed then.
pub async fn adopt(config: &Config) -> Result<Exit, Failure> {
    let target = target(config)?;
    match install::adopt(&target).await? {
        None => {
            output::say(&format!("nothing to do: {} is the database that ecar-sms was installed in", target.describe()))
        }
        Some(held) => {
            output::say(&format!("{} is now the database that messages are sent from", target.describe()));
            if held > 0 {
                output::say(&format!(
                    "{held} messages waited in it and are held, because they may have been sent after the copy was taken; look at them: ecar-sms list --status held; let them go: ecar-sms release --reason restored; or not: ecar-sms cancel --reason restored"
                ));
            }
        }
    }
    Ok(Exit::Done)
}

/// Uninstalls, or prints what would be run.
///
/// # Errors
/// As the installer's; nothing has changed then.
pub async fn uninstall(config: &Config, dry_run: bool) -> Result<Exit, Failure> {
    let target = target(config)?;
    let sql = install::uninstall(&target, dry_run).await?;
    output::say(&if dry_run { sql } else { format!("nothing of ecar-sms is left in {}", target.describe()) });
    Ok(Exit::Done)
}

/// The simulated gateway, until Ctrl-C.
///
/// # Errors
/// When the script or the address cannot be used.
pub async fn gateway(listen: SocketAddr, smpp: Option<SocketAddr>, script: Option<&Path>) -> Result<Exit, Failure> {
    let script = match script {
        None => Script::default(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| path.display().to_string()).map_err(Failure::failed)?;
            Script::parse(&text)
                .with_context(|| path.display().to_string())
                .map_err(|error| Failure::new(Exit::BadConfiguration, error))?
        }
    };
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(Failure::failed)?;
    let gateway = Gateway::start(listen, script)
        .await
        .with_context(|| format!("cannot listen on {listen}"))
        .map_err(Failure::failed)?;
    if let Some(smpp) = smpp {
        let address = gateway
            .listen_smpp(smpp)
            .await
            .with_context(|| format!("cannot listen on {smpp}"))
            .map_err(Failure::failed)?;
        output::say(&format!("simulated message centre: SMPP 3.4 at {address}"));
    }
    let mut received = gateway.subscribe();
    output::say(&format!(
        "simulated gateway: POST {}   GET http://{}/messages   Ctrl-C ends it",
        gateway.url(),
        gateway.addr()
    ));
    loop {
        tokio::select! {
            _ = signals.next() => break,
            message = received.recv() => match message {
                Ok(message) => output::say(&gateway::log_line(&message)),
                Err(RecvError::Lagged(missed)) => output::say(&format!("({missed} more)")),
                Err(RecvError::Closed) => break,
            }
        }
    }
    gateway.stop().await;
    Ok(Exit::Done)
}

/// A completion script.
///
/// # Errors
/// Never; the signature is that of the other commands.
pub fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ecar-sms", &mut script);
    output::say(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Done)
}

/// The manual page.
///
/// # Errors
/// When rendering fails.
pub fn man() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page).map_err(Failure::failed)?;
    output::say(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Done)
}
