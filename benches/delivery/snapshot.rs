//! Whether the outbox stays fast while PostgreSQL may not remove its dead rows: a reader with an old snapshot, then open write
//! transactions, one of which has taken an id of the outbox and commits last of all.
//!
//! Messages are fed as an application would, some thousands ahead of the daemon. The claim's buffers come from
//! pg_stat_statements, where the server has it.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::drain::{Kind, enqueue};
use crate::process::now_us;
use crate::report::{Bar, against, figure, no_result, note, progress};
use crate::size::Size;
use crate::stage::{Garage, LOOK, Settings, Stage, connect, until};

/// How far the feeder is ahead, and in what portions.
const AHEAD: usize = 10_000;
const PORTION: usize = 5_000;

/// The number of the message that commits last.
const LATE: usize = 999_998;

/// Nothing came for this long: something is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What is held open.
#[derive(Clone, Copy)]
enum Open {
    Reader,
    Writers,
}

pub async fn run(size: Size) {
    let preload = "shared_preload_libraries=pg_stat_statements";
    let stage = match Stage::set_with(true, 1, &[preload]).await {
        Ok(stage) => stage,
        Err(_) => Stage::set(true, 1).await,
    };
    let messages = size.of(500_000, 20_000);
    for (open, name) in [(Open::Reader, "a REPEATABLE READ reader"), (Open::Writers, "two open write transactions")] {
        progress(&format!("{messages} messages beside {name}"));
        note(&format!("{name}, while {messages} messages pass:"));
        let garage = stage.garage().await;
        let counted = garage.sql.batch_execute("CREATE EXTENSION pg_stat_statements").await.is_ok();
        if !counted {
            note("buffers are not counted: this server has no pg_stat_statements");
        }
        beside(&stage, &garage, open, messages, counted, size).await;
    }
    stage.end().await;
}

async fn beside(stage: &Stage, garage: &Garage, open: Open, messages: usize, counted: bool, size: Size) {
    let daemon = stage.daemon(garage, &Settings::default(), Duration::ZERO).await;
    let holders = hold(garage, open).await;
    let tenth = messages / 10;
    let mut buffers = vec![buffers(garage, counted).await];
    let mut marks = vec![tenth, messages - tenth, messages];
    let (mut fed, mut last, mut since) = (0, 0, Instant::now());
    while !marks.is_empty() {
        let count = stage.gateway.count().await;
        if count > last {
            (last, since) = (count, Instant::now());
        }
        if since.elapsed() > STUCK {
            no_result(&format!("nothing came for {STUCK:?} after {count} of {messages} messages"));
            break;
        }
        while marks.first().is_some_and(|mark| count >= *mark) {
            progress(&format!("  {count} of {messages}"));
            marks.remove(0);
            buffers.push(self::buffers(garage, counted).await);
        }
        if fed < messages && fed - count.min(fed) < AHEAD {
            enqueue(garage, Kind::Custom, fed, PORTION.min(messages - fed)).await;
            fed += PORTION.min(messages - fed);
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
    let moments = [0, tenth, messages - tenth, messages - 1];
    let mut at = Vec::new();
    for index in moments {
        at.push(stage.gateway.at(index).await as f64 / 1e6);
    }
    let (first, end) = (tenth as f64 / (at[1] - at[0]), tenth as f64 / (at[3] - at[2]));
    figure("  rate of the first tenth", first, "messages/s");
    figure("  rate of the last tenth", end, "messages/s");
    against("  last / first", end / first, "", Bar::AtLeast(0.85));
    if let [start, one, nine, all] = buffers.as_slice()
        && counted
    {
        let for_each = |from: &(f64, f64), to: &(f64, f64)| (to.0 - from.0) / (to.1 - from.1);
        let (first, end) = (for_each(start, one), for_each(nine, all));
        figure("  buffers of the claim, first tenth", first, "for each row");
        figure("  buffers of the claim, last tenth", end, "for each row");
        against("  last / first", end / first, "", Bar::AtMost(1.1));
    }
    let stats = stage.gateway.stats().await;
    if stats.hits != messages || stats.distinct != messages {
        no_result(&format!("{messages} messages, {} requests, {} numbers", stats.hits, stats.distinct));
    }
    sizes(garage, "when the last message is sent").await;
    let released = now_us();
    for holder in &holders {
        holder.batch_execute("COMMIT").await.unwrap();
    }
    if matches!(open, Open::Writers) {
        stage.received(messages + 1).await;
        let late = stage.gateway.arrivals(LATE, LATE + 1).await;
        match late.as_slice() {
            [(_, at)] => figure("  the message that committed last came after", (at - released) as f64 / 1000.0, "ms"),
            other => no_result(&format!("the message that committed last came {} times", other.len())),
        }
    }
    // Autovacuum looks once a minute.
    let patience = size.of(90, 2);
    progress(&format!("waiting {patience} s for autovacuum"));
    tokio::time::sleep(Duration::from_secs(patience as u64 / 2)).await;
    sizes(garage, &format!("{} s later", patience / 2)).await;
    tokio::time::sleep(Duration::from_secs(patience as u64 / 2)).await;
    sizes(garage, &format!("{patience} s later")).await;
    if until(garage, "NOT EXISTS (SELECT FROM sms_outbox)").await.is_none() {
        no_result("rows are left in the outbox");
    }
    daemon.end().await;
}

/// Opens what stands in the way.
async fn hold(garage: &Garage, open: Open) -> Vec<Client> {
    let late = format!("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20{LATE}', 'Bonjour')");
    let statements = match open {
        Open::Reader => vec!["BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM core_service".to_owned()],
        Open::Writers => vec![
            "BEGIN; INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('open', '', now())"
                .to_owned(),
            format!("BEGIN; {late}"),
        ],
    };
    let mut holders = Vec::new();
    for statement in statements {
        let holder = connect(&garage.url).await;
        holder.batch_execute(&statement).await.unwrap();
        holders.push(holder);
    }
    holders
}

/// Buffers that the claim has touched so far, and rows that it returned.
async fn buffers(garage: &Garage, counted: bool) -> (f64, f64) {
    if !counted {
        return (0.0, 0.0);
    }
    let sum = |what: &str| {
        format!(
            "SELECT sum({what}) FROM pg_stat_statements WHERE query LIKE '%outbox/claim %' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    };
    (garage.number(&sum("shared_blks_hit + shared_blks_read")).await, garage.number(&sum("rows")).await)
}

async fn sizes(garage: &Garage, when: &str) {
    let table = garage.number("SELECT pg_table_size('sms_outbox')").await / 1024.0 / 1024.0;
    let indexes = garage.number("SELECT pg_indexes_size('sms_outbox')").await / 1024.0 / 1024.0;
    let dead = garage.number("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'sms_outbox'").await;
    note(&format!("  sms_outbox {when}: table {table:.1} MiB, indexes {indexes:.1} MiB, {dead:.0} dead rows"));
}
