//! What works on the outbox, from the first connection to the last send: it is introduced to the database, for as long as that takes,
//! opens its journal, joins the other daemons, and starts the tasks. One that ends unexpectedly stops them all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::accountant;
use crate::config::ReceiptsConfig;
use crate::db::listener::{self, Hearing};
use crate::db::{DbError, Target, field, statement};
use crate::outbox::doubt::{Due, Inspector};
use crate::outbox::fleet::JOIN_WAIT;
use crate::outbox::guards;
use crate::outbox::recover::Recovery;
use crate::outbox::rescue::Housekeeper;
use crate::outbox::send::Shared;
use crate::outbox::settings::Settings;
use crate::outbox::worker::Claimer;
use crate::provider::Providers;
use crate::receipt::bound::Bound;
use crate::receipt::intake::Intake;
use crate::receipt::listener as push_listener;
use crate::receipt::poller::Poller;

/// Pauses between attempts to reach the database at the start.
const START_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How long the last word to the other daemons may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// What works on the outbox, from the first connection to the last send.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) owner: Arc<AtomicI32>,
    pub(super) direct: Option<Target>,
    pub(super) providers: watch::Receiver<Providers>,
    pub(super) settings_sender: watch::Sender<Arc<Settings>>,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) wake: Arc<Notify>,
    pub(super) hearing_sender: watch::Sender<Hearing>,
    pub(super) poll: Duration,
    pub(super) state_directory: Option<PathBuf>,
    /// The garage's zone, by its IANA name.
    pub(super) zone: String,
    /// Where providers push.
    pub(super) receipts: ReceiptsConfig,
}

/// What the database says to a daemon that introduces itself.
struct Introduced {
    owner: i32,
    /// What the database is called in the names of journals.
    database_name: Option<String>,
}

impl Work {
    /// Works until told to stop.
    ///
    /// # Errors
    /// A task ended unexpectedly.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let stop = self.shared.stop.clone();
        let Some(Introduced { owner, database_name }) = self.introduce().await else { return Ok(()) };
        self.owner.store(owner, Ordering::Relaxed);
        let recovery = match &self.state_directory {
            Some(directory) => self.open_journal(directory, database_name, owner).await,
            None => {
                info!("no state directory ([sending] state_directory): after a kill, what was being sent is in doubt");
                None
            }
        };
        self.join(owner).await;
        let database = self.shared.database.clone();
        let claimer = Claimer::new(
            Arc::clone(&self.shared),
            owner,
            self.providers.clone(),
            self.settings_sender,
            Arc::clone(&self.wake),
            self.poll,
        );
        let mut claiming = tokio::spawn(claimer.run());
        // It gets the connection that is open already; the others open their own beside it.
        tokio::task::yield_now().await;
        let background = CancellationToken::new();
        let mut listening = match self.direct {
            Some(target) => tokio::spawn(listener::run(
                target,
                self.shared.database.clone(),
                owner,
                self.wake,
                self.hearing_sender,
                background.clone(),
            )),
            None => {
                self.hearing_sender.send_replace(Hearing::Polling("switched off by configuration".to_owned()));
                let background = background.clone();
                tokio::spawn(async move { background.cancelled().await })
            }
        };
        let due = Arc::new(Due::default());
        let housekeeper = Housekeeper {
            shared: Arc::clone(&self.shared),
            recovery,
            owner,
            settings: self.settings.clone(),
            due: Arc::clone(&due),
            zone: self.zone,
        };
        let mut housekeeping = tokio::spawn(housekeeper.run(background.clone()));
        let intake = Arc::new(Intake::new(database.clone()));
        let poller =
            Poller { database: database.clone(), providers: self.providers.clone(), intake: Arc::clone(&intake) };
        let mut polling = tokio::spawn(poller.run(background.clone()));
        let mut accounting = tokio::spawn(accountant::run(self.providers.clone(), background.clone()));
        let bound = Bound { providers: self.providers.clone(), intake: Arc::clone(&intake) };
        let mut binding = tokio::spawn(bound.run(background.clone()));
        let mut taking = match self.receipts.listen {
            Some(address) => {
                let url = self.receipts.public_url.unwrap_or_else(|| format!("http://{address}"));
                let taker = push_listener::Listener::new(self.providers.clone(), intake, url);
                tokio::spawn(push_listener::run(taker, address, background.clone()))
            }
            None => {
                let background = background.clone();
                tokio::spawn(async move { background.cancelled().await })
            }
        };
        let shared = Arc::clone(&self.shared);
        let inspector = Inspector { shared: self.shared, providers: self.providers, settings: self.settings, due };
        let mut inspecting = tokio::spawn(inspector.run(background.clone()));
        let result = tokio::select! {
            ended = &mut claiming => ended.map_err(anyhow::Error::from).and_then(|ended| ended.map_err(anyhow::Error::from)),
            ended = &mut housekeeping => ended.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("the housekeeper ended by itself"))),
            ended = &mut inspecting => ended.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("the inspector of messages in doubt ended by itself"))),
            ended = &mut polling => ended.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("the poller of receipts ended by itself"))),
            ended = &mut accounting => ended.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("the accountant ended by itself"))),
            ended = &mut binding => ended.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("the keeper of providers' links ended by itself"))),
            ended = &mut taking => ended.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("the listener for receipts ended by itself"))),
            ended = &mut listening => ended.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("the listener ended by itself"))),
        };
        stop.cancel();
        if !claiming.is_finished() {
            // Another task failed: sends under way still end as they should.
            if let Err(error) = claiming.await {
                error!(error = %error, "the claimer ended unexpectedly");
            }
        }
        background.cancel();
        for task in [listening, housekeeping, polling, binding, accounting, taking, inspecting] {
            if !task.is_finished() {
                task.await.context("a background task ended unexpectedly")?;
            }
        }
        // Only a courtesy to the other daemons, who would notice by themselves.
        let floor = shared.fleet.floor();
        let leaving = [("owner", &owner as _), ("floor", &floor as _)];
        let left = tokio::time::timeout(LEAVE_LIMIT, database.query(&statement::LEAVE, &leaving)).await;
        if !matches!(left, Ok(Ok(_))) {
            info!("the other daemons could not be told that this one stops");
        }
        result
    }

    /// Begins this run's journal, and remembers what earlier runs on this machine sent.
    async fn open_journal(&self, directory: &Path, database: Option<String>, owner: i32) -> Option<Recovery> {
        let Some(database) = database else {
            error!(
                "the journal cannot be begun: sms_installation is empty; after a kill, what was being sent is in doubt"
            );
            return None;
        };
        if let Err(error) = self.shared.journal.begin_in(directory, &database, owner) {
            error!(
                error = %error,
                directory = %directory.display(),
                "the journal cannot be begun; messages go out all the same, but after a kill those under way are in doubt"
            );
        }
        let recovery = Recovery { shared: Arc::clone(&self.shared), state_directory: directory.to_owned(), database };
        recovery.remember().await;
        Some(recovery)
    }

    /// Takes this daemon's place among others, who must have seen it before it sends anything.
    async fn join(&self, owner: i32) {
        let stop = self.shared.stop.clone();
        loop {
            match self.shared.fleet.beat(&self.shared.database, owner).await {
                Ok(_) if self.shared.fleet.daemons() > 1 => {
                    info!(wait = ?JOIN_WAIT, "other daemons work on this database; they are given the time to share with this one");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(JOIN_WAIT) => {}
                    }
                    return;
                }
                Ok(_) => return,
                Err(error) => info!(error = %error, "the other daemons cannot be counted yet"),
            }
            self.shared.pulse.beat();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(START_PAUSE.0) => {}
            }
        }
    }

    /// Takes an owner number and reads the settings, for as long as it takes. `None` when told to stop meanwhile.
    async fn introduce(&self) -> Option<Introduced> {
        let mut pause = START_PAUSE.0;
        loop {
            match self.try_introduce().await {
                Ok(introduced) => return Some(introduced),
                Err(problem) => {
                    if self.shared.pulse.failed(&problem.to_string()) {
                        error!(error = %problem, "the daemon cannot begin yet; it tries again");
                    }
                }
            }
            self.shared.pulse.beat();
            tokio::select! {
                () = self.shared.stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(START_PAUSE.1);
        }
    }

    async fn try_introduce(&self) -> Result<Introduced, DbError> {
        let database = &self.shared.database;
        let settings = Settings::load(database).await?;
        guards::check(database, &self.shared.guards).await?;
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let row = database
            .query_one(&statement::REGISTER, &[("host", &host), ("pid", &pid), ("version", &env!("CARGO_PKG_VERSION"))])
            .await?;
        self.settings_sender.send_replace(Arc::new(settings));
        self.shared.fleet.keep_floor(field::<Option<i64>>(&row, "floor")?.unwrap_or_default());
        Ok(Introduced { owner: field(&row, "owner")?, database_name: field(&row, "database_name")? })
    }
}
