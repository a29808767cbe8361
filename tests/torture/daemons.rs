//! Several daemons on one database; and one that is stopped for longer than its lease lasts.

use std::time::Duration;

use rand::Rng as _;

use crate::fault::{Scale, Verdict};
use crate::stage::{Ladder, Stage};

/// Longer than a lease: the provider's total time-out of 2 s and the margin of 40 s.
const BEYOND_LEASE: Duration = Duration::from_secs(50);

/// How long nothing may be received while others work.
const STALL: Duration = Duration::from_secs(20);

/// Between the messages that are waited for and the next kill, milliseconds.
const MOMENT_MS: std::ops::Range<u64> = 0..300;

/// Stopped with messages in its hands, while another daemon takes over; then it goes on.
pub async fn sigstop_beyond_lease(scale: Scale) -> Verdict {
    // In small the lease is over by decree, which the stopped one cannot know: that is fair only where the other daemon
    // leaves doubtful messages alone. In full nothing is decreed.
    let mut stage = Stage::new(scale, scale.pick(Ladder::Hold, Ladder::LookUp)).await;
    stage.load(stage.usual_rate());
    let first = stage.world.spawn(stage.command(1));
    let mut verdict = Verdict::default();
    let mut second = None;
    let stops = scale.pick(1, 2);
    for _ in 0..stops {
        stage.receives(100, STALL).await;
        first.signal("STOP");
        second.get_or_insert_with(|| stage.world.spawn(stage.command(2)));
        match scale {
            Scale::Short => stage.age_leases().await,
            Scale::Full => tokio::time::sleep(BEYOND_LEASE).await,
        }
        let goes_on = stage.receives(100, STALL).await;
        verdict
            .require(goes_on.is_some(), || "the second daemon does not send while the first one is stopped".to_owned());
        first.signal("CONT");
        stage.receives(100, STALL).await;
    }
    let daemons = vec![first].into_iter().chain(second).collect();
    let mut judged = stage.finish(format!("{stops} times stopped and continued"), daemons, 0).await;
    judged.violations.extend(verdict.violations);
    judged
}

/// Two, killed in turn.
pub async fn two_daemons(scale: Scale) -> Verdict {
    several(scale, 2).await
}

/// Four, killed in turn.
pub async fn four_daemons(scale: Scale) -> Verdict {
    several(scale, 4).await
}

async fn several(scale: Scale, number: usize) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let kills = scale.pick(3, 30);
    stage.load(stage.usual_rate());
    let mut daemons: Vec<_> = (0..number).map(|it| stage.world.spawn(stage.command(it))).collect();
    let mut verdict = Verdict::default();
    for kill in 0..kills {
        let goes_on = stage.receives(50, STALL).await;
        verdict.require(goes_on.is_some(), || "the daemons that live do not send".to_owned());
        let moment = rand::rng().random_range(MOMENT_MS);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        let next = stage.world.spawn(stage.command(kill % number));
        std::mem::replace(&mut daemons[kill % number], next).kill().await;
    }
    stage.stop_load().await;
    for daemon in daemons {
        daemon.kill().await;
    }
    let daemons = (0..number).map(|it| stage.world.spawn(stage.command(it))).collect();
    let mut judged = stage.finish(format!("{number} daemons, {kills} kills"), daemons, 0).await;
    judged.violations.extend(verdict.violations);
    judged
}
