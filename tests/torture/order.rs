//! Rows that become visible late, and tables of the garage that are locked.

use std::time::{Duration, Instant};

use crate::fault::{Scale, Verdict};
use crate::load::free_text;
use crate::stage::{Ladder, Stage};
use crate::support::{session, until};

/// The late row must be sent this long after its commit.
const SOON: Duration = Duration::from_secs(2);

/// Later than this it is not late but stuck: a busy machine is forgiven the rest.
const STUCK: Duration = Duration::from_secs(10);

/// How long nothing may be received while there is work.
const STALL: Duration = Duration::from_secs(20);

/// Above every number of a load.
const LATE: u64 = 9_000_000;
const LATER: u64 = 9_100_000;

/// A row of a long transaction, with a lower id than thousands that are sent before it is committed.
pub async fn late_commit(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let daemon = stage.daemon();
    let (open, later) = (scale.pick(Duration::from_secs(3), Duration::from_secs(60)), scale.pick(2_000, 50_000));
    let long = session(&stage.plain_url).await;
    long.batch("BEGIN").await.unwrap();
    long.batch(&free_text(LATE)).await.unwrap();
    let opened = Instant::now();
    stage.enqueue(LATER, later).await;
    let received = usize::try_from(later).unwrap();
    stage.reaches(received, scale.patience() * 3).await.expect("the later ones are sent");
    tokio::time::sleep(open.saturating_sub(opened.elapsed())).await;
    let was_open = opened.elapsed();
    long.batch("COMMIT").await.unwrap();
    stage.note_enqueued([LATE]);
    let took = stage.reaches(received + 1, STUCK).await;
    let done = format!("{:.0} s late behind {later}", was_open.as_secs_f64());
    let mut verdict = stage.finish(done, vec![daemon], 0).await;
    match took {
        Some(took) => verdict.note(format!(
            "it was sent {:.2} s after its commit{}",
            took.as_secs_f64(),
            if took > SOON { ", which is more than 2 s" } else { "" }
        )),
        None => verdict.violations.push(format!("it was not sent within {STUCK:?} of its commit")),
    }
    verdict
}

/// The very first message of an installation, for which a daemon has waited a while.
pub async fn first_message(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let daemon = stage.daemon();
    let waited = scale.pick(3, 30);
    // By its own signs of life, so that it has not only been there for so long but worked.
    until("the daemon has been idle for so long", async || {
        let beaten = "SELECT count(*) FROM sms_owner WHERE seen_at > started_at + interval '$ s'";
        stage.number(&beaten.replace('$', &waited.to_string())).await == 1
    })
    .await;
    stage.enqueue(LATE, 1).await;
    let took = stage.reaches(1, STUCK).await;
    let mut verdict = stage.finish(format!("{waited} s after the start"), vec![daemon], 0).await;
    verdict.require(took.is_some(), || format!("it was not sent within {STUCK:?}"));
    verdict
}

/// VACUUM FULL on the garage's tables: messages that need no facts go on, the others follow.
pub async fn locked_tables(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let daemon = stage.daemon();
    // The last of them: the load completes the first ones.
    let services = stage.services - 99..=stage.services;
    let long = session(&stage.plain_url).await;
    long.batch("BEGIN; LOCK TABLE core_service, core_customer IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let (locked, begun) = (scale.pick(Duration::from_secs(4), Duration::from_secs(60)), Instant::now());
    let (from, to) = (services.start(), services.end());
    let insert = format!(
        "INSERT INTO sms_outbox (kind, source_id) SELECT 'service_completed', i FROM generate_series({from}, {to}) i"
    );
    stage.sql(&insert).await;
    stage.note_enqueued(services);
    let (mut verdict, mut longest, mut next) = (Verdict::default(), Duration::ZERO, LATE);
    while begun.elapsed() < locked {
        let received = stage.received();
        stage.enqueue(next, 20).await;
        next += 20;
        match stage.reaches(received + 20, STALL).await {
            Some(took) => longest = longest.max(took),
            None => {
                verdict.violations.push("free texts do not go on while the garage's tables are locked".to_owned());
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    long.batch("COMMIT").await.unwrap();
    let done = format!("tables locked for {:.0} s", begun.elapsed().as_secs_f64());
    stage.load(stage.usual_rate() / 3);
    stage.receives(20, STALL).await;
    let mut judged = stage.finish(done, vec![daemon], 0).await;
    judged.violations.extend(verdict.violations);
    judged.note(format!("meanwhile 20 free texts took {:.2} s at most", longest.as_secs_f64()));
    judged
}
