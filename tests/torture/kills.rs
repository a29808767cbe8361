//! The daemon is killed, at random instants and at named ones, under load.

use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::fault::{Scale, Verdict};
use crate::stage::{LATENCY, Ladder, Stage};

/// How long a daemon lives, milliseconds: from almost nothing to well into its work.
const LIFE_MS: std::ops::Range<u64> = 50..700;

/// One life in so many is counted from the start, which may be before the first message; the others from the first
/// message, so that there is something to lose whatever the start takes.
const EARLY_DEATHS: u32 = 5;

/// How long a daemon may take to its first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(20);

/// How long an answer may lie in the socket of a busy process before it is read.
const UNREAD: Duration = Duration::from_millis(100);

/// The points at which the program can be told to die as if killed (`ECAR_SMS_CRASH`).
const POINTS: [&str; 8] = [
    "after_claim",
    "before_journal_begin",
    "after_journal_begin",
    "mid_request",
    "after_answer",
    "after_journal_answer",
    "before_settle",
    "after_settle",
];

/// How long a daemon may live that is to die at a point.
const POINT_PATIENCE: Duration = Duration::from_secs(15);

/// 200 kills; the gateway can be asked by reference: nothing lost, nothing twice.
pub async fn kill_9_with_lookup(scale: Scale) -> Verdict {
    kill_9(scale, Ladder::LookUp).await
}

/// It cannot be asked, doubtful messages wait for staff: nothing lost, nothing twice.
pub async fn kill_9_hold(scale: Scale) -> Verdict {
    kill_9(scale, Ladder::Hold).await
}

/// It cannot be asked, doubtful messages are sent once more: no more twice than were under way at the kills.
pub async fn kill_9_resend(scale: Scale) -> Verdict {
    kill_9(scale, Ladder::Resend).await
}

async fn kill_9(scale: Scale, ladder: Ladder) -> Verdict {
    let mut stage = Stage::new(scale, ladder).await;
    let kills = scale.pick(10, 200);
    stage.load(stage.usual_rate());
    let (mut unanswered, mut open, mut busy) = (0, 0, 0);
    for kill in 0..kills {
        let daemon = stage.daemon();
        if kill % EARLY_DEATHS != 0 {
            let first = stage.receives(1, FIRST_MESSAGE).await;
            assert!(first.is_some(), "the daemon does not send:\n{}", daemon.log());
        }
        let life = Duration::from_millis(rand::rng().random_range(LIFE_MS));
        tokio::time::sleep(life).await;
        assert!(daemon.is_running(), "the daemon ended by itself:\n{}", daemon.log());
        open += stage.world.gateway.stats().in_flight;
        let from = jiff::Timestamp::now() - LATENCY.1 - UNREAD;
        daemon.kill().await;
        let met = stage.world.gateway.received().iter().rev().take_while(|it| it.at >= from).count();
        unanswered += met;
        busy += u32::from(met > 0);
    }
    stage.stop_load().await;
    let rate = stage.rate();
    let daemon = stage.daemon();
    let allowed = if ladder == Ladder::Resend { unanswered } else { 0 };
    let mut verdict = stage.finish(format!("{kills} kills, {rate:.0} messages/s"), vec![daemon], allowed).await;
    verdict.note(format!(
        "{unanswered} requests were under way or their answers not read at {busy} of the kills, {open} of them not answered by the gateway"
    ));
    verdict.require(busy >= kills / 2, || "most kills met no request under way: they prove little".to_owned());
    verdict.require(rate >= 300.0 || scale == Scale::Short, || "the load was below 300 messages/s".to_owned());
    verdict
}

/// A death at every named point of the protocol, early and in full work.
pub async fn crash_points(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    stage.load(stage.usual_rate() / 3);
    let (mut deaths, mut unknown) = (0, Vec::new());
    for point in POINTS {
        for nth in scale.pick(&[3][..], &[1, 2, 3, 20, 50]) {
            let mut command = stage.world.command(["run"]);
            command.env("ECAR_SMS_CRASH", format!("{point}:{nth}"));
            let daemon = stage.world.spawn(command);
            let begun = Instant::now();
            let busy = stage.received() + 300;
            while daemon.is_running() && begun.elapsed() < POINT_PATIENCE && stage.received() < busy {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if daemon.is_running() {
                daemon.kill().await;
                if point == POINTS[0] {
                    return Verdict::skipped(
                        "the program knows no crash points: they are for tests, and not in a release",
                    );
                }
                unknown.push(point);
                break;
            }
            deaths += 1;
        }
    }
    stage.stop_load().await;
    let daemon = stage.daemon();
    let mut verdict = stage.finish(format!("{deaths} deaths at {} points", POINTS.len()), vec![daemon], 0).await;
    verdict.require(unknown.is_empty(), || format!("the program did not die at {}", unknown.join(", ")));
    verdict
}
