//! The state directory is on a full disk, read-only, or gone: the journal helps, and is not needed.

use std::process::Stdio;

use tokio::process::Command;

use crate::fault::{Scale, Verdict};
use crate::stage::{Ladder, Stage};
use crate::support::Daemon;

/// Mounts in a space of the daemon's own, so that nothing of it is left when the daemon has ended, then becomes the daemon.
const FULL: &str = r#"mount -t tmpfs -o size=16k none "$STATE_DIRECTORY" && { head -c 8192 /dev/zero >"$STATE_DIRECTORY/full"; exec "$0" "$@"; }"#;
const READ_ONLY: &str = r#"mount -t tmpfs -o ro,size=16k none "$STATE_DIRECTORY" && exec "$0" "$@""#;

/// The disk fills up while the daemon writes to it.
pub async fn state_on_full_disk(scale: Scale) -> Verdict {
    mounted(scale, FULL).await
}

/// Nothing can be written there.
pub async fn state_read_only(scale: Scale) -> Verdict {
    mounted(scale, READ_ONLY).await
}

/// The directory is removed while the daemon runs.
pub async fn state_gone(scale: Scale) -> Verdict {
    let stage = Stage::new(scale, Ladder::LookUp).await;
    killed(stage, |stage| stage.world.spawn(stage.command(1)), true).await
}

async fn mounted(scale: Scale, script: &'static str) -> Verdict {
    if !may_mount().await {
        return Verdict::skipped("mounting needs root here (unshare --mount)");
    }
    let stage = Stage::new(scale, Ladder::LookUp).await;
    killed(stage, move |stage| stage.world.spawn(wrapped(&stage.command(1), script)), false).await
}

async fn may_mount() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=16k none /mnt"]);
    probe.stderr(Stdio::null()).stdin(Stdio::null()).status().await.is_ok_and(|status| status.success())
}

/// The same command in a mount space of its own.
fn wrapped(command: &Command, script: &str) -> Command {
    let inner = command.as_std();
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "sh", "-c", script]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.stdin(Stdio::null()).kill_on_drop(true);
    outer
}

/// Daemons work under load in such a place, and are killed there.
async fn killed(mut stage: Stage, start: impl Fn(&Stage) -> Daemon, remove: bool) -> Verdict {
    let kills = stage.scale.pick(1, 15);
    stage.load(stage.usual_rate());
    let mut verdict = Verdict::default();
    for _ in 0..kills {
        let daemon = start(&stage);
        stage.receives(100, stage.scale.patience()).await;
        if remove {
            std::fs::remove_dir_all(stage.state_directory(1)).unwrap();
        }
        let went_on = stage.receives(100, stage.scale.patience()).await;
        verdict.require(went_on.is_some(), || "the daemon does not go on".to_owned());
        daemon.kill().await;
    }
    stage.stop_load().await;
    stage.age_leases().await;
    let daemon = start(&stage);
    let mut judged = stage.finish(format!("{kills} kills there"), vec![daemon], 0).await;
    judged.violations.extend(verdict.violations);
    judged
}
