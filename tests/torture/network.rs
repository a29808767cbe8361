//! The network between daemon and database, and daemon and gateway, spoils connections.

use std::time::{Duration, Instant};

use crate::fault::{Scale, Verdict};
use crate::proxy::{Proxy, TROUBLES, Upstream};
use crate::stage::{Ladder, Stage};
use crate::support::server;

/// Bytes of a connection to the database within which its trouble comes: some statements.
const DATABASE_REACH: usize = 2_000;

/// The same for the gateway: a few requests.
const GATEWAY_REACH: usize = 2_000;

/// Between daemon and database.
pub async fn proxy_database(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let times = scale.pick(3, 200);
    let proxy = Proxy::start(Upstream::Unix(server().dir().join(".s.PGSQL.5432")), DATABASE_REACH, times).await;
    stage.world.url = format!("postgresql://postgres@{}/{}?sslmode=disable", proxy.addr, stage.world.database);
    // The pool's few connections take long to get into so much trouble: several daemons have more of them.
    troubled(stage, &proxy, times, 0, scale.pick(1, 4)).await
}

/// Between daemon and gateway, which can be asked by reference, through the same network.
pub async fn proxy_gateway_with_lookup(scale: Scale) -> Verdict {
    proxy_gateway(scale, Ladder::LookUp).await
}

/// It cannot be asked; doubtful messages wait for staff.
pub async fn proxy_gateway_hold(scale: Scale) -> Verdict {
    proxy_gateway(scale, Ladder::Hold).await
}

/// It cannot be asked; doubtful messages are sent once more.
pub async fn proxy_gateway_resend(scale: Scale) -> Verdict {
    proxy_gateway(scale, Ladder::Resend).await
}

async fn proxy_gateway(scale: Scale, ladder: Ladder) -> Verdict {
    let mut stage = Stage::new(scale, ladder).await;
    let times = scale.pick(6, 200);
    let proxy = Proxy::start(Upstream::Tcp(stage.world.gateway.addr()), GATEWAY_REACH, times).await;
    stage.configure(&format!("http://{}/v1/messages", proxy.addr), "", "");
    // A connection carries one request at a time, so each trouble leaves at most one without an answer.
    let allowed = if ladder == Ladder::Resend { times * TROUBLES.len() } else { 0 };
    troubled(stage, &proxy, times, allowed, 1).await
}

/// Runs the load until every trouble was made as often as wanted, then in calm until all is settled.
async fn troubled(mut stage: Stage, proxy: &Proxy, times: usize, twice_allowed: usize, daemons: usize) -> Verdict {
    let patience = Duration::from_secs(stage.scale.pick(30, 150));
    stage.load(stage.usual_rate());
    let daemons: Vec<_> = (0..daemons).map(|number| stage.world.spawn(stage.command(number))).collect();
    let begun = Instant::now();
    while proxy.counts().iter().any(|count| *count < times) && begun.elapsed() < patience {
        for daemon in &daemons {
            assert!(daemon.is_running(), "a daemon ended by itself:\n{}", daemon.log());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.calm();
    let counts = proxy.counts();
    let mut verdict = stage.finish(format!("{} troubles", counts.iter().sum::<usize>()), daemons, twice_allowed).await;
    let [cut, stall, half_close, delay, truncate] = counts;
    verdict
        .note(format!("{cut} cut, {stall} stalled, {half_close} half-closed, {delay} delayed, {truncate} truncated"));
    verdict.require(counts.iter().all(|count| *count >= times), || {
        format!("not all troubles could be made {times} times within {patience:?}")
    });
    verdict
}
