//! The machine itself: little memory, and clocks that jump.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ecar_sms::gateway::Script;

use crate::fault::{Scale, Verdict};
use crate::node::{self, DATABASE, Node, text};
use crate::stage::{Ladder, Stage};
use crate::support::{AT_ANY_HOUR, World, until};

/// What a daemon may take, KiB.
const MEMORY_KIB: u64 = 64 * 1024;

/// Above every number of a load.
const MANY: u64 = 10_000_000;

/// How long nothing may be received while there is work.
const STALL: Duration = Duration::from_secs(15);

/// The clocks' jumps, in seconds from the true time: (the daemon's, the server's).
const JUMPS: [(i32, i32); 8] =
    [(3600, 0), (0, 0), (-3600, 0), (-3600, 3600), (0, 0), (0, -3600), (3600, 3600), (-3600, -3600)];

/// Where Debian puts the library that bends the clock.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// An outbox as full as it will ever be: the daemon's peak memory stays below 64 MB.
pub async fn memory(scale: Scale) -> Verdict {
    let stage = Stage::new(scale, Ladder::LookUp).await;
    let (queued, sent) = (scale.pick(50_000, 1_000_000), scale.pick(1_000, 20_000));
    stage.sql(&crate::load::free_texts(MANY, queued)).await;
    let daemon = stage.daemon();
    let took = stage.receives(sent, stage.scale.patience()).await;
    let peak = peak_kib(daemon.pid);
    daemon.stop().await;
    // The rest would take an hour; what is gone from here and was sent all the same would show as not recorded.
    let left = stage
        .number("WITH gone AS (DELETE FROM sms_outbox WHERE state = 'queued' RETURNING 1) SELECT count(*) FROM gone")
        .await;
    let mut verdict = Verdict::new(format!("{queued} queued"));
    verdict.require(took.is_some(), || format!("{sent} messages were not sent in time"));
    verdict.require(peak < MEMORY_KIB, || format!("the daemon took {peak} KiB"));
    verdict.note(format!(
        "peak memory {:.1} MiB; {left} of {queued} were left queued",
        f64::from(u32::try_from(peak).unwrap()) / 1024.0
    ));
    stage.judged(verdict, 0).await
}

fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The daemon's and the server's clock go forward and back by an hour, alone and together.
pub async fn clocks(scale: Scale) -> Verdict {
    let Some(library) = faketime() else {
        return Verdict::skipped("libfaketime is not installed; `make torture` installs it (package faketime)");
    };
    // The server's account must be able to read both files.
    let files = tempfile::Builder::new().prefix("ecar-clock-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (of_daemon, of_server) = (files.path().join("daemon"), files.path().join("server"));
    set(&of_daemon, 0);
    set(&of_server, 0);
    let environment = bent(&library, &of_server).into_iter().map(|(name, value)| (name, Some(value))).collect();
    let server = Node::primary(environment).await;
    let world = World::at(DATABASE.to_owned(), node::url(&[&server], DATABASE), Script::default()).await;
    world.batch(include_str!("../../sql/demo/garage.sql")).await;
    world.ok(["install"]).await;
    world.batch(AT_ANY_HOUR).await;
    let mut stage = Stage::on(world, scale, Ladder::LookUp).await;
    let start = |stage: &Stage| {
        let mut command = stage.world.command(["run"]);
        command.envs(bent(&library, &of_daemon));
        stage.world.spawn(command)
    };
    let mut daemon = start(&stage);
    stage.load(stage.usual_rate());
    let mut verdict = Verdict::default();
    stage.receives(100, STALL).await;
    let truly = stage.number("SELECT extract(epoch FROM clock_timestamp())::bigint").await;
    let mut jumps = 0;
    for _ in 0..scale.pick(1, 2) {
        for (by_daemon, by_server) in JUMPS {
            set(&of_daemon, by_daemon);
            set(&of_server, by_server);
            let jump = stage.number("SELECT extract(epoch FROM clock_timestamp())::bigint").await
                - truly
                - i64::from(by_server);
            assert!(jump.abs() < 600, "the server's clock did not follow: {jump} s off");
            jumps += 1;
            let goes_on = stage.receives(scale.pick(50, 500), STALL).await;
            verdict.require(goes_on.is_some(), || {
                format!("nothing was sent with clocks off by {by_daemon} s and {by_server} s")
            });
            if jumps % 4 == 0 {
                daemon.kill().await;
                daemon = start(&stage);
            }
        }
    }
    set(&of_daemon, 0);
    set(&of_server, 0);
    stage.stop_load().await;
    daemon.kill().await;
    let daemon = start(&stage);
    // After a jump a lease seems over that is not, and a message stands in doubt until the journal of the dead daemon is read.
    until("its own journal is the only one", async || daemon.log().contains("listening") && stage.journals() == 1)
        .await;
    let mut judged = stage.finish(format!("{jumps} jumps of both clocks"), vec![daemon], 0).await;
    judged.violations.extend(verdict.violations);
    judged
}

fn set(file: &Path, seconds: i32) {
    // In one step: a reader must never see half of it.
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// What bends a program's clock: the wall clock alone, as a machine's clock is set.
fn bent(library: &Path, file: &Path) -> [(String, String); 4] {
    [
        ("LD_PRELOAD", text(library)),
        ("FAKETIME_TIMESTAMP_FILE", text(file)),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join(FAKETIME)).find(|library| library.is_file())
}
