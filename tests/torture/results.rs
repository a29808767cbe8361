//! Results that cannot be recorded, while the gateway goes on taking messages.

use std::time::Duration;

use crate::fault::{Scale, Verdict};
use crate::judge::taken;
use crate::stage::{CONCURRENCY, Ladder, Stage};
use crate::support::until;

/// Every settlement fails, whoever tries.
const SPOIL: &str = "
    CREATE FUNCTION torture_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'No space left on device'; END $$;
    CREATE TRIGGER torture_refuse BEFORE INSERT ON sms_history_rest FOR EACH ROW EXECUTE FUNCTION torture_refuse();
    DO $$
    DECLARE month regclass;
    BEGIN
      FOR month IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'sms_history'::regclass AND inhrelid <> 'sms_history_rest'::regclass LOOP
        EXECUTE format('CREATE TRIGGER torture_refuse BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION torture_refuse()', month);
      END LOOP;
    END $$";

/// And they work again.
const MEND: &str = "DROP FUNCTION torture_refuse() CASCADE";

/// How long the daemon is watched while it must claim nothing.
const QUIET: Duration = Duration::from_secs(2);

/// The claims stop, the daemon is killed meanwhile, the database comes back: what the gateway accepted is never sent again,
/// though the gateway cannot be asked and doubtful messages would be sent once more. The journal is what knows.
pub async fn results_cannot_be_recorded(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::Resend).await;
    let mut verdict = Verdict::default();
    let (turns, mut longest) = (scale.pick(1, 10), 0);
    stage.load(stage.usual_rate());
    for _ in 0..turns {
        let daemon = stage.daemon();
        stage.receives(100, stage.scale.patience()).await;
        stage.sql(SPOIL).await;
        let spoilt = stage.received();
        until("the daemon says that results cannot be written", async || {
            daemon.log().contains("results cannot be written")
        })
        .await;
        until("what was claimed before has been sent", async || stage.unsent().await == 0).await;
        let stopped = stage.received();
        tokio::time::sleep(QUIET).await;
        let claimed = stage.received() - stopped;
        longest = longest.max(stopped - spoilt);
        verdict.require(claimed == 0, || format!("{claimed} messages were sent while no result could be recorded"));
        daemon.kill().await;
        stage.sql(MEND).await;
    }
    let accepted = taken(&stage.world.gateway);
    stage.stop_load().await;
    let daemon = stage.daemon();
    let done = format!("{turns} times, with a kill each");
    let mut judged = stage.finish(done, vec![daemon], 0).await;
    judged.violations.extend(verdict.violations);
    judged.require(longest <= 3 * CONCURRENCY, || format!("{longest} were still sent before the claims stopped"));
    judged.note(format!(
        "at most {longest} were still sent before the claims stopped; {} accepted before",
        accepted.len()
    ));
    judged
}
