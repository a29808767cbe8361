//! The composition root: what is started in which order, what stops what, signals, systemd. No SQL, no HTTP.
//!
//! Start: configuration (a bad one ends here, before anything is bound), control socket, ready. Then the database, for as
//! long as it takes: a server that is down at boot is no reason to fail. Then journal, settler, claimer, housekeeper, inspector,
//! listener.
//!
//! Stop: no more claims; sends under way end and are settled; then the rest. A second signal gives requests under way up as
//! unknown; results are written all the same. Only when they cannot be written within [`SETTLE_LIMIT`] does the daemon leave
//! without, and says so: the leases run out and the messages are rescued at the next start.
//!
//! A task that ends unexpectedly stops the daemon with an error, and systemd starts it again.

mod accountant;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use sd_notify::NotifyState;
use secrecy::ExposeSecret as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{self, AdapterConfig, Config, ConfigError, ControlConfig, ProviderConfig};
use crate::control::api;
use crate::control::desk::{Desk, Reload};
use crate::control::server::{ControlSocket, SocketError};
use crate::control::status::Vitals;
use crate::db::listener::Hearing;
use crate::db::{Database, Target, connect};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::outbox::clock::Clock;
use crate::outbox::fleet::Fleet;
use crate::outbox::guards::Guards;
use crate::outbox::ledger::Ledger;
use crate::outbox::lines::Lines;
use crate::outbox::prepare::Preparer;
use crate::outbox::pulse::Pulse;
use crate::outbox::recall::Recall;
use crate::outbox::send::Shared;
use crate::outbox::settings::Settings;
use crate::outbox::settle;
use crate::outbox::stage::RetryRules;
use crate::provider::router::Router;
use crate::provider::{Provider, Providers};
use work::Work;

/// How long results may take to be written after the last send has ended. Part of the unit's stop time-out.
const SETTLE_LIMIT: Duration = Duration::from_secs(25);

/// A claimer that has not come round for this long is stuck: systemd is not told that all is well. Above the longest turn,
/// which waits for a connection and for two statements.
const BEAT_LIMIT: Duration = Duration::from_secs(90);

/// How often the watchdog and the status line are looked at.
const VITALS_EVERY: Duration = Duration::from_secs(5);

/// Results announced and not yet read by a waiting caller, who looks for itself when it missed some.
const RECORDED_BACKLOG: usize = 1_024;

/// What the command line decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--socket`
    pub socket: Option<PathBuf>,
}

/// Runs until told to stop. `config` was read from `options` already, for the logs.
///
/// # Errors
/// A [`ConfigError`] in the chain when the configuration cannot be used; anything else is a failure.
pub async fn run(options: Options, mut config: Config) -> anyhow::Result<()> {
    // First of all: a signal that comes during the start is as good as any other.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).context("signals cannot be handled")?;
    if let Some(socket) = &options.socket {
        config.control.socket.clone_from(socket);
    }
    let target = target_of(config.database_url()?, "DATABASE_URL")?;
    let direct = match &config.database.direct_url {
        Some(url) => target_of(url.expose_secret(), "database.direct_url")?,
        None => target.clone(),
    };
    let providers = providers_of(&config.providers, &[])?;
    let socket = control_socket(&config.control)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    info!(version = env!("CARGO_PKG_VERSION"), database = target.describe(), socket = %config.control.socket.display(), "ecar-sms starts");

    let database = Database::new(&target, config.database.pool_size.unwrap_or(4))?;
    let stop = CancellationToken::new();
    let hasten = CancellationToken::new();
    let serve_until = CancellationToken::new();
    let owner = Arc::new(AtomicI32::new(0));
    let metrics = Arc::new(Metrics::default());
    let ledger = Arc::new(Ledger::default());
    let journal = Arc::new(Journal::none());
    let pulse = Arc::new(Pulse::default());
    let guards = Arc::new(Guards::new(config.sending.test_recipients.clone()));
    let wake = Arc::new(Notify::new());
    let (recorded, _) = broadcast::channel(RECORDED_BACKLOG);
    let (settings_sender, settings) = watch::channel(Arc::new(Settings::unknown()));
    let (providers_sender, providers) = watch::channel(providers);
    let (hearing_sender, hearing) = watch::channel(Hearing::Polling("not connected yet".to_owned()));
    let (reload_sender, mut reloads): (Reload, _) = mpsc::channel(1);
    let (settler, settler_task) = settle::settler(
        database.clone(),
        Arc::clone(&ledger),
        Arc::clone(&journal),
        Arc::clone(&metrics),
        Arc::clone(&owner),
        recorded.clone(),
        providers.clone(),
    );

    let vitals = Vitals {
        database: database.clone(),
        started_at: Timestamp::now(),
        owner: Arc::clone(&owner),
        pulse: Arc::clone(&pulse),
        guards: Arc::clone(&guards),
        results_blocked: settler.blocked_flag(),
        journal: Arc::clone(&journal),
        providers: providers.clone(),
        settings: settings.clone(),
        hearing,
        metrics: Arc::clone(&metrics),
        zone: config.garage.time_zone.iana_name().unwrap_or("UTC").to_owned(),
    };
    let desk = Arc::new(Desk {
        vitals: vitals.clone(),
        countries: config.garage.countries.clone(),
        zone: config.garage.time_zone.clone(),
        recorded: recorded.clone(),
        reload: reload_sender,
    });
    let router = api::router(desk);
    let until = serve_until.clone();
    let control = tokio::spawn(async move {
        match socket {
            Some(socket) => socket.serve(router, until).await,
            None => until.cancelled().await,
        }
    });
    tell_systemd(&[NotifyState::Ready]);

    let give_up = CancellationToken::new();
    let settler_handle = tokio::spawn(settler_task.run(give_up.clone()));
    let shared = Arc::new(Shared {
        database: database.clone(),
        preparer: Preparer {
            database: database.clone(),
            zone: config.garage.time_zone.clone(),
            countries: config.garage.countries.clone(),
            max_segments: config.sending.max_segments,
            guards: Arc::clone(&guards),
        },
        guards,
        settler,
        ledger: Arc::clone(&ledger),
        clock: Clock::default(),
        fleet: Fleet::default(),
        router: Router::default(),
        journal: Arc::clone(&journal),
        recall: Recall::default(),
        lines: Lines::default(),
        metrics: Arc::clone(&metrics),
        pulse: Arc::clone(&pulse),
        retry: RetryRules {
            first: config.sending.retry_first,
            longest: config.sending.retry_longest,
            max_failures: i32::try_from(config.sending.max_failures).unwrap_or(i32::MAX),
            first_look: Duration::ZERO,
        },
        stop: stop.clone(),
        hasten: hasten.clone(),
    });
    let work = Work {
        shared,
        owner,
        direct: config.database.listen.unwrap_or(true).then_some(direct),
        providers,
        settings_sender,
        settings,
        wake,
        hearing_sender,
        poll: config.sending.poll_interval,
        state_directory: config.sending.state_directory.clone(),
        zone: vitals.zone.clone(),
        receipts: config.receipts.clone(),
    };
    let mut worker = tokio::spawn(work.run());

    let mut vitals_tick = tokio::time::interval(VITALS_EVERY);
    let mut said = String::new();
    let mut asked_to_stop = false;
    let result = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Some(SIGTERM | SIGINT) if !asked_to_stop => {
                    asked_to_stop = true;
                    info!("stopping: what is being sent is finished first");
                    tell_systemd(&[NotifyState::Stopping]);
                    stop.cancel();
                }
                Some(SIGTERM | SIGINT) => {
                    warn!("stopping at once: requests under way are given up as unknown");
                    hasten.cancel();
                }
                Some(SIGHUP) => match reload(&options, &mut config, &providers_sender) {
                    Ok(done) => info!("{done}"),
                    Err(problem) => error!("the configuration is not reloaded, the old one stays: {problem}"),
                },
                Some(SIGUSR1) => summarise(&vitals).await,
                Some(_) | None => {}
            },
            Some(answer) = reloads.recv() => {
                let answered: oneshot::Sender<_> = answer;
                let result = reload(&options, &mut config, &providers_sender).map_err(|problem| problem.to_string());
                // The caller may have left; the reload stands.
                let _ = answered.send(result);
            }
            _ = vitals_tick.tick() => said = keep_systemd_informed(&vitals, said),
            ended = &mut worker => break ended,
        }
    };
    stop.cancel();
    let result = match result {
        Ok(result) => result,
        Err(panic) => Err(anyhow::Error::new(panic).context("a task of the daemon ended unexpectedly")),
    };
    let unwritten = finish(settler_handle, &give_up).await?;
    journal.end();
    serve_until.cancel();
    control.await.context("the control socket's task ended unexpectedly")?;
    database.close();
    result?;
    if unwritten > 0 {
        anyhow::bail!(
            "{unwritten} results could not be written to the database; the next start finds them in the journal, or, without one, has these messages in doubt"
        );
    }
    info!("ecar-sms has stopped; everything is recorded");
    Ok(())
}

/// The control socket. Somebody who just tries the daemon out may not be allowed to make the default one: then it sends all
/// the same. One that was asked for by name must be had.
fn control_socket(config: &ControlConfig) -> Result<Option<ControlSocket>, SocketError> {
    match ControlSocket::bind(&config.socket, &config.group) {
        Ok(socket) => Ok(Some(socket)),
        Err(SocketError::Io { path, error })
            if error.kind() == std::io::ErrorKind::PermissionDenied && path == Path::new(config::DEFAULT_SOCKET) =>
        {
            warn!(
                "{} cannot be made ({error}): staff commands cannot reach this daemon; set ECAR_SMS_SOCKET to a path of your own",
                path.display()
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Waits for the settler, which ends when all results are written.
async fn finish(mut settler: JoinHandle<usize>, give_up: &CancellationToken) -> anyhow::Result<usize> {
    let ended = match tokio::time::timeout(SETTLE_LIMIT, &mut settler).await {
        Ok(ended) => ended,
        Err(_) => {
            give_up.cancel();
            settler.await
        }
    };
    ended.context("the settler ended unexpectedly")
}

fn target_of(url: &str, name: &str) -> Result<Target, ConfigError> {
    Target::parse(url).map_err(|error| ConfigError::Value { name: name.to_owned(), problem: error.to_string() })
}

/// Builds the providers, in order. Those that keep a link of their own take it over from a `former` one that is configured the same.
///
/// # Errors
/// [`ConfigError`], naming the provider and the key.
pub fn providers_of(configs: &[ProviderConfig], former: &[Arc<Provider>]) -> Result<Providers, ConfigError> {
    let mut providers = Vec::new();
    for ProviderConfig { name, adapter, route } in configs {
        let wrong = |problem: String| ConfigError::Value { name: format!("provider {name}"), problem };
        let provider = match adapter {
            AdapterConfig::Generic(generic) => {
                let tls = connect::verified(None).map_err(|error| wrong(error.to_string()))?;
                Provider::generic(name, (**generic).clone(), tls).map_err(|error| wrong(error.to_string()))?
            }
            AdapterConfig::Log(log) => Provider::log(name, log.clone()),
            AdapterConfig::Smpp(smpp) => {
                let tls = connect::verified(smpp.tls_root.as_deref()).map_err(|error| wrong(error.to_string()))?;
                let former = former.iter().find(|former| former.name() == name).map(Arc::as_ref);
                Provider::smpp(name, (**smpp).clone(), tls, former).map_err(|error| wrong(error.to_string()))?
            }
        };
        providers.push(Arc::new(provider.routed(route.clone())));
    }
    Ok(Arc::new(providers))
}

/// Reads the configuration again and puts its providers in force. Everything else needs a restart, and is named.
fn reload(
    options: &Options,
    current: &mut Config,
    providers: &watch::Sender<Providers>,
) -> Result<String, ConfigError> {
    let mut fresh = config::load(options.config.as_deref())?;
    if let Some(socket) = &options.socket {
        fresh.control.socket.clone_from(socket);
    }
    target_of(fresh.database_url()?, "DATABASE_URL")?;
    let built = providers_of(&fresh.providers, &providers.borrow())?;
    for warning in &fresh.warnings {
        warn!("{warning}");
    }
    let mut restart = Vec::new();
    for (section, same) in [
        ("database", current.database == fresh.database),
        ("control", format!("{:?}", current.control) == format!("{:?}", fresh.control)),
        ("log", format!("{:?}", current.log) == format!("{:?}", fresh.log)),
        ("garage", format!("{:?}", current.garage) == format!("{:?}", fresh.garage)),
        ("sending", format!("{:?}", current.sending) == format!("{:?}", fresh.sending)),
        // Where they are to be pushed to is the provider's, and in force.
        ("receipts", current.receipts.listen == fresh.receipts.listen),
    ] {
        if !same {
            restart.push(section);
        }
    }
    let names: Vec<&str> = built.iter().map(|provider| provider.name()).collect();
    let mut said = format!(
        "configuration reloaded; providers: {}",
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    );
    if !restart.is_empty() {
        said = format!("{said}; changes in [{}] need a restart", restart.join("], ["));
    }
    providers.send_replace(built);
    Ok(said)
}

/// SIGUSR1: the state, in one line a person can read.
async fn summarise(vitals: &Vitals) {
    let status = vitals.status().await;
    let queue = status.queue.as_ref();
    info!(
        healthy = status.healthy,
        due = queue.map_or(-1, |queue| queue.due),
        scheduled = queue.map_or(-1, |queue| queue.scheduled),
        sending = queue.map_or(-1, |queue| queue.sending),
        held = queue.map_or(-1, |queue| queue.held),
        unknown = queue.map_or(-1, |queue| queue.unknown),
        wake = status.wake,
        problems = status.problems.join("; "),
        "state"
    );
}

/// Tells systemd that there is progress, and what is wrong in one line.
fn keep_systemd_informed(vitals: &Vitals, said: String) -> String {
    if vitals.pulse.since_beat() < BEAT_LIMIT {
        tell_systemd(&[NotifyState::Watchdog]);
    }
    let problems = vitals.problems();
    let line = if problems.is_empty() { "sending messages as they come".to_owned() } else { problems.join("; ") };
    if line != said {
        tell_systemd(&[NotifyState::Status(&line)]);
    }
    line
}

/// Without systemd there is nobody to tell, which is fine.
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(error = %error, "systemd could not be told");
    }
}
