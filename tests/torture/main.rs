//! Faults that really happen, against the built program and real servers. The gateway's record is the judge.
//!
//! `cargo test --test torture` plays every fault in small; `make torture`, which sets `ECAR_SMS_TORTURE=full`, the whole
//! numbers. Arguments choose faults by a part of their name. See docs/TORTURE.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod daemons;
mod fault;
mod judge;
mod kills;
mod load;
mod machine;
mod network;
mod node;
mod order;
mod pooler;
mod postgres;
mod proxy;
mod rates;
mod results;
mod stage;
mod state;

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fault::{Fault, Scale, Verdict};

/// Chooses the whole numbers when it is `full`.
const SCALE_VARIABLE: &str = "ECAR_SMS_TORTURE";

/// How many faults are played at once, in small and in full: many of them mostly wait.
const AT_ONCE: (usize, usize) = (4, 2);

thread_local! {
    /// Where a test fell over.
    static FELL_AT: Cell<Option<String>> = const { Cell::new(None) };
}

fn faults() -> Vec<Fault> {
    faults![
        kills::kill_9_with_lookup,
        kills::kill_9_hold,
        kills::kill_9_resend,
        kills::crash_points,
        postgres::immediate_stops,
        postgres::terminated_backends,
        postgres::failovers,
        network::proxy_database,
        network::proxy_gateway_with_lookup,
        network::proxy_gateway_hold,
        network::proxy_gateway_resend,
        pooler::pgbouncer,
        pooler::pgbouncer_without_direct,
        daemons::sigstop_beyond_lease,
        daemons::two_daemons,
        daemons::four_daemons,
        state::state_on_full_disk,
        state::state_read_only,
        state::state_gone,
        machine::memory,
        machine::clocks,
        order::first_message,
        order::late_commit,
        order::locked_tables,
        rates::rate_and_quota,
        results::results_cannot_be_recorded,
    ]
    .into()
}

fn main() -> ExitCode {
    let scale = if std::env::var(SCALE_VARIABLE).is_ok_and(|it| it == "full") { Scale::Full } else { Scale::Short };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let chosen: Vec<Fault> = faults()
        .into_iter()
        .filter(|fault| wanted.is_empty() || wanted.iter().any(|part| fault.name.contains(part.as_str())))
        .collect();
    if arguments.iter().any(|it| it == "--list") {
        for fault in &chosen {
            println!("{}: test", fault.name);
        }
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        println!("0 passed, 0 failed");
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|panic| FELL_AT.set(panic.location().map(ToString::to_string))));
    println!("{}", fault::heading());
    let verdicts = play(&chosen, scale);
    let failed = verdicts.iter().filter(|verdict| verdict.failed()).count();
    let skipped = verdicts.iter().filter(|verdict| verdict.was_skipped()).count();
    if skipped > 0 {
        println!("{skipped} skipped");
    }
    println!("{} passed, {failed} failed", verdicts.len() - failed - skipped);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays them, some at once, and prints each line as its fault ends.
fn play(faults: &[Fault], scale: Scale) -> Vec<Verdict> {
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let playing = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..scale.pick(AT_ONCE.0, AT_ONCE.1) {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    playing.lock().unwrap().push(fault.name);
                    progress(&playing.lock().unwrap());
                    let verdict = play_one(fault, scale);
                    playing.lock().unwrap().retain(|name| *name != fault.name);
                    let mut verdicts = verdicts.lock().unwrap();
                    if std::io::stderr().is_terminal() {
                        eprint!("\r\x1b[K");
                    }
                    print!("{}", verdict.line(fault.name));
                    let _ = std::io::stdout().flush();
                    verdicts.push(verdict);
                    progress(&playing.lock().unwrap());
                }
            });
        }
    });
    verdicts.into_inner().unwrap()
}

/// What is being played, for whoever watches.
fn progress(playing: &[&str]) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K... {}", playing.join(", "));
    }
}

/// On a runtime of its own, so that nothing of it outlives it; a test that falls over is a violation like any other.
fn play_one(fault: &Fault, scale: Scale) -> Verdict {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on((fault.play)(scale))));
    let mut verdict = played.unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        let place = FELL_AT.take().unwrap_or_default();
        Verdict::fell_over(format!("the test fell over at {place}: {}", text.unwrap_or_default()))
    });
    if verdict.seconds.is_zero() {
        verdict.seconds = begun.elapsed();
    }
    verdict
}
