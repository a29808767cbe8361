//! A PostgreSQL server of a fault's own, where the shared one does not do: a primary with a standby, or with a bent clock.
//!
//! It is kept as every throwaway server is: gone with us, however we end.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ecar_sms::demo::keeper::{Keeper, Keeping};
use ecar_sms::demo::programs;

use crate::support::session;

/// How long a server may take to answer.
const READY: Duration = Duration::from_secs(60);

/// How long a killed server may take to be gone.
const GONE: Duration = Duration::from_secs(20);

/// The name of the database on every node.
pub const DATABASE: &str = "garage";

/// A program kept in a directory of its own, as the account that may reach the shared server's socket.
pub fn keep(prefix: &str, last_signal: &str, environment: Vec<(String, Option<String>)>) -> Keeper {
    // Below /tmp, whatever TMPDIR is: a socket's path must be short, and open to another account.
    let directory = tempfile::Builder::new().prefix(prefix).tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    let log = File::create(directory.path().join("server.log")).unwrap();
    let account = programs::account();
    if let Some((user, group)) = account {
        chown(directory.path(), Some(user), Some(group)).unwrap();
    }
    let keeper = Keeper::new(Keeping { directory: directory.path(), log, last_signal, account, environment }).unwrap();
    // From here on the keeper removes it.
    let _ = directory.keep();
    keeper
}

/// See the module.
pub struct Node {
    keeper: Keeper,
    bin: PathBuf,
}

impl Node {
    /// A new server with an empty database, which may have standbys. The environment is the server's alone.
    pub async fn primary(environment: Vec<(String, Option<String>)>) -> Self {
        let mut node = Self::new(environment);
        let data = node.data();
        let initdb = node.bin.join("initdb");
        let words = ["-D", text(&data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"];
        node.run(&initdb, &words).await;
        node.start().await;
        session(&node.url_of("postgres")).await.batch(&format!("CREATE DATABASE {DATABASE}")).await.unwrap();
        node
    }

    /// A standby that streams from a primary.
    pub async fn standby_of(primary: &Node) -> Self {
        let mut node = Self::new(Vec::new());
        node.follow(primary).await;
        node
    }

    /// Makes it a standby of this primary, whatever it was; it must not be running.
    pub async fn follow(&mut self, primary: &Node) {
        let (data, program) = (self.data(), self.bin.join("pg_basebackup"));
        self.run(Path::new("rm"), &["-rf", text(&data)]).await;
        let host = primary.directory().to_owned();
        // -R writes what makes it a standby.
        let words = ["-h", text(&host), "-U", "postgres", "-D", text(&data), "-R", "-X", "stream", "-c", "fast", "-N"];
        self.run(&program, &words).await;
        self.start().await;
    }

    fn new(environment: Vec<(String, Option<String>)>) -> Self {
        let bin = programs::find().expect("PostgreSQL's programs");
        Self { keeper: keep("ecar-pg-", "QUIT", environment), bin }
    }

    async fn run(&mut self, program: &Path, words: &[&str]) {
        let mut all = vec![text(program)];
        all.extend(words);
        assert!(self.keeper.run(&all).await.unwrap(), "{} failed:\n{}", program.display(), self.log());
    }

    /// Starts it and waits until it answers.
    async fn start(&mut self) {
        let (program, data, directory) = (self.bin.join("postgres"), self.data(), self.directory().to_owned());
        let sockets = format!("unix_socket_directories={}", directory.display());
        let mut words = vec![text(&program), "-D", text(&data)];
        for parameter in [
            "listen_addresses=",
            &sockets,
            "fsync=off",
            "full_page_writes=off",
            "wal_level=replica",
            "hot_standby=on",
            "max_connections=60",
        ] {
            words.extend(["-c", parameter]);
        }
        self.keeper.start(&words).await.unwrap();
        let deadline = Instant::now() + READY;
        while ecar_sms::db::script::Session::connect(&ecar_sms::db::Target::parse(&self.url_of("postgres")).unwrap())
            .await
            .is_err()
        {
            assert!(self.keeper.alive().await.unwrap(), "the server ended:\n{}", self.log());
            assert!(Instant::now() < deadline, "the server does not answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it at once, as a machine that fails does.
    pub async fn kill(&mut self) {
        assert!(self.keeper.stop("QUIT", GONE).await.unwrap(), "the server does not stop");
    }

    /// Makes a standby a primary, which waits for no standby of its own until [`wait_for_standby`](Self::wait_for_standby).
    pub async fn promote(&self) {
        let control = session(&self.url_of("postgres")).await;
        control.texts("SELECT pg_promote()").await.unwrap();
        control.batch("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        control.batch("SELECT pg_reload_conf()").await.unwrap();
    }

    /// From now on each commit waits until a standby has it. Returns when one is there.
    pub async fn wait_for_standby(&self) {
        let control = session(&self.url_of("postgres")).await;
        control.batch("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
        control.batch("SELECT pg_reload_conf()").await.unwrap();
        crate::support::until("a synchronous standby", async || {
            let rows = control.texts("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'").await.unwrap();
            !rows.is_empty()
        })
        .await;
    }

    /// Its directory, which holds the socket.
    pub fn directory(&self) -> &Path {
        self.keeper.directory()
    }

    fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    fn url_of(&self, database: &str) -> String {
        url(&[self], database)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory().join("server.log")).unwrap_or_default()
    }
}

/// A connection string that names these nodes; the primary among them is found.
pub fn url(nodes: &[&Node], database: &str) -> String {
    let hosts: Vec<&str> = nodes.iter().map(|node| text(node.directory())).collect();
    // In words: in a URL only hosts with names may be several.
    format!("host={} user=postgres dbname={database}", hosts.join(","))
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
