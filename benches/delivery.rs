//! From commit to gateway: latency while idle, with wake-ups and by polling alone, and the rate of a backlog.
//!
//! Measures, and asserts nothing: the built daemon, a throwaway server with default durability, the simulated gateway in
//! this process. All figures of one run belong together; machines differ and are shared.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ecar_sms::db::Target;
use ecar_sms::db::script::Session;
use ecar_sms::demo::server::{Options, Throwaway};
use ecar_sms::gateway::{Gateway, Script};
use tokio::process::{Child, Command};

/// Single messages for each latency, one at a time.
const SAMPLES: usize = 100;

/// Messages of the backlog.
const BACKLOG: usize = 20_000;

/// The poll interval of the run without wake-ups, in milliseconds.
const POLL_MS: u64 = 250;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

struct Bench {
    url: String,
    gateway: Gateway,
    directory: tempfile::TempDir,
}

impl Bench {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecar-sms"));
        command
            .env("DATABASE_URL", &self.url)
            .env("SMS_API_KEY", "bench")
            .env("SMS_GATEWAY_URL", self.gateway.url())
            .env("ECAR_SMS_SOCKET", self.directory.path().join("control.sock"))
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// A daemon, once it has sent its first message.
    async fn daemon(&self, sql: &Session, config: &str) -> Child {
        let path = self.directory.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let child = self.command().env("ECAR_SMS_CONFIG", path).args(["--log-format", "json", "run"]).spawn().unwrap();
        self.gateway.clear();
        sql.batch(&insert("'20 000 000', 'first'")).await.unwrap();
        self.received(1).await;
        child
    }

    async fn received(&self, messages: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.gateway.count() < messages {
            assert!(Instant::now() < deadline, "the gateway received {} of {messages}", self.gateway.count());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Milliseconds from commit to arrival, sorted.
    async fn latencies(&self, sql: &Session, gap: impl Fn(usize) -> Duration) -> Vec<f64> {
        let mut samples = Vec::new();
        for sample in 0..SAMPLES {
            tokio::time::sleep(gap(sample)).await;
            self.gateway.clear();
            sql.batch(&insert("'20 000 001', 'one'")).await.unwrap();
            let committed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            self.received(1).await;
            let arrived = self.gateway.received().first().unwrap().at_us();
            let committed_us = i64::try_from(committed.as_micros()).unwrap();
            samples.push(f64::from(i32::try_from(arrived - committed_us).unwrap()) / 1000.0);
        }
        samples.sort_by(f64::total_cmp);
        samples
    }
}

fn insert(values: &str) -> String {
    format!("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', {values})")
}

fn line(what: &str, sorted: &[f64]) {
    let at = |part: usize| sorted.get((sorted.len() * part / 100).min(sorted.len() - 1)).copied().unwrap_or_default();
    println!(
        "{what:<52} median {:>8.2} ms   p99 {:>8.2} ms   most {:>8.2} ms   ({} samples)",
        at(50),
        at(99),
        at(100),
        sorted.len()
    );
}

#[tokio::main]
async fn main() {
    let server =
        Throwaway::start_with(Options { durable: true, ..Options::default() }).await.expect("a throwaway PostgreSQL");
    server.create_database("bench", None).await.unwrap();
    let url = server.url("bench");
    let sql = Session::connect(&Target::parse(&url).unwrap()).await.unwrap();
    sql.batch(include_str!("../sql/demo/garage.sql")).await.unwrap();
    let gateway = Gateway::start(([127, 0, 0, 1], 0).into(), Script::default()).await.unwrap();
    let bench = Bench { url, gateway, directory: tempfile::tempdir().unwrap() };
    let installed = bench.command().arg("install").status().await.unwrap();
    assert!(installed.success(), "install failed");

    println!("commit to arrival at the gateway, one message at a time, daemon idle:");
    let daemon = bench.daemon(&sql, "").await;
    line("  with wake-ups (one message each 50 ms)", &bench.latencies(&sql, |_| Duration::from_millis(50)).await);
    end(daemon).await;

    let daemon =
        bench.daemon(&sql, &format!("[database]\nlisten = false\n[sending]\npoll_interval = \"{POLL_MS}ms\"\n")).await;
    // Gaps that walk through the poll interval, so that every phase of it is met.
    let gap = |sample: usize| Duration::from_millis(20 + (sample as u64 * 37) % POLL_MS);
    line(&format!("  by polling alone (poll interval {POLL_MS} ms)"), &bench.latencies(&sql, gap).await);

    end(daemon).await;

    println!("a backlog of {BACKLOG} messages, gateway without delay:");
    sql.batch(&format!(
        "INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', (21620000000 + i % 1000)::text, 'Bonjour ' || i FROM generate_series(1, {BACKLOG}) i; ANALYZE sms_outbox"
    ))
    .await
    .unwrap();
    bench.gateway.clear();
    let mut daemon =
        bench.command().env("SMS_GATEWAY_CONCURRENCY", "64").args(["--log-format", "json", "run"]).spawn().unwrap();
    let peak = bench_peak(&bench, daemon.id().unwrap()).await;
    let received = bench.gateway.received();
    let span = received.last().unwrap().at_us() - received.first().unwrap().at_us();
    let seconds = Duration::from_micros(u64::try_from(span).unwrap()).as_secs_f64();
    println!(
        "  {:>8.0} messages a second (first to last at the gateway), at most {:.1} MiB resident",
        BACKLOG as f64 / seconds,
        peak as f64 / 1024.0
    );
    daemon.start_kill().unwrap();
    daemon.wait().await.unwrap();
    bench.gateway.stop().await;
    server.stop().await.unwrap();
}

/// Waits for the backlog, and watches the daemon's memory, in KiB.
async fn bench_peak(bench: &Bench, pid: u32) -> u64 {
    let mut peak = 0;
    let deadline = Instant::now() + PATIENCE;
    while bench.gateway.count() < BACKLOG {
        assert!(Instant::now() < deadline, "the gateway received {} of {BACKLOG}", bench.gateway.count());
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        peak = peak.max(resident.unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    peak
}

async fn end(mut daemon: Child) {
    daemon.start_kill().unwrap();
    daemon.wait().await.unwrap();
}
