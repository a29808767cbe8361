//! Whether old, scheduled and held messages cost anything: a full database beside an empty one, in turns.

use std::time::Duration;

use crate::drain::{Kind, drain};
use crate::probe::{Event, probe};
use crate::report::{Bar, against, figure, median, percentile, progress, runs};
use crate::size::Size;
use crate::stage::{Garage, Settings, Stage};

/// Months of history, this one included; filled alike.
const MONTHS: usize = 10;

/// Rows written by one statement.
const PART: usize = 200_000;

const HISTORY: &str = "
INSERT INTO $TABLE (id, kind, recipient, lang, body, status, encoding, segments, provider, provider_message_id, attempts, requested_by,
                    created_at, claimed_at, sent_at, settled_at, lease_owner)
SELECT i, 'custom', '+21620' || lpad((i::bigint * 7919 % 1000000)::text, 6, '0'), 'fr', 'Bonjour, votre voiture est prête.', 'sent', 'gsm7', 1, 'gateway',
       'gw-' || i, 1, 'postgres', at, at, at, at, 1
FROM (SELECT i, $AT AS at FROM generate_series($FROM, $TO) i) AS message";

const WAITING: &str = "
INSERT INTO sms_outbox (kind, recipient, body, $COLUMN)
SELECT 'custom', '20 ' || lpad((i / 1000 % 1000)::text, 3, '0') || ' ' || lpad((i % 1000)::text, 3, '0'), 'Bonjour', $VALUE
FROM generate_series(1, $N) i";

pub async fn run(size: Size) {
    // A p99 of few samples is the luck of three of them; turns of half a minute, because the machine's speed changes within minutes.
    let (messages, count) = (size.of(40_000, 4_000), size.of(500, 40));
    let stage = Stage::set(true, 1).await;
    let empty = stage.garage().await;
    let full = stage.garage().await;
    fill(&full, size).await;
    let (mut rates, mut waits) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 1..=size.of(6, 1) {
        for (index, (name, garage)) in [("empty", &empty), ("full", &full)].into_iter().enumerate() {
            progress(&format!("round {round}: {name}"));
            rates[index]
                .push(drain(&stage, garage, &Settings::default(), Duration::ZERO, Kind::Custom, messages).await.rate);
            let daemon = stage.daemon(garage, &Settings::default(), Duration::ZERO).await;
            waits[index].push(probe(&stage, garage, Event::Custom, 0, count, async || true).await);
            progress(&format!("  p99 {:.1} ms", waits[index].last().map_or(0.0, |waits| percentile(waits, 99))));
            daemon.end().await;
        }
    }
    for (name, rates) in ["empty", "full"].into_iter().zip(&rates) {
        runs(&format!("{name}: {messages} messages"), rates, "messages/s");
    }
    let part =
        |waits: &[Vec<f64>], of_hundred| waits.iter().map(|waits| percentile(waits, of_hundred)).collect::<Vec<_>>();
    for (name, waits) in ["empty", "full"].into_iter().zip(&waits) {
        runs(&format!("{name}: one message each 50 ms, median of {count}"), &part(waits, 50), "ms");
        runs(&format!("{name}: one message each 50 ms, p99 of {count}"), &part(waits, 99), "ms");
    }
    let ratio = |of: &dyn Fn(usize) -> f64| of(1) / of(0);
    against("throughput, full / empty", ratio(&|index| median(&rates[index])), "", Bar::AtLeast(0.9));
    against("p99, full / empty", ratio(&|index| median(&part(&waits[index], 99))), "", Bar::AtMost(1.1));
    figure("median latency, full / empty", ratio(&|index| median(&part(&waits[index], 50))), "");
    stage.end().await;
}

async fn fill(garage: &Garage, size: Size) {
    let history = size.of(10_000_000, 100_000);
    garage.run("SET synchronous_commit = off").await;
    for month in 0..MONTHS {
        progress(&format!("history: month {} of {MONTHS}", month + 1));
        let (first, count) = (month * history / MONTHS, history / MONTHS);
        // Old months are attached once they are full: their indexes are then built in one go.
        let back = MONTHS - 1 - month;
        let (table, at) = if back == 0 {
            ("sms_history".to_owned(), "now()".to_owned())
        } else {
            let start = format!("date_trunc('month', now() AT TIME ZONE 'UTC') - interval '{back} months'");
            (format!("month_{back}"), format!("(({start}) AT TIME ZONE 'UTC' + i % 600 * interval '1 hour')"))
        };
        if back > 0 {
            garage.run(&format!("CREATE TABLE {table} (LIKE sms_history INCLUDING DEFAULTS)")).await;
        }
        for from in (first + 1..=first + count).step_by(PART) {
            let to = (from + PART - 1).min(first + count);
            let statement = HISTORY.replace("$TABLE", &table).replace("$AT", &at);
            garage.run(&statement.replace("$FROM", &from.to_string()).replace("$TO", &to.to_string())).await;
        }
        if back > 0 {
            garage
                .run(&format!(
                    "DO $$
                     DECLARE month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') - interval '{back} months';
                     DECLARE name text := 'sms_history_' || to_char(month, 'YYYY_MM');
                     BEGIN
                       EXECUTE format('ALTER TABLE {table} RENAME TO %I', name);
                       EXECUTE format('ALTER TABLE sms_history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
                                      month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
                     END $$"
                ))
                .await;
        }
    }
    let (scheduled, held) = (size.of(1_000_000, 10_000), size.of(100_000, 1_000));
    progress(&format!("{scheduled} scheduled and {held} held messages"));
    garage.run(&format!("SELECT setval('sms_outbox_id_seq', {history})")).await;
    let waiting = |column: &str, value: &str, count: usize| {
        WAITING.replace("$COLUMN", column).replace("$VALUE", value).replace("$N", &count.to_string())
    };
    garage.run(&waiting("not_before", "now() + interval '1 day' + i * interval '1 second'", scheduled)).await;
    garage.run(&waiting("state, reason", "'held', 'stampede'", held)).await;
    garage.run("SET synchronous_commit = on").await;
    garage.run("VACUUM ANALYZE").await;
    garage.run("CHECKPOINT").await;
}
