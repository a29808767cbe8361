//! `ecar-sms demo`: a garage day on a throwaway PostgreSQL, with everything real but the gateway.
//!
//! Owns the show: a server of its own ([`server`]), the garage application's tables with a small sample, `ecar-sms install`
//! and `ecar-sms run` as child processes of this same program, and the simulated gateway, to which alone the texts go.
//! Must never touch another database, another daemon or a real provider: the children get the demo's environment and
//! configuration, never the machine's.
//!
//! First the stage is set, then the day is told step by step ([`day`]), each with the texts as customers read them, then
//! counted ([`summary`]). With `--once` it ends there; otherwise the garage stays open and every further text is shown.
//!
//! Ctrl-C, SIGTERM, a failure, a closed terminal and even `kill -9` leave nothing behind: see [`keeper`].

pub mod day;
pub mod keeper;
pub mod message;
pub mod programs;
pub mod screen;
pub mod server;
pub mod stage;
pub mod summary;

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use self::day::{Day, show};
use self::screen::Screen;
use self::stage::{DATABASE, Stage};

/// The whole day must be over by then.
const DAY_TIMEOUT: Duration = Duration::from_secs(90);

/// Pause between two looks for further texts while the garage stays open.
const WATCH_PAUSE: Duration = Duration::from_millis(300);

/// How the demo is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DemoOptions {
    /// End when all is settled.
    pub once: bool,
    /// Port of the simulated gateway on 127.0.0.1; a free one when none is given.
    pub port: Option<u16>,
}

/// Runs the demo until it is over or a signal comes. Nothing is left behind when this returns.
///
/// # Errors
/// What is missing on this machine, or what did not go as it must; with `once`, also when a signal came before the end.
pub async fn run(options: DemoOptions) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("handling signals")?;
    let screen = Screen::of_stdout();
    // What the show holds is dropped, and so removed, before anything else happens here.
    let ended = tokio::select! {
        result = perform(options, &screen) => result,
        _ = signals.next() => Err(Interrupted.into()),
    };
    match ended {
        Err(error) if error.is::<Interrupted>() && !options.once => {
            // Whoever pressed Ctrl-C may have closed the terminal as well.
            let _ = screen.line("\nThe garage is closed; everything is removed.");
            Ok(())
        }
        Err(error) if closed(&error) => Ok(()),
        result => result,
    }
}

/// A signal came first.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before the day was over; everything is removed")]
struct Interrupted;

/// Whether whoever read our output has left, as `head` does: no failure.
fn closed(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

async fn perform(options: DemoOptions, screen: &Screen) -> Result<()> {
    let deadline = Instant::now() + DAY_TIMEOUT;
    screen.heading("A day at the garage")?;
    screen.line("  PostgreSQL, the daemon and the SMS gateway are started for you; nothing leaves this machine.\n")?;
    let mut stage = in_time(deadline, Stage::set(options.port)).await?;
    in_time(deadline, open(&mut stage, screen)).await?;
    in_time(deadline, Day::new(&mut stage, screen).tell()).await?;
    in_time(deadline, summary::summarise(&stage, screen)).await?;
    if options.once {
        screen.line("\n  `ecar-sms demo` without --once keeps this garage open, for you to try things.\n")?;
        return stage.strike().await;
    }
    invite(&stage, screen)?;
    watch(&mut stage, screen).await
}

async fn in_time<T>(deadline: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(result) => result,
        Err(_) => bail!("the day was not over within {DAY_TIMEOUT:?}"),
    }
}

/// The daemon starts, and whoever watches learns what there is.
async fn open(stage: &mut Stage, screen: &Screen) -> Result<()> {
    // Tomorrow morning must be within the lead time, whatever the hour is now.
    stage.garage("SELECT sms_set('appointment_reminder.offsets', '36h')").await?;
    // Whoever tries it at night sees the reminder all the same.
    stage
        .garage("SELECT sms_set('service.hours', '00:00-24:00'), sms_set('service.ramadan_hours', '00:00-24:00')")
        .await?;
    let pid = stage.start_daemon().await?;
    screen.fact("PostgreSQL", &format!("{} in {}", stage.server_version().await?, stage.server().dir().display()))?;
    screen.fact("garage", "9 customers, their cars and services; tables and triggers by `ecar-sms install`")?;
    screen.fact("gateway", &format!("{} (simulated)", stage.gateway().url()))?;
    screen.fact("daemon", &format!("`ecar-sms run`, process {pid}, log {}", stage.log().display()))?;
    Ok(())
}

fn invite(stage: &Stage, screen: &Screen) -> io::Result<()> {
    let url = stage.server().url(DATABASE);
    let psql = stage.server().bin_dir().join("psql");
    screen.heading("The garage stays open. Try, in another terminal:")?;
    screen.line(&format!("  export ECAR_SMS_SOCKET={}", stage.socket().display()))?;
    screen.line("  ecar-sms list")?;
    screen.line("  ecar-sms send text '20 000 103' 'Bonjour, votre devis est prêt.'")?;
    screen.line(&format!(
        "  {} '{url}' \\\n    -c \"UPDATE core_service SET status = 'completed' WHERE id = 11\"",
        psql.display()
    ))?;
    screen.line("")?;
    screen.fact("socket", &stage.socket().display().to_string())?;
    screen.fact("database", &url)?;
    screen.fact("gateway", &format!("http://{}/messages shows all it received", stage.gateway().addr()))?;
    screen.line("\n  Further texts appear here. Ctrl-C closes the garage and removes everything.\n")
}

/// Shows every message that is settled, or settled anew, until a signal comes.
async fn watch(stage: &mut Stage, screen: &Screen) -> Result<()> {
    let mut shown: HashMap<i64, String> =
        stage.messages(0).await?.into_iter().map(|message| (message.id, message.status)).collect();
    loop {
        tokio::time::sleep(WATCH_PAUSE).await;
        stage.check_daemon().await?;
        for message in stage.messages(0).await? {
            if message.is_settled() && shown.get(&message.id) != Some(&message.status) {
                show(stage, screen, &message)?;
                shown.insert(message.id, message.status);
            }
        }
    }
}
