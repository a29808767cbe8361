//! The stage of one fault: a garage, a gateway, a provider described for it, daemons, and the load.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ecar_sms::db::Target;
use ecar_sms::db::script::Session;
use ecar_sms::gateway::Script;
use tokio::process::Command;

use crate::fault::{Scale, Verdict};
use crate::judge;
use crate::load::{self, Enqueued, Load};
use crate::support::{API_KEY, Daemon, INSTALLED, World, until};

/// Requests that a daemon makes at once.
pub const CONCURRENCY: usize = 32;

/// How long the gateway takes to answer: at least, and at most.
pub const LATENCY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(50));

/// Messages per second of the usual load, in small and in full: there a little more than the 300 that are asked for.
const RATE: (u64, u64) = (120, 330);

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Lines of each daemon's log that a violation shows.
const LOG_LINES: usize = 30;

/// Daemons whose log a violation shows: the last ones.
const LOGS: usize = 2;

/// How the gateway may be asked about a message whose answer was lost, and what is done when it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ladder {
    /// By our reference.
    LookUp,
    /// Not at all; doubtful messages wait for staff.
    Hold,
    /// Not at all; doubtful messages are sent once more.
    Resend,
}

/// See the module.
pub struct Stage {
    pub world: World,
    pub scale: Scale,
    pub ladder: Ladder,
    /// Services that the load may complete.
    pub services: u64,
    load: Option<Load>,
    enqueued: Enqueued,
    begun: Instant,
    /// Where the load writes and the judge reads: past every proxy.
    pub plain_url: String,
}

impl Stage {
    /// A garage on the shared server.
    pub async fn new(scale: Scale, ladder: Ladder) -> Self {
        Self::on(World::from(INSTALLED, script(ladder)).await, scale, ladder).await
    }

    /// In a world that has ecar-sms installed.
    pub async fn on(mut world: World, scale: Scale, ladder: Ladder) -> Self {
        // The provider is described in the file; the environment's own would come first.
        world.set("SMS_GATEWAY_URL", "");
        world.gateway.set_script(script(ladder));
        let plain_url = world.url.clone();
        let services = scale.pick(200, 4_000);
        let stage_url = world.gateway.url();
        let mut stage = Self {
            world,
            scale,
            ladder,
            services,
            load: None,
            enqueued: Enqueued::default(),
            begun: Instant::now(),
            plain_url,
        };
        stage.configure(&stage_url, "", "");
        let control = stage.control().await;
        control.batch(&load::services(services)).await.unwrap();
        let policy = if ladder == Ladder::Resend { "resend" } else { "hold" };
        for (name, value) in [
            ("custom.unknown_policy", policy),
            ("service_completed.unknown_policy", policy),
            ("unknown_wait", "1s"),
            ("stampede_limit", "0"),
        ] {
            control.batch(&format!("SELECT sms_set('{name}', '{value}')")).await.unwrap();
        }
        stage
    }

    /// Describes the provider at this address; with further lines for `[database]`, and at the end of the file.
    pub fn configure(&mut self, gateway_url: &str, database: &str, further: &str) {
        let look_up = if self.ladder == Ladder::LookUp { look_up(gateway_url) } else { String::new() };
        self.world.configure(&format!(
            r#"[database]
{database}
[sending]
poll_interval = "200ms"
retry_first = "200ms"
{further}
[[provider]]
name = "judge"
[provider.generic]
url = "{gateway_url}"
api_key = "{API_KEY}"
connect_timeout = "1s"
total_timeout = "2s"
concurrency = {CONCURRENCY}
fields = [
    {{ name = "api_key", value = "{{{{ api_key }}}}" }},
    {{ name = "sender_id", value = "{{{{ sender_id }}}}" }},
    {{ name = "phone", value = "{{{{ phone }}}}" }},
    {{ name = "message", value = "{{{{ message }}}}" }},
    {{ name = "reference", value = "{{{{ reference }}}}" }},
]
{look_up}"#
        ));
    }

    /// A connection of the test's own, which no fault is aimed at.
    pub async fn control(&self) -> Session {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match Session::connect(&Target::parse(&named(&self.plain_url)).unwrap()).await {
                Ok(session) => return session,
                Err(error) if Instant::now() > deadline => panic!("the database does not come back: {error}"),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Runs SQL that must succeed.
    pub async fn sql(&self, sql: &str) {
        self.control().await.batch(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }

    /// The first value as a number.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.control().await.texts(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
        rows.first().and_then(|row| row.first().cloned().flatten()).and_then(|it| it.parse().ok()).unwrap_or_default()
    }

    /// Starts a daemon without waiting, and with the usual amount of log.
    pub fn daemon(&self) -> Daemon {
        self.world.spawn_daemon_with(&["run"])
    }

    /// A command for a daemon of this number beside others: with a socket and a state directory of its own.
    pub fn command(&self, number: usize) -> Command {
        let state = self.state_directory(number);
        std::fs::create_dir_all(&state).unwrap();
        let mut command = self.world.command(["run"]);
        let socket = self.world.directory().join(format!("control_{number}.sock"));
        command.env("ECAR_SMS_SOCKET", socket).env("STATE_DIRECTORY", &state);
        command
    }

    /// The state directory of daemon `number`.
    pub fn state_directory(&self, number: usize) -> PathBuf {
        self.world.directory().join(format!("state_{number}"))
    }

    /// Starts the load.
    pub fn load(&mut self, per_second: u64) {
        self.begun = Instant::now();
        self.load = Some(Load::start(&named(&self.plain_url), per_second, self.services));
    }

    /// Messages per second of the usual load.
    pub fn usual_rate(&self) -> u64 {
        self.scale.pick(RATE.0, RATE.1)
    }

    /// Stops the load.
    pub async fn stop_load(&mut self) {
        if let Some(load) = self.load.take() {
            self.enqueued = load.stop().await;
        }
    }

    /// Messages of these numbers in one transaction, above those of the load.
    pub async fn enqueue(&mut self, from: u64, count: u64) {
        self.sql(&load::free_texts(from, count)).await;
        self.enqueued.certain.extend(from..from + count);
    }

    /// Records messages that a test wrote by itself.
    pub fn note_enqueued(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.enqueued.certain.extend(numbers);
    }

    /// Messages per second that the load has written.
    pub fn rate(&self) -> f64 {
        self.enqueued.rate()
    }

    /// Messages that the gateway has received.
    pub fn received(&self) -> usize {
        self.world.gateway.count()
    }

    /// Waits until the gateway has received so many more than now; how long it took, none when the time was up.
    pub async fn receives(&self, more: usize, patience: Duration) -> Option<Duration> {
        self.reaches(self.received() + more, patience).await
    }

    /// Waits until the gateway has received so many in all.
    pub async fn reaches(&self, wanted: usize, patience: Duration) -> Option<Duration> {
        let begun = Instant::now();
        while self.received() < wanted {
            if begun.elapsed() > patience {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Some(begun.elapsed())
    }

    /// Messages that stand as being sent and that the gateway has not received yet.
    pub async fn unsent(&self) -> usize {
        const SENDING: &str = "SELECT coalesce(source_id::text, substring(body from '#([0-9]+)')) FROM sms_outbox WHERE state = 'sending'";
        let rows = self.control().await.texts(SENDING).await.unwrap();
        let received: BTreeSet<u64> =
            self.world.gateway.received().iter().filter_map(|it| judge::number_in(&it.message)).collect();
        let sending = rows.iter().filter_map(|row| row[0].as_ref()?.parse().ok());
        sending.filter(|number| !received.contains(number)).count()
    }

    /// Journals in the state directory of daemons that have none of their own.
    pub fn journals(&self) -> usize {
        let entries = std::fs::read_dir(self.world.directory()).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("journal-")).count()
    }

    /// Lets all leases run out at once, where no journal tells what became of the messages of a dead daemon. Only after all
    /// daemons were killed: a live one relies on its lease.
    pub async fn age_leases(&self) {
        self.sql("UPDATE sms_outbox SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 'sending'")
            .await;
    }

    /// Waits until nothing is queued, being sent, or in doubt without a decision; false when it has not become less for so long.
    pub async fn drained(&self, patience: Duration) -> bool {
        const OPEN: &str = "SELECT count(*) FROM sms_outbox WHERE state IN ('queued', 'sending') OR state = 'unknown' AND next_at IS NOT NULL";
        let (mut fewest, mut since) = (i64::MAX, Instant::now());
        loop {
            match self.number(OPEN).await {
                0 => return true,
                open if open < fewest => (fewest, since) = (open, Instant::now()),
                _ if since.elapsed() > patience => return false,
                _ => {}
            }
            tokio::time::sleep(LOOK * 5).await;
        }
    }

    /// The first of the rows that are not settled, for whoever asks why.
    async fn open(&self) -> String {
        const ROWS: &str = "SELECT to_jsonb(o)::text FROM sms_outbox o WHERE state IN ('queued', 'sending', 'unknown') ORDER BY id LIMIT 5";
        let rows = self.control().await.texts(ROWS).await.unwrap_or_default();
        rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n  ")
    }

    /// Ends a fault: the load stops, the daemons finish what is left and stop in good order, and the judge speaks.
    pub async fn finish(mut self, done: String, daemons: Vec<Daemon>, twice_allowed: usize) -> Verdict {
        self.stop_load().await;
        let drained = self.drained(self.scale.patience()).await;
        let mut verdict = Verdict::new(done);
        verdict.require(drained, || "messages are left queued, being sent or undecided".to_owned());
        if !drained {
            verdict.note(self.open().await);
        }
        for mut daemon in daemons {
            // One that was started a moment ago cannot be told to stop before it has begun.
            until("the daemon starts", async || !daemon.is_running() || daemon.log().contains("ecar-sms starts")).await;
            if daemon.is_running() {
                daemon.signal("TERM");
            }
            let status = daemon.ended().await;
            verdict.require(status.success(), || format!("a daemon ended with {status}"));
        }
        self.judged(verdict, twice_allowed).await
    }

    /// The judge alone, when the daemons are gone already.
    pub async fn judged(mut self, mut verdict: Verdict, twice_allowed: usize) -> Verdict {
        self.stop_load().await;
        let count = judge::judge(&self.plain_url, &self.world.gateway, &self.enqueued).await;
        verdict.count(&count, twice_allowed);
        verdict.seconds = self.begun.elapsed();
        if !verdict.violations.is_empty() {
            verdict.details = judge::stories(&self.plain_url, &self.world.gateway, &count).await + &self.logs();
        }
        verdict
    }

    /// The ends of the last daemons' logs.
    pub fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.world.directory()).unwrap().flatten();
        let mut logs: Vec<_> = entries
            .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "log"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        logs.sort();
        let mut told = String::new();
        for (_, path) in logs.iter().rev().take(LOGS).rev() {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            told.push_str(&format!("  --- {}\n  {}\n", path.file_name().unwrap().display(), tail.join("\n  ")));
        }
        told
    }
}

/// The URL with a name of our own in `pg_stat_activity`, so that faults aimed at the daemon's connections spare ours.
pub fn named(url: &str) -> String {
    let separator = match (url.starts_with("postgresql://"), url.contains('?')) {
        (false, _) => ' ',
        (true, true) => '&',
        (true, false) => '?',
    };
    format!("{url}{separator}application_name=torture")
}

/// A gateway that takes everything, after a while.
fn script(ladder: Ladder) -> Script {
    let look_up = if ladder == Ladder::LookUp { "lookup = [\"reference\"]" } else { "lookup = []" };
    let (least, most) = LATENCY;
    Script::parse(&format!(
        "{look_up}\nlatency = \"{}ms\"\njitter = \"{}ms\"\n",
        least.as_millis(),
        (most - least).as_millis()
    ))
    .unwrap()
}

/// How the simulated gateway is asked by reference.
fn look_up(gateway_url: &str) -> String {
    let host = gateway_url.trim_end_matches("/v1/messages");
    format!(
        r#"[provider.generic.lookup]
by = "reference"
url = "{host}/lookup?reference={{{{ reference }}}}"
absent_after = "1s"
"#
    )
}
