//! A throwaway server with default durability, the garage in it, and the built daemon beside it.
//!
//! The garage with all its services is made once, as a template; each measurement takes a fresh copy of it, which is told that it
//! is an original. A daemon gets directories of its own, a journal as in production, and ends in good order: one that is killed
//! would leave a share to be waited for.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ecar_sms::demo::server::{Options, Throwaway};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::gateway::Gateway;
use crate::process::now_us;

/// Longest wait for anything that is not measured.
const PATIENCE: Duration = Duration::from_secs(120);

/// Pause between two looks at a condition.
pub const LOOK: Duration = Duration::from_millis(10);

const TEMPLATE: &str = "template_garage";
const GARAGE: &str = include_str!("../../sql/demo/garage.sql");

/// One customer with a number of his own, one car and one service in work for each number from 1.
const FILL: &str = "
INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT i, '!', false, 'customer' || i, 'Sami', 'Trabelsi', '', false, true, now() FROM generate_series(1, $N) i;
INSERT INTO core_customer (id, phone, address, created_at, updated_at, user_id)
SELECT i, '20 ' || lpad((i / 1000)::text, 3, '0') || ' ' || lpad((i % 1000)::text, 3, '0'), 'Tunis', now(), now(), i FROM generate_series(1, $N) i;
INSERT INTO core_car (id, make, model, year, license_plate, fuel_type, mileage, created_at, updated_at, customer_id, initial_mileage)
SELECT i, 'Kia', 'Rio', 2019, '201 TU ' || i, 'petrol', 64200, now(), now(), i, 0 FROM generate_series(1, $N) i;
INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
SELECT i, 'Vidange', '', 'in_progress', now(), now(), now(), i, true FROM generate_series(1, $N) i;
";

/// A garage of its own.
pub struct Garage {
    pub name: String,
    pub url: String,
    pub sql: Client,
}

impl Garage {
    async fn open(name: &str, url: String) -> Self {
        let sql = connect(&url).await;
        Self { name: name.to_owned(), url, sql }
    }

    pub async fn run(&self, statements: &str) {
        self.sql.batch_execute(statements).await.unwrap_or_else(|error| panic!("{error:?}\n{statements}"));
    }

    /// The first column of the first row, as a number. One transaction.
    pub async fn number(&self, query: &str) -> f64 {
        number(&self.sql, query).await
    }
}

pub async fn number(sql: &Client, query: &str) -> f64 {
    let messages = sql.simple_query(query).await.unwrap_or_else(|error| panic!("{error:?}\n{query}"));
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.unwrap_or("0").parse().unwrap()
}

pub async fn connect(url: &str) -> Client {
    let (sql, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    sql
}

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Settings {
    pub concurrency: usize,
    pub rate: Option<f64>,
    pub config: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { concurrency: 64, rate: None, config: "" }
    }
}

pub struct Daemon {
    child: Child,
    pub pid: u32,
    pub spawned_us: i64,
    directory: TempDir,
}

impl Daemon {
    /// Ends it in good order, and waits for that.
    pub async fn end(mut self) {
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.pid)]).status().await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        if !told.success() || !matches!(&ended, Ok(Ok(status)) if status.success()) {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            panic!("the daemon ended badly ({ended:?}):\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

pub struct Stage {
    pub gateway: Gateway,
    pub server: Throwaway,
    copies: AtomicU32,
}

impl Stage {
    /// A garage with that many services, ready to be copied.
    pub async fn set(durable: bool, services: usize) -> Self {
        Self::set_with(durable, services, &[]).await.expect("a throwaway PostgreSQL")
    }

    /// The same with parameters; an error when the server does not take them.
    pub async fn set_with(durable: bool, services: usize, parameters: &[&str]) -> Result<Self, String> {
        // Shared memory as the harness of the peers has it; all that concerns durability is left as it comes.
        let mut all = vec!["shared_buffers=256MB".to_owned(), "max_connections=200".to_owned()];
        all.extend(parameters.iter().map(|parameter| (*parameter).to_owned()));
        let options = Options { durable, parameters: all, ..Options::default() };
        let server = Throwaway::start_with(options).await.map_err(|error| error.to_string())?;
        server.create_database(TEMPLATE, None).await.unwrap();
        let garage = Garage::open(TEMPLATE, server.url(TEMPLATE)).await;
        garage.run(GARAGE).await;
        garage.run(&FILL.replace("$N", &services.max(1).to_string())).await;
        let installed = program().env("DATABASE_URL", &garage.url).arg("install").status().await.unwrap();
        assert!(installed.success(), "install failed");
        // Nothing here is a stampede, or an event that was missed.
        garage.run("SELECT sms_set('stampede_limit', '0'), sms_set('catch_up', 'off')").await;
        garage.run("VACUUM ANALYZE").await;
        garage.run("CHECKPOINT").await;
        drop(garage);
        Ok(Self { gateway: Gateway::start().await, server, copies: AtomicU32::new(0) })
    }

    /// A fresh copy of the garage.
    pub async fn garage(&self) -> Garage {
        let name = format!("garage_{}", self.copies.fetch_add(1, Ordering::Relaxed));
        let deadline = Instant::now() + PATIENCE;
        // Whoever was connected to the template (we, or autovacuum) may take a moment to leave.
        while let Err(error) = self.server.create_database(&name, Some(TEMPLATE)).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(LOOK).await;
        }
        let garage = Garage::open(&name, self.server.url(&name)).await;
        garage.run("UPDATE sms_installation SET database_name = current_database()").await;
        garage
    }

    /// A copy that is no longer needed.
    pub async fn discard(&self, garage: Garage) {
        let sql = self.observer().await;
        sql.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", garage.name)).await.unwrap();
    }

    /// A session in another database: what it does is not counted among the garage's transactions.
    pub async fn observer(&self) -> Client {
        connect(&self.server.url("postgres")).await
    }

    /// The daemon, just spawned.
    pub fn spawn(&self, garage: &Garage, settings: &Settings) -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("state")).unwrap();
        std::fs::write(at("config.toml"), settings.config).unwrap();
        let log = File::create(at("log")).unwrap();
        let mut command = program();
        command
            .env("DATABASE_URL", &garage.url)
            .env("SMS_API_KEY", "bench")
            .env("SMS_GATEWAY_URL", self.gateway.url())
            .env("SMS_GATEWAY_CONCURRENCY", settings.concurrency.to_string())
            .env("ECAR_SMS_CONFIG", at("config.toml"))
            .env("ECAR_SMS_SOCKET", at("control.sock"))
            .env("STATE_DIRECTORY", at("state"))
            .args(["--log-format", "json", "run"])
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(rate) = settings.rate {
            command.env("SMS_GATEWAY_RATE", rate.to_string());
        }
        let spawned_us = now_us();
        let child = command.spawn().unwrap();
        let pid = child.id().unwrap();
        Daemon { child, pid, spawned_us, directory }
    }

    /// The daemon, once it has sent a message; the gateway is empty again afterwards.
    pub async fn daemon(&self, garage: &Garage, settings: &Settings, delay: Duration) -> Daemon {
        self.gateway.reset(delay).await;
        let daemon = self.spawn(garage, settings);
        garage.run("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 999 999', 'first')").await;
        self.received(1).await;
        let recorded = "EXISTS (SELECT FROM sms_history WHERE recipient = '+21620999999' AND body = 'first' AND settled_at > now() - interval '1 minute')";
        assert!(until(garage, recorded).await.is_some(), "the first message was not recorded");
        self.gateway.reset(delay).await;
        daemon
    }

    /// Waits until the gateway has that many messages; false when nothing more comes.
    pub async fn received(&self, messages: usize) -> bool {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let count = self.gateway.count().await;
            if count >= messages {
                return true;
            }
            if count > last {
                (last, since) = (count, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn end(self) {
        self.server.stop().await.unwrap();
    }
}

/// Waits until a query says true; each look is a transaction. Returns how many it took, none when it stayed false.
pub async fn until(garage: &Garage, query: &str) -> Option<f64> {
    let deadline = Instant::now() + PATIENCE;
    let query = format!("SELECT CASE WHEN ({query}) THEN 1 ELSE 0 END");
    let mut looks = 0.0;
    while Instant::now() < deadline {
        looks += 1.0;
        if garage.number(&query).await > 0.0 {
            return Some(looks);
        }
        tokio::time::sleep(LOOK * 5).await;
    }
    None
}

/// The built program with nothing of our surroundings in it.
fn program() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_ecar-sms")));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}
