//! Through PgBouncer in transaction mode, with a direct connection beside it and without one.

use std::path::PathBuf;

use ecar_sms::demo::keeper::Keeper;

use crate::fault::{Scale, Verdict};
use crate::node::{keep, text};
use crate::stage::{Ladder, Stage};
use crate::support::{server, until};

/// Names the program, before any search.
const PROGRAM_VARIABLE: &str = "ECAR_SMS_PGBOUNCER";

/// Where Debian puts it, out of most people's PATH.
const DEBIAN_PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Names the socket, since there is no TCP.
const PORT: u16 = 6432;

/// All but the listener through the pooler.
pub async fn pgbouncer(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let direct = format!("direct_url = \"{}\"", stage.plain_url);
    let Some(_pooler) = pooled(&mut stage, &direct).await else { return missing() };
    worked(stage).await
}

/// Everything through the pooler: the outbox is polled, and `doctor` says what is lost by that.
pub async fn pgbouncer_without_direct(scale: Scale) -> Verdict {
    let mut stage = Stage::new(scale, Ladder::LookUp).await;
    let Some(_pooler) = pooled(&mut stage, "listen = false").await else { return missing() };
    let doctor = stage.world.run(["doctor"]).await;
    let said = String::from_utf8_lossy(&doctor.stdout).to_lowercase();
    let mut verdict = worked(stage).await;
    verdict.require(said.contains("listen"), || format!("doctor does not say what is lost without LISTEN:\n{said}"));
    verdict
}

fn missing() -> Verdict {
    Verdict::skipped("pgbouncer is not installed; `make torture` installs it, or name it in ECAR_SMS_PGBOUNCER")
}

/// Puts a pooler in front of the database.
async fn pooled(stage: &mut Stage, database: &str) -> Option<Keeper> {
    let named = std::env::var_os(PROGRAM_VARIABLE).filter(|it| !it.is_empty()).map(PathBuf::from);
    let program = named.unwrap_or_else(|| DEBIAN_PROGRAM.into());
    if !program.is_file() {
        return None;
    }
    let mut keeper = keep("ecar-pgb-", "QUIT", Vec::new());
    let directory = keeper.directory().to_owned();
    let configuration = directory.join("pgbouncer.ini");
    let written = format!(
        "[databases]\n* = host={} user=postgres\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nlisten_port = {PORT}\n\
         auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 50\n",
        server().dir().display(),
        directory.display(),
    );
    std::fs::write(&configuration, written).unwrap();
    keeper.start(&[text(&program), text(&configuration)]).await.unwrap();
    let socket = directory.join(format!(".s.PGSQL.{PORT}"));
    until("pgbouncer listens", async || socket.exists()).await;
    stage.world.url =
        format!("postgresql://postgres@/{}?host={}&port={PORT}", stage.world.database, directory.display());
    let gateway = stage.world.gateway.url();
    stage.configure(&gateway, database, "");
    Some(keeper)
}

/// Sends under load, is killed now and then, and finishes.
async fn worked(mut stage: Stage) -> Verdict {
    let kills = stage.scale.pick(1, 10);
    stage.load(stage.usual_rate());
    for _ in 0..kills {
        let daemon = stage.daemon();
        stage.receives(100, stage.scale.patience()).await;
        daemon.kill().await;
    }
    stage.stop_load().await;
    let daemon = stage.daemon();
    stage.finish(format!("transaction mode, {kills} kills"), vec![daemon], 0).await
}
