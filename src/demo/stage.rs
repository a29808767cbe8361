//! Everything a garage day needs: the database server, the simulated gateway, the daemon, and a look at what happens.
//!
//! Owns all of it. The daemon is the built program itself, as a child with nothing but the documented environment; nothing
//! here reaches into it. Whatever ends the show, dropping the stage ends the daemon, the gateway and the server and removes
//! their directories, in this order.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::keeper::{Keeper, Keeping, word};
use super::message::{self, Message};
use super::server::{Throwaway, last_lines, private_directory};
use crate::db::script::Session;
use crate::gateway::{Gateway, Received, Script};

/// The garage's database.
pub const DATABASE: &str = "garage";

/// Longest wait for the daemon to answer, and for the messages of one step. A retry waits two seconds in between.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at a condition.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// How much of the daemon's log an error repeats, in lines.
const LOG_LINES: usize = 15;

/// Most bytes read of an answer of the control socket; only its first line matters.
const ANSWER_BYTES: u64 = 4096;

/// What the gateway asks for, and the daemon gives.
const API_KEY: &str = "demo-key";

/// The gateway of the day: one number is refused once.
const SCRIPT: &str = r#"
api_key = "demo-key"

[[rule]]
phone = "+21620000107"
times = 1
status = 503
headers = { "Retry-After" = "2" }
"#;

/// The daemon's configuration file: there, so that the machine's own is not read.
const CONFIG: &str = "# Everything comes from the environment.\n";

const GARAGE: &str = include_str!("../../sql/demo/garage.sql");
const SAMPLE: &str = include_str!("../../sql/demo/sample.sql");

/// Inherited variables that must not reach the children: the demo sends to its own gateway, whatever is set outside.
const FOREIGN_PREFIXES: [&str; 3] = ["ECAR_SMS_", "SMS_", "PG"];
const FOREIGN_NAMES: [&str; 8] = [
    "DATABASE_URL",
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// See the module.
#[derive(Debug)]
pub struct Stage {
    daemon: Keeper,
    daemon_pid: Option<u32>,
    gateway: Gateway,
    session: Session,
    program: PathBuf,
    environment: Vec<(String, Option<String>)>,
    server: Throwaway,
}

impl Stage {
    /// The server with the sample garage, our tables in it, and the gateway. The daemon does not run yet.
    ///
    /// # Errors
    /// Whatever is missing, in words for whoever tries the demo.
    pub async fn set(port: Option<u16>) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program's own file")?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
        let script = Script::parse(SCRIPT).context("reading the gateway's script")?;
        let gateway = Gateway::start(listen, script)
            .await
            .with_context(|| format!("listening on {listen} (choose another port with --port)"))?;
        let server = Throwaway::start().await.context("starting a throwaway PostgreSQL")?;
        server.create_database(DATABASE, None).await.context("creating the garage's database")?;
        let session = server.session(DATABASE).await.context("connecting to the garage's database")?;
        session.batch(GARAGE).await.context("creating the garage's tables")?;
        session.batch(SAMPLE).await.context("filling the garage's tables")?;

        let directory = private_directory("ecar-demo-", false)?;
        std::fs::write(directory.path().join("config.toml"), CONFIG).context("writing the daemon's configuration")?;
        std::fs::create_dir(directory.path().join("state")).context("creating the daemon's state directory")?;
        let log = File::create(directory.path().join("daemon.log")).context("creating the daemon's log")?;
        let environment = environment(directory.path(), &server.url(DATABASE), &gateway.url());
        let daemon = Keeper::new(Keeping {
            directory: directory.path(),
            log,
            last_signal: "KILL",
            account: None,
            environment: environment.clone(),
        })?;
        // From here on the keeper removes it.
        let _ = directory.keep();
        let stage = Self { daemon, daemon_pid: None, gateway, session, program, environment, server };
        stage.command(&["install"]).await?;
        Ok(stage)
    }

    /// Starts the daemon and waits until it says that it is well.
    ///
    /// # Errors
    /// It ended, or took too long; with the end of its log.
    pub async fn start_daemon(&mut self) -> Result<u32> {
        let pid = self.daemon.start(&[word(&self.program)?, "run"]).await?;
        self.daemon_pid = Some(pid);
        let deadline = Instant::now() + PATIENCE;
        while !healthy(&self.socket()).await {
            self.check(deadline, "the daemon is not ready").await?;
        }
        Ok(pid)
    }

    /// Runs one of the program's own commands, as staff would.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub async fn command(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let shown = format!("ecar-sms {}", arguments.join(" "));
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .with_context(|| format!("{shown} did not end within {PATIENCE:?}"))?
            .with_context(|| format!("running {shown}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{shown} failed ({}): {}", output.status, said.trim());
        Ok(())
    }

    /// What the garage's application does: statements in its database.
    ///
    /// # Errors
    /// The database's.
    pub async fn garage(&self, sql: &str) -> Result<()> {
        self.session.batch(sql).await.with_context(|| format!("running {sql}"))
    }

    /// Another connection of the garage's application.
    ///
    /// # Errors
    /// The database's.
    pub async fn another_session(&self) -> Result<Session> {
        Ok(self.server.session(DATABASE).await?)
    }

    /// The version of the server.
    ///
    /// # Errors
    /// The database's.
    pub async fn server_version(&self) -> Result<String> {
        let rows = self.session.texts("SELECT current_setting('server_version')").await?;
        Ok(rows.into_iter().flatten().flatten().next().unwrap_or_default())
    }

    /// All messages with an id above `after`.
    ///
    /// # Errors
    /// The database's.
    pub async fn messages(&self, after: i64) -> Result<Vec<Message>> {
        message::after(&self.session, after).await
    }

    /// Waits until `ready` says so of the messages above `after`, and returns them.
    ///
    /// # Errors
    /// It took too long, or the daemon ended; with the state of affairs.
    pub async fn wait(&mut self, after: i64, what: &str, ready: impl Fn(&[Message]) -> bool) -> Result<Vec<Message>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let messages = self.messages(after).await?;
            if ready(&messages) {
                return Ok(messages);
            }
            self.check(deadline, what).await?;
        }
    }

    /// What the gateway received as this message, when it took it.
    pub fn received(&self, message: &Message) -> Option<Arc<Received>> {
        let id = message.provider_message_id.as_deref()?;
        self.gateway.received().into_iter().find(|received| received.id().as_deref() == Some(id))
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The server.
    pub fn server(&self) -> &Throwaway {
        &self.server
    }

    /// The daemon's control socket.
    pub fn socket(&self) -> PathBuf {
        self.daemon.directory().join("control.sock")
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.daemon.directory().join("daemon.log")
    }

    /// Fails when the daemon has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub async fn check_daemon(&mut self) -> Result<()> {
        if self.daemon_pid.is_some() && !self.daemon.alive().await? {
            bail!("the daemon ended; its log ends:\n{}", last_lines(&self.log(), LOG_LINES));
        }
        Ok(())
    }

    /// Ends the daemon in good order, then everything else.
    ///
    /// # Errors
    /// Something did not end in time; it is removed all the same.
    pub async fn strike(self) -> Result<()> {
        let Self { mut daemon, gateway, session, server, .. } = self;
        ensure!(daemon.stop("TERM", PATIENCE).await?, "the daemon did not end within {PATIENCE:?} after SIGTERM");
        drop(daemon);
        gateway.stop().await;
        drop(session);
        server.stop().await?;
        Ok(())
    }

    /// A short pause before the next look at a condition, unless there is no more hope.
    async fn check(&mut self, deadline: Instant, what: &str) -> Result<()> {
        self.check_daemon().await?;
        if Instant::now() > deadline {
            let open: Vec<String> = self
                .messages(0)
                .await?
                .iter()
                .filter(|message| !message.is_settled())
                .map(|it| format!("  message {}: {} {}", it.id, it.status, it.reason.as_deref().unwrap_or_default()))
                .collect();
            bail!(
                "{what} after {PATIENCE:?}; open messages: {}\n{}\nthe daemon's log ends:\n{}",
                open.len(),
                open.join("\n"),
                last_lines(&self.log(), LOG_LINES)
            );
        }
        tokio::time::sleep(LOOK_PAUSE).await;
        Ok(())
    }
}

/// What the daemon and the commands are told, and what is kept from them.
#[expect(clippy::disallowed_methods, reason = "the names of inherited variables, to keep them from the children")]
fn environment(directory: &Path, database: &str, gateway: &str) -> Vec<(String, Option<String>)> {
    let foreign = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| {
        FOREIGN_NAMES.contains(&name.as_str()) || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    let own = [
        ("DATABASE_URL", database.to_owned()),
        ("SMS_API_KEY", API_KEY.to_owned()),
        ("SMS_GATEWAY_URL", gateway.to_owned()),
        ("SMS_SENDER_ID", "ECAR".to_owned()),
        ("ECAR_SMS_SOCKET", directory.join("control.sock").display().to_string()),
        ("ECAR_SMS_CONFIG", directory.join("config.toml").display().to_string()),
        ("STATE_DIRECTORY", directory.join("state").display().to_string()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), Some(value)));
    foreign.map(|name| (name, None)).chain(own).collect()
}

/// Whether the daemon answers its health check with 200.
async fn healthy(socket: &Path) -> bool {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), ask).await, Ok(Ok(true)))
}
