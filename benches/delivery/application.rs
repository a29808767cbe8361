//! What the garage's application pays for the triggers: microseconds of one statement, and commits a second of many clients.
//!
//! The first part runs without flushing to the disk, and takes the processor time of the server's process for the statement: on which
//! processors client and server meet costs more than the triggers do. The second has the
//! daemon beside it in every variant, so that only the triggers, and the NOTIFY, make the difference.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::drain::{Kind, enqueue};
use crate::pgbench::pgbench;
use crate::process::ran_us;
use crate::report::{Bar, against, median, note, progress, runs};
use crate::size::Size;
use crate::stage::{Garage, Settings, Stage};

const NO_TRIGGERS: &str =
    "DROP TRIGGER sms_garage_service ON core_service; DROP TRIGGER sms_garage_invoice ON core_invoice";
/// The functions as they are installed, without their NOTIFY.
const NO_NOTIFY: &str = r"DO $$
DECLARE
  f regprocedure;
  notify CONSTANT text := 'PERFORM (pg_catalog\.)?pg_notify\(''sms_outbox'', ''''\)';
BEGIN
  FOREACH f IN ARRAY ARRAY['sms_garage_event(text, bigint)', 'sms_garage_care(text, text, jsonb, jsonb)']::regprocedure[] LOOP
    ASSERT pg_get_functiondef(f) ~ notify, f || ' sends no NOTIFY';
    EXECUTE regexp_replace(pg_get_functiondef(f), notify, 'NULL', 'g');
    ASSERT pg_get_functiondef(f) !~ 'pg_notify\(', f || ' still sends a NOTIFY';
  END LOOP;
END $$";
/// As the daemon leaves the wake flag while it sleeps: an event sends a NOTIFY. Otherwise it is at work, and an event sends none.
const ASLEEP: &str = "SELECT setval('sms_wake', 1)";

/// A gateway of this pace keeps the daemon from taking the CPU that pgbench needs.
const PACE: Duration = Duration::from_millis(50);

/// The daemon looks so often that it has the same work with and without NOTIFY.
const OFTEN: &str = "[sending]\npoll_interval = \"100ms\"\n";

/// Statements timed in one go, before it is the other's turn.
const BLOCK: usize = 100;

/// Transactions of one run of pgbench, for one client and for several. Each needs a service of its own: one that has been
/// completed is no event.
const TRANSACTIONS: (usize, usize) = (6_000, 32_000);

/// Services that one statement completes.
const MANY: usize = 5_000;

pub async fn run(size: Size) {
    single(size).await;
    commits(size).await;
}

async fn single(size: Size) {
    progress("single statements, nothing flushed");
    note("without flushing to the disk (fsync off), prepared, each a transaction; the server's processor time:");
    let count = size.of(10_000, 500);
    let rounds = size.of(7, 2);
    let stage = Stage::set(false, count + rounds * MANY).await;
    let garages = [stage.garage().await, stage.garage().await, stage.garage().await];
    garages[0].run(NO_TRIGGERS).await;
    garages[2].run(ASLEEP).await;
    let names = ["without triggers", "with triggers, daemon busy", "with triggers, daemon asleep"];

    let change = "UPDATE core_service SET technician_notes = 'seen', updated_at = now() WHERE id = $1::bigint";
    let times = statements(&garages, change, count).await;
    for (name, times) in names.into_iter().zip(&times) {
        crate::report::samples(&format!("a save that leaves the status alone, {name}"), times, "µs");
    }
    let more = |with: usize, times: &[Vec<f64>]| median(&times[with]) - median(&times[0]);
    against("such a save: more, daemon busy", more(1, &times), "µs", Bar::AtMost(5.0));
    against("such a save: more, daemon asleep", more(2, &times), "µs", Bar::AtMost(5.0));

    let complete = "UPDATE core_service SET status = 'completed', completed_date = now(), updated_at = now() WHERE id = $1::bigint";
    let times = statements(&garages, complete, count).await;
    for (name, times) in names.into_iter().zip(&times) {
        crate::report::samples(&format!("a service completed, {name}"), times, "µs");
    }
    against("a service completed: more, daemon busy", more(1, &times), "µs", Bar::AtMost(30.0));
    against("a service completed: more, daemon asleep", more(2, &times), "µs", Bar::AtMost(30.0));

    let mut many = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (garage, times) in garages.iter().zip(&mut many) {
            let begun = Instant::now();
            enqueue(garage, Kind::Service, count + 1 + round * MANY, MANY).await;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    for (name, times) in names.into_iter().zip(&many) {
        runs(&format!("{MANY} services by one statement, {name}"), times, "ms");
    }
    against("such a statement, with / without", median(&many[1]) / median(&many[0]), "", Bar::AtMost(2.0));
    stage.end().await;
}

/// Microseconds that the server works for a statement, as the mean of each block of the services from 1 to `count`, in each garage.
async fn statements(garages: &[Garage; 3], statement: &str, count: usize) -> Vec<Vec<f64>> {
    let mut prepared = Vec::new();
    for garage in garages {
        garage.run("CHECKPOINT").await;
        let pid = garage.number("SELECT pg_backend_pid()").await as u32;
        prepared.push((garage.sql.prepare(statement).await.unwrap(), pid));
    }
    let mut times = vec![Vec::with_capacity(count / BLOCK); garages.len()];
    for (turn, first) in (1..=count).step_by(BLOCK).enumerate() {
        for place in 0..garages.len() {
            // Nobody always comes first.
            let place = (place + turn) % garages.len();
            let (garage, (prepared, pid)) = (&garages[place], &prepared[place]);
            let begun = ran_us(*pid);
            let changes =
                (first..first + BLOCK).map(async |id| garage.sql.execute(prepared, &[&(id as i64)]).await.unwrap());
            let changed: u64 = join_all(changes).await.iter().sum();
            times[place].push((ran_us(*pid) - begun) / BLOCK as f64);
            assert_eq!(changed, BLOCK as u64);
        }
    }
    times
}

async fn commits(size: Size) {
    note("flushed to the disk as by default, pgbench, each transaction completes a service, the daemon beside it:");
    let variants = [("without triggers", NO_TRIGGERS), ("triggers without NOTIFY", NO_NOTIFY), ("as installed", "")];
    let transactions = |clients| size.of(if clients == 1 { TRANSACTIONS.0 } else { TRANSACTIONS.1 }, 1_600);
    let stage = Stage::set(true, size.of(TRANSACTIONS.1, 1_600)).await;
    for (state, backlog) in [("idle", 0), ("busy", 20_000)] {
        for clients in [1, 8, 32] {
            progress(&format!("daemon {state}, {clients} clients"));
            let mut rates = [const { Vec::new() }; 3];
            for _ in 0..size.of(3, 1) {
                for ((_, change), rates) in variants.iter().zip(&mut rates) {
                    let garage = stage.garage().await;
                    garage.run(change).await;
                    if backlog > 0 {
                        enqueue(&garage, Kind::Campaign, 100_000, backlog).await;
                    }
                    let settings = Settings { config: OFTEN, ..Settings::default() };
                    let daemon = stage.daemon(&garage, &settings, PACE).await;
                    rates.push(pgbench(&stage, &garage, clients, transactions(clients)).await);
                    daemon.end().await;
                    stage.discard(garage).await;
                }
            }
            let label = |what: &str| format!("daemon {state}, {clients} clients: {what}");
            for ((name, _), rates) in variants.iter().zip(&rates) {
                runs(&label(name), rates, "commits/s");
            }
            let [bare, quiet, whole] = rates.map(|rates| median(&rates));
            against(&label("as installed / without NOTIFY"), whole / quiet, "", Bar::AtLeast(0.97));
            against(&label("as installed / without triggers"), whole / bare, "", Bar::AtLeast(0.85));
        }
    }
    stage.end().await;
}
