//! From the application's commit to the gateway: every end-to-end figure of the project, each against its bar.
//!
//! `make bench` runs all scenarios, `make bench ARGS=idle` those whose name contains the word, `make bench ARGS=--list` lists
//! them. With `ECAR_SMS_BENCH=quick` sizes are a twentieth or so: to see that it works, not to measure.
//!
//! Everything is real but the gateway: the built daemon with its journal, a throwaway server with default durability, triggers
//! on the garage's tables. Whatever is compared alternates within one run, and medians are compared; machines differ and are
//! shared, so figures of different runs do not belong together. Nothing here fails because of a time.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(clippy::wildcard_enum_match_arm)]

mod application;
mod cost;
mod daemons;
mod delayed;
mod drain;
mod flat;
mod gateway;
mod idle;
mod latency;
mod pgbench;
mod probe;
mod process;
mod report;
mod size;
mod snapshot;
mod stage;
mod throughput;

use size::Size;

const SCENARIOS: [(&str, &str); 9] = [
    ("throughput", "free texts and completed services, gateway without delay"),
    ("delayed", "a gateway that takes 200 ms, and a provider with a limit of 50 a second"),
    ("latency", "from commit to gateway, while idle and beside a backlog"),
    ("idle", "what the daemon costs while nothing happens, and at start; memory with a million rows queued"),
    ("flat", "the same with ten million messages of history, a million scheduled and 100,000 held"),
    ("snapshot", "an old snapshot, and open write transactions, held while messages pass"),
    ("application", "what the triggers cost the garage's application"),
    ("cost", "row versions, commits and write-ahead log for each message"),
    ("daemons", "one, two and four daemons on one database"),
];

#[tokio::main(flavor = "current_thread")]
async fn scenarios(chosen: &[&(&str, &str)]) {
    let size = Size::chosen();
    println!("ecar-sms, end to end{}", if size.quick { " (quick: these are no figures)" } else { "" });
    for (name, what) in chosen {
        report::heading(name, what);
        report::note(&process::machine());
        report::progress(name);
        match *name {
            "throughput" => throughput::run(size).await,
            "delayed" => delayed::run(size).await,
            "latency" => latency::run(size).await,
            "idle" => idle::run(size).await,
            "flat" => flat::run(size).await,
            "snapshot" => snapshot::run(size).await,
            "application" => application::run(size).await,
            "cost" => cost::run(size).await,
            "daemons" => daemons::run(size).await,
            other => unreachable!("{other} has no scenario"),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == gateway::HIDDEN) {
        return gateway::serve();
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, what) in SCENARIOS {
            println!("{name:<12} {what}");
        }
        return;
    }
    // cargo bench adds --bench.
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let chosen: Vec<_> = SCENARIOS.iter().filter(|(name, _)| wanted(name)).collect();
    // A word may be meant for the other benches.
    if !chosen.is_empty() {
        scenarios(&chosen);
    }
}
