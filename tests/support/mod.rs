//! What every end-to-end test stands on: one throwaway PostgreSQL for each test binary, a fresh copy of an installed
//! garage for each test, the simulated gateway as the judge, and the built binary as a real process.
//!
//! Nothing here sleeps to let things settle: [`until`] waits for a condition and prints the state when its time is up.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ecar_sms::db::Target;
use ecar_sms::db::script::Session;
use ecar_sms::demo::server::{Options, Throwaway};
use ecar_sms::gateway::{Gateway, Received, Script};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// How long a condition may take before a test gives up: generous, because the machines are shared and slow at times.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The key that every daemon of a test uses, and that must appear nowhere.
pub const API_KEY: &str = "k3y-of-the-tests-never-shown";

/// A database that holds the garage's tables, empty, without anything of ours.
pub const BARE: &str = "template_bare";

/// The same with ecar-sms installed.
pub const INSTALLED: &str = "template_installed";

/// Tests run at night too; those about hours set their own.
pub const AT_ANY_HOUR: &str = "
    UPDATE sms_setting SET value = CASE unit WHEN 'hours' THEN '00:00-24:00' WHEN 'days' THEN 'mon-sun' ELSE 'open' END
    WHERE unit IN ('hours', 'days', 'open|closed')";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The server of this test binary. Its keeper stops it when the process ends, however it ends.
static SERVER: LazyLock<Throwaway> = LazyLock::new(|| {
    let start = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(async {
            let server = Throwaway::start().await.expect("a throwaway PostgreSQL");
            server.create_database(BARE, None).await.unwrap();
            let garage = session(&server.url(BARE)).await;
            garage.batch(include_str!("../../sql/demo/garage.sql")).await.unwrap();
            drop(garage);
            create_copy(&server, INSTALLED, BARE).await;
            let output = program(["install"]).env("DATABASE_URL", server.url(INSTALLED)).output().await.unwrap();
            assert!(output.status.success(), "{}", shown(&output));
            session(&server.url(INSTALLED)).await.batch(AT_ANY_HOUR).await.unwrap();
            server
        });
        // The server's pipes belong to this runtime: it must live as long as the server.
        std::mem::forget(runtime);
        server
    };
    std::thread::spawn(start).join().expect("the throwaway PostgreSQL started")
});

/// The server shared by the tests of this binary.
pub fn server() -> &'static Throwaway {
    &SERVER
}

/// A connection to a database.
pub async fn session(url: &str) -> Session {
    Session::connect(&Target::parse(url).unwrap()).await.unwrap()
}

async fn create_copy(server: &Throwaway, name: &str, template: &str) {
    // A connection that was just closed may count as open for a moment.
    until("the template is free", async || server.create_database(name, Some(template)).await.is_ok()).await;
}

/// The built binary with these arguments, and none of our variables from outside.
pub fn program<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecar-sms"));
    for name in [
        "DATABASE_URL",
        "SMS_API_KEY",
        "SMS_GATEWAY_URL",
        "SMS_SENDER_ID",
        "ECAR_SMS_CONFIG",
        "ECAR_SMS_SOCKET",
        "NOTIFY_SOCKET",
    ] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a command printed, for a failing test.
pub fn shown(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits until the condition holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port that nobody listens on, for whoever must know it before it is listened on. Below those that the kernel hands out, so that
/// nothing else in the tests gets it meanwhile.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 20_000;
    // Another place for each process.
    let start = std::process::id().wrapping_mul(61);
    loop {
        let number = start.wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % PORTS).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A garage of its own: database, gateway, private directory.
pub struct World {
    pub database: String,
    pub url: String,
    pub sql: Session,
    pub gateway: Gateway,
    directory: tempfile::TempDir,
    /// Further environment of every command and daemon.
    pub environment: Vec<(String, String)>,
    /// The configuration file, when one is written.
    pub config: Option<PathBuf>,
}

impl World {
    /// With ecar-sms installed and a gateway that takes everything.
    pub async fn new() -> Self {
        Self::from(INSTALLED, Script::default()).await
    }

    /// With this gateway script (TOML).
    pub async fn with_script(script: &str) -> Self {
        Self::from(INSTALLED, Script::parse(script).unwrap()).await
    }

    /// From a template ([`BARE`] or [`INSTALLED`]).
    pub async fn from(template: &str, script: Script) -> Self {
        let database = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = tokio::task::spawn_blocking(server).await.unwrap();
        create_copy(server, &database, template).await;
        let url = server.url(&database);
        let world = Self::at(database, url, script).await;
        if template == INSTALLED {
            // A copy of the template would be taken for what it is.
            world.batch("SELECT sms_adopt()").await;
        }
        world
    }

    /// With ecar-sms installed on a server of its own, which the test may stop; through TCP and with a password when the
    /// options say `tcp`. Hold on to the server: dropping it ends it.
    pub async fn on_its_own_server(options: Options, script: &str) -> (Self, Throwaway) {
        let database = "garage".to_owned();
        let server = Throwaway::start_with(options).await.expect("a throwaway PostgreSQL");
        server.create_database(&database, None).await.unwrap();
        let url = server.tcp_url(&database).unwrap_or_else(|| server.url(&database));
        let world = Self::at(database, url, Script::parse(script).unwrap()).await;
        world.batch(include_str!("../../sql/demo/garage.sql")).await;
        world.ok(["install"]).await;
        world.batch(AT_ANY_HOUR).await;
        (world, server)
    }

    /// With an empty database, for a dump to be restored into.
    pub async fn empty() -> Self {
        let database = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = tokio::task::spawn_blocking(server).await.unwrap();
        server.create_database(&database, None).await.unwrap();
        let url = server.url(&database);
        Self::at(database, url, Script::default()).await
    }

    /// Runs one of PostgreSQL's programs, which must succeed.
    pub async fn postgres_program(&self, name: &str, arguments: &[&str]) {
        let mut command = Command::new(server().bin_dir().join(name));
        command.args(arguments).env_remove("PGOPTIONS").kill_on_drop(true);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{name} {arguments:?}: {}", shown(&output));
    }

    /// At this database, which holds what the test put there.
    pub async fn at(database: String, url: String, script: Script) -> Self {
        let sql = session(&url).await;
        let gateway = Gateway::start(([127, 0, 0, 1], 0).into(), script).await.unwrap();
        let directory = tempfile::Builder::new().prefix("ecar").tempdir().unwrap();
        Self { database, url, sql, gateway, directory, environment: Vec::new(), config: None }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// Writes the configuration file that commands and daemons of this world use from now on.
    pub fn configure(&mut self, toml: &str) -> PathBuf {
        let path = self.directory.path().join("config.toml");
        std::fs::write(&path, toml).unwrap();
        self.config = Some(path.clone());
        path
    }

    /// Adds to the environment of every command and daemon.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A command of the program in this world; with the key and the gateway, unless [`World::set`] says otherwise.
    pub fn command<I, S>(&self, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = program(arguments);
        command.env("DATABASE_URL", &self.url).env("SMS_API_KEY", API_KEY).env("SMS_GATEWAY_URL", self.gateway.url());
        command.env("ECAR_SMS_SOCKET", self.socket()).env("STATE_DIRECTORY", self.directory.path());
        if let Some(config) = &self.config {
            command.env("ECAR_SMS_CONFIG", config);
        }
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs a command to its end.
    pub async fn run<I, S>(&self, arguments: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command(arguments).output().await.unwrap()
    }

    /// Runs a command that must succeed; returns its standard output.
    pub async fn ok<I, S>(&self, arguments: I) -> String
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the daemon and waits until it looks at the outbox.
    pub async fn daemon(&self) -> Daemon {
        let daemon = self.spawn_daemon();
        until("the daemon listens", async || {
            let log = daemon.log();
            assert!(daemon.is_running(), "the daemon ended:\n{log}");
            log.contains("listening for wake-ups")
        })
        .await;
        daemon
    }

    /// Starts the daemon and does not wait.
    pub fn spawn_daemon(&self) -> Daemon {
        self.spawn_daemon_with(&["-v", "run"])
    }

    /// The same with other arguments.
    pub fn spawn_daemon_with(&self, arguments: &[&str]) -> Daemon {
        self.spawn(self.command(arguments))
    }

    /// Starts a command that is, or becomes, a daemon.
    pub fn spawn(&self, mut command: Command) -> Daemon {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = self.directory.path().join(format!("daemon_{number}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Daemon { pid: child.id().unwrap(), child, log }
    }

    /// Runs SQL that must succeed.
    pub async fn batch(&self, sql: &str) {
        self.sql.batch(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }

    /// The first column of the first row, empty for NULL or no row.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.sql.texts(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
        rows.first().and_then(|row| row.first().cloned().flatten()).unwrap_or_default()
    }

    /// The same as a number.
    pub async fn count(&self, sql: &str) -> i64 {
        self.value(sql).await.parse().unwrap_or_default()
    }

    /// The connection string of this world's database for another role.
    pub fn url_as(&self, role: &str) -> String {
        let url = self.url.replacen("//postgres@", &format!("//{role}@"), 1);
        assert_ne!(url, self.url, "the superuser's name stands in the URL");
        url
    }

    /// Runs SQL with psql, one statement after the other; goes on after an error, and exits 0 all the same, unless the SQL
    /// sets `ON_ERROR_STOP`. Warnings and errors are on standard error.
    pub async fn psql(&self, url: &str, sql: &str) -> Output {
        let program = server().bin_dir().join("psql");
        let mut command = Command::new(program);
        command
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--dbname", url])
            .env_remove("PGOPTIONS");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let write = async move { input.write_all(sql.as_bytes()).await };
        let (written, output) = tokio::join!(write, child.wait_with_output());
        let output = output.unwrap();
        written.unwrap_or_else(|error| panic!("{error}: {}", shown(&output)));
        output
    }

    /// Waits until the value is as expected, longer while it changes; prints the outbox, the history and the daemon's log otherwise.
    pub async fn value_becomes(&self, sql: &str, expected: &str) {
        let (begun, mut changed, mut seen) = (Instant::now(), Instant::now(), None);
        loop {
            let value = self.value(sql).await;
            if value == expected {
                return;
            }
            if seen.as_ref() != Some(&value) {
                (changed, seen) = (Instant::now(), Some(value.clone()));
            }
            if changed.elapsed() > PATIENCE || begun.elapsed() > PATIENCE * 5 {
                panic!("{sql}\nis {value:?}, expected {expected:?}\n{}", self.state().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the message has this status.
    pub async fn status_becomes(&self, id: i64, status: &str) {
        self.value_becomes(&format!("SELECT status FROM sms_message WHERE id = {id}"), status).await;
    }

    /// Waits until the daemon has asked the database something of this sort, begun after this call.
    pub async fn daemon_asks(&self, part: &str) {
        let since = self.value("SELECT clock_timestamp()").await;
        self.value_becomes(
            &format!(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND query_start > '{since}' AND query LIKE '%{part}%'"
            ),
            "t",
        )
        .await;
    }

    /// Waits until no message is queued or being sent.
    pub async fn settled(&self) {
        self.value_becomes("SELECT count(*) FROM sms_outbox WHERE state IN ('queued', 'sending')", "0").await;
    }

    /// Waits until the gateway has received this many messages, for as long as they come.
    pub async fn gateway_receives(&self, messages: usize) {
        let (mut seen, mut deadline) = (0, Instant::now() + PATIENCE);
        while self.gateway.count() < messages {
            if self.gateway.count() > seen {
                (seen, deadline) = (self.gateway.count(), Instant::now() + PATIENCE);
            }
            if Instant::now() > deadline {
                panic!("the gateway received {} of {messages}\n{}", self.gateway.count(), self.state().await);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the gateway received for one number.
    pub fn received_by(&self, phone: &str) -> Vec<Arc<Received>> {
        self.gateway.received().into_iter().filter(|message| message.phone == phone).collect()
    }

    /// Enqueues a free text; returns its id.
    pub async fn enqueue(&self, phone: &str, text: &str) -> i64 {
        let (phone, text) = (phone.replace('\'', "''"), text.replace('\'', "''"));
        self.count(&format!(
            "INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '{phone}', '{text}') RETURNING id"
        ))
        .await
    }

    /// A customer with a car and a service of the same number, in this status.
    pub async fn service(&self, number: i64, phone: &str, status: &str) {
        self.batch(&format!(
            "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
             VALUES ({number}, '!', false, 'user{number}', 'Sami', 'Ben Ali', '', false, true, now());
             INSERT INTO core_customer (id, phone, created_at, updated_at, user_id) VALUES ({number}, '{phone}', now(), now(), {number});
             INSERT INTO core_car (id, make, model, year, license_plate, fuel_type, mileage, created_at, updated_at, customer_id, initial_mileage)
             VALUES ({number}, 'Kia', 'Rio', 2020, '{number} TN 1', 'gasoline', 1, now(), now(), {number}, 0);
             INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
             VALUES ({number}, 'Vidange', '', '{status}', now(), now(), now(), {number}, false)"
        ))
        .await;
    }

    /// Completes a service, as the application does: all columns rewritten.
    pub async fn complete(&self, number: i64) {
        self.batch(&format!(
            "UPDATE core_service SET title = title, status = 'completed', updated_at = now() WHERE id = {number}"
        ))
        .await;
    }

    /// A request on the control socket, by curl. Returns the status and the body.
    pub async fn curl(&self, arguments: &[&str], path: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "30", "-w", "\n%{http_code}", "--unix-socket"])
            .arg(self.socket())
            .args(arguments)
            .arg(format!("http://localhost{path}"))
            .output()
            .await
            .expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{}", shown(&output)));
        (status.parse().unwrap_or_default(), body.to_owned())
    }

    /// Everything a failing test wants to know.
    pub async fn state(&self) -> String {
        let table = async |sql: &str| {
            let rows = self.sql.texts(sql).await.unwrap_or_default();
            rows.iter()
                .map(|row| {
                    row.iter()
                        .map(|value| value.clone().unwrap_or_else(|| "-".to_owned()))
                        .collect::<Vec<_>>()
                        .join(" | ")
                })
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mut logs = String::new();
        for entry in std::fs::read_dir(self.directory.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "log") {
                let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let tail =
                    log.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
                logs.push_str(&format!("\n--- {}\n{tail}", entry.path().display()));
            }
        }
        format!(
            "--- outbox\n{}\n--- messages\n{}\n--- gateway received {}{logs}",
            table("SELECT id, kind, state, reason, attempt, failures, next_at, lease_until, detail FROM sms_outbox ORDER BY id LIMIT 20").await,
            table("SELECT id, kind, recipient, status, reason, attempts, detail FROM sms_message ORDER BY id LIMIT 20").await,
            self.gateway.count()
        )
    }
}

/// A running daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    pub pid: u32,
    log: PathBuf,
}

impl Daemon {
    /// Everything it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn is_running(&self) -> bool {
        // A zombie is not running: its state is Z.
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
    }

    /// Sends a signal by name: TERM, INT, HUP, USR1, KILL, STOP, CONT.
    pub fn signal(&self, name: &str) {
        let status =
            std::process::Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid)]).status().unwrap();
        assert!(status.success(), "kill -{name} {}", self.pid);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("the daemon does not end:\n{}", self.log()))
            .unwrap()
    }

    /// SIGTERM, and its end, which must be exit 0.
    pub async fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended().await;
        let log = self.log();
        assert!(status.success(), "{status}\n{log}");
        // Whatever was to be done by it was not done; some of it is only told.
        assert!(!log.contains("other arguments than its signature"), "{log}");
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.signal("KILL");
        self.ended().await;
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}
