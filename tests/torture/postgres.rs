//! PostgreSQL stops, cuts connections, and fails over to a standby.

use std::time::{Duration, Instant};

use ecar_sms::demo::server::Options;
use ecar_sms::gateway::Script;
use rand::Rng as _;

use crate::fault::{Scale, Verdict};
use crate::node::{self, DATABASE, Node};
use crate::stage::{Ladder, Stage};
use crate::support::{AT_ANY_HOUR, World};

/// The daemon must send again by itself this long after the server is back.
const GOES_ON: Duration = Duration::from_secs(10);

/// When it never does: how long this is watched.
const NEVER: Duration = Duration::from_secs(60);

/// How many messages are received between two faults.
const BETWEEN: usize = 60;

/// The server is stopped as by a crash, and started again.
pub async fn immediate_stops(scale: Scale) -> Verdict {
    let (world, mut server) = World::on_its_own_server(Options::default(), "").await;
    let mut stage = Stage::on(world, scale, Ladder::LookUp).await;
    let daemon = stage.daemon();
    stage.load(stage.usual_rate());
    let (stops, mut longest) = (scale.pick(2, 20), Duration::ZERO);
    let mut verdict = Verdict::default();
    for _ in 0..stops {
        stage.receives(BETWEEN, NEVER).await;
        server.stop_immediate().await.unwrap();
        pause(0..500).await;
        server.start_again().await.unwrap();
        longest = longest.max(goes_on(&stage, &mut verdict).await);
    }
    let mut judged = stage.finish(format!("{stops} stops"), vec![daemon], 0).await;
    judged.violations.extend(verdict.violations);
    judged
        .note(format!("the daemon sent again at the latest {:.1} s after the server's return", longest.as_secs_f64()));
    judged
}

/// Single connections of the daemon are ended by the server.
pub async fn terminated_backends(scale: Scale) -> Verdict {
    const END_ONE: &str = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM
        (SELECT pid FROM pg_stat_activity WHERE application_name = 'ecar-sms' AND datname = current_database() AND pid <> pg_backend_pid()
         ORDER BY random() LIMIT 1) victim";
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let daemon = stage.daemon();
    stage.load(stage.usual_rate());
    stage.receives(BETWEEN, NEVER).await;
    let (wanted, mut ended) = (scale.pick(10, 200), 0);
    let begun = Instant::now();
    while ended < wanted && begun.elapsed() < NEVER * 2 {
        ended += stage.number(END_ONE).await;
        pause(20..200).await;
    }
    let mut judged = Verdict::default();
    let longest = goes_on(&stage, &mut judged).await;
    let mut verdict = stage.finish(format!("{ended} backends ended"), vec![daemon], 0).await;
    verdict.violations.extend(judged.violations);
    verdict.require(ended == wanted, || format!("only {ended} backends could be ended"));
    verdict.note(format!("the daemon sent again {:.1} s after the last", longest.as_secs_f64()));
    verdict
}

/// The primary dies, and its synchronous standby takes over. `DATABASE_URL` names both.
pub async fn failovers(scale: Scale) -> Verdict {
    let mut primary = Node::primary(Vec::new()).await;
    let mut world = World::at(DATABASE.to_owned(), node::url(&[&primary], DATABASE), Script::default()).await;
    world.batch(include_str!("../../sql/demo/garage.sql")).await;
    world.ok(["install"]).await;
    world.batch(AT_ANY_HOUR).await;
    let mut standby = Node::standby_of(&primary).await;
    primary.wait_for_standby().await;
    world.url = node::url(&[&primary, &standby], DATABASE);
    let mut stage = Stage::on(world, scale, Ladder::LookUp).await;
    let (failovers, mut longest) = (scale.pick(1, 5), Duration::ZERO);
    let mut verdict = Verdict::default();
    let daemon = stage.daemon();
    stage.load(stage.usual_rate());
    for turn in 1..=failovers {
        stage.receives(BETWEEN, NEVER).await;
        pause(0..500).await;
        primary.kill().await;
        standby.promote().await;
        longest = longest.max(goes_on(&stage, &mut verdict).await);
        if turn < failovers {
            // The one that died comes back as the standby of the one that took over.
            std::mem::swap(&mut primary, &mut standby);
            standby.follow(&primary).await;
            primary.wait_for_standby().await;
        }
    }
    let mut judged = stage.finish(format!("{failovers} failovers"), vec![daemon], 0).await;
    judged.violations.extend(verdict.violations);
    judged.note(format!("the daemon sent again at the latest {:.1} s after the promotion", longest.as_secs_f64()));
    judged
}

/// Waits until the daemon sends again by itself; too late is a violation.
async fn goes_on(stage: &Stage, verdict: &mut Verdict) -> Duration {
    let took = stage.receives(1, NEVER).await;
    let seconds = took.unwrap_or(NEVER).as_secs_f64();
    verdict.require(took.is_some_and(|it| it <= GOES_ON), || {
        format!("the daemon did not send again within {GOES_ON:?} of the server's return: {seconds:.1} s")
    });
    took.unwrap_or(NEVER)
}

async fn pause(milliseconds: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rand::rng().random_range(milliseconds))).await;
}
