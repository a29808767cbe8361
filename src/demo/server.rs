//! A throwaway PostgreSQL, for the demo and for all tests: made in a second, private, and gone with us.
//!
//! Owns one directory with the data, the log and the Unix socket. By default nobody but this machine's users that may enter
//! the directory (ourselves, and root) can connect, without a password; there is no TCP. The directory and the server
//! cannot outlive this process, however it ends: see [`keeper`](super::keeper). Must never touch any other server.
//!
//! `stop_immediate` and `start_again` are for fault tests: a crash as far as clients and the write-ahead log are concerned,
//! and the recovery after it.

use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

use super::keeper::{Keeper, KeeperError, Keeping, word};
use super::programs;
use crate::db::script::Session;
use crate::db::{DbError, Target};

/// The superuser, and the database that is always there.
const SUPERUSER: &str = "postgres";

/// The port names the Unix socket when there is no TCP.
const SOCKET_PORT: u16 = 5432;

/// Longest path of a Unix socket, in bytes: the smallest `sun_path` (macOS) less the final zero; Linux has 107.
const SOCKET_PATH_BYTES: usize = 103;

/// Room for the rest of a socket's path below the temporary directory, in bytes: `/ecar-demo-XXXXXX/.s.PGSQL.65535`.
const SOCKET_NAME_BYTES: usize = 40;

/// What is escaped in a connection string; a path stays legible.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// Where the directory goes when the path of the temporary directory is too long, or closed to the server's account.
const SHORT_ROOT: &str = "/tmp";

/// How long the server may take until it answers; recovery after `stop_immediate` included.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to stop; it kills its children after 5 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause between two looks at a server that is starting.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// How much of the server's log an error repeats, in lines.
const LOG_LINES: usize = 15;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// PostgreSQL's programs are nowhere.
    #[error(
        "initdb and postgres were not found in $ECAR_SMS_PG_BIN, $PATH or /usr/lib/postgresql; \
         install them with `apt-get install postgresql` (`make demo` does so), or name their directory in ECAR_SMS_PG_BIN"
    )]
    NotFound,
    /// We are root, and there is no account to run the server as.
    #[error(
        "PostgreSQL does not run as root, and there is neither an account postgres nor nobody; run this as an ordinary user"
    )]
    NoAccount,
    /// The directory could not be prepared.
    #[error("the server's directory {}: {problem}", .path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        problem: io::Error,
    },
    /// It could not be made, or did not start. With the end of its log.
    #[error("{what}; its log ends:\n{log}")]
    Failed {
        /// What failed.
        what: String,
        /// The last lines of the log.
        log: String,
    },
    /// The keeping shell failed.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// A statement of ours failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keep the defaults that survive a power cut. Otherwise nothing is synced to disk: several times faster, and just as
    /// safe against `kill -9`.
    pub durable: bool,
    /// Listen on a free port of 127.0.0.1 besides, with a random password. See [`Throwaway::tcp_url`].
    pub tcp: bool,
    /// Further parameters as `name=value`, for example `max_connections=20`.
    pub parameters: Vec<String>,
}

/// A running server. Dropping it stops the server and removes everything, and waits for both.
#[derive(Debug)]
pub struct Throwaway {
    keeper: Keeper,
    bin_dir: PathBuf,
    arguments: Vec<String>,
    port: u16,
    password: Option<String>,
    pid: u32,
}

impl Throwaway {
    /// A server for tests and shows: fast, reachable through its Unix socket only.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left behind then.
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(Options::default()).await
    }

    /// A server as wanted.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left behind then.
    pub async fn start_with(options: Options) -> Result<Self, ServerError> {
        let bin_dir = programs::find().ok_or(ServerError::NotFound)?;
        let account = programs::account();
        if account.is_none() && nix::unistd::geteuid().is_root() {
            return Err(ServerError::NoAccount);
        }
        let mut keeper = keep(account)?;
        let directory = keeper.directory().to_owned();
        let data = directory.join("data");
        let password = options.tcp.then(|| format!("{:032x}", rand::random::<u128>()));
        create(&mut keeper, &bin_dir, &data, password.as_deref()).await?;
        let port = if options.tcp { free_port(&directory)? } else { SOCKET_PORT };
        let arguments = arguments(&directory, &data, port, &options)?;
        let mut server = Self { keeper, bin_dir, arguments, port, password, pid: 0 };
        server.start_again().await?;
        Ok(server)
    }

    /// Connection string of a database, through the Unix socket. Works for psql, too.
    pub fn url(&self, database: &str) -> String {
        let host = utf8_percent_encode(self.dir().to_str().unwrap_or_default(), ESCAPED);
        let database = utf8_percent_encode(database, ESCAPED);
        let port = if self.port == SOCKET_PORT { String::new() } else { format!("&port={}", self.port) };
        format!("postgresql://{SUPERUSER}@/{database}?host={host}{port}")
    }

    /// Connection string of a database through TCP, with the password; none unless it was asked for.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let password = self.password.as_ref()?;
        let database = utf8_percent_encode(database, ESCAPED);
        Some(format!("postgresql://{SUPERUSER}:{password}@127.0.0.1:{}/{database}", self.port))
    }

    /// Where `psql`, `pg_dump` and the other programs of this version are.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The private directory: the Unix socket, `server.log`, `data`.
    pub fn dir(&self) -> &Path {
        self.keeper.directory()
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Connects to a database.
    ///
    /// # Errors
    /// [`ServerError::Database`].
    pub async fn session(&self, database: &str) -> Result<Session, ServerError> {
        Ok(connect(&self.url(database)).await?)
    }

    /// Creates a database, as a copy of `template` if one is named; nobody may be connected to that.
    ///
    /// # Errors
    /// [`ServerError::Database`].
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), ServerError> {
        let mut sql = format!("CREATE DATABASE {}", identifier(name));
        if let Some(template) = template {
            // Writing to a String cannot fail.
            let _ = write!(sql, " TEMPLATE {}", identifier(template));
        }
        self.session(SUPERUSER).await?.batch(&sql).await?;
        Ok(())
    }

    /// Ends the server as a crash does: connections are cut, nothing is flushed. The data stay.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn stop_immediate(&mut self) -> Result<(), ServerError> {
        self.end("QUIT").await
    }

    /// Starts the server again after [`stop_immediate`](Self::stop_immediate), and waits until it answers.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn start_again(&mut self) -> Result<(), ServerError> {
        let postgres = self.bin_dir.join("postgres");
        let mut words = vec![word(&postgres)?];
        words.extend(self.arguments.iter().map(String::as_str));
        self.pid = self.keeper.start(&words).await?;
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match connect(&self.url(SUPERUSER)).await {
                Ok(_) => return Ok(()),
                Err(_) if !self.keeper.alive().await? => return Err(self.failed("PostgreSQL ended")),
                Err(error) if Instant::now() > deadline => {
                    return Err(self.failed(&format!("PostgreSQL did not answer within {READY_TIMEOUT:?} ({error})")));
                }
                Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }

    /// Stops the server in good order and removes everything.
    ///
    /// # Errors
    /// [`ServerError`]; everything is removed all the same.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        self.end("INT").await
    }

    async fn end(&mut self, signal: &str) -> Result<(), ServerError> {
        if self.keeper.stop(signal, STOP_TIMEOUT).await? {
            Ok(())
        } else {
            Err(self.failed(&format!("PostgreSQL did not stop within {STOP_TIMEOUT:?}")))
        }
    }

    fn failed(&self, what: &str) -> ServerError {
        failed(self.dir(), what)
    }
}

/// Makes the directory, and has it kept.
fn keep(account: Option<(u32, u32)>) -> Result<Keeper, ServerError> {
    let made = private_directory("ecar-pg-", account.is_some())?;
    let bad = |problem| ServerError::Directory { path: made.path().to_owned(), problem };
    let log = File::create(made.path().join("server.log")).map_err(bad)?;
    if let Some((user, group)) = account {
        chown(made.path(), Some(user), Some(group)).map_err(bad)?;
    }
    let environment = vec![("TZ".to_owned(), Some("UTC".to_owned())), ("LC_ALL".to_owned(), Some("C".to_owned()))];
    let keeper = Keeper::new(Keeping { directory: made.path(), log, last_signal: "QUIT", account, environment })?;
    // From here on the keeper removes it.
    let _ = made.keep();
    Ok(keeper)
}

/// A new directory for our eyes alone, with a path short enough for sockets. Another account can be let in by giving it
/// the directory.
pub(super) fn private_directory(prefix: &str, for_another: bool) -> Result<TempDir, ServerError> {
    let temporary = std::env::temp_dir();
    let root = if suitable(&temporary, for_another) { temporary } else { PathBuf::from(SHORT_ROOT) };
    let bad = |problem| ServerError::Directory { path: root.clone(), problem };
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(&root).map_err(bad)?;
    // Whatever the library's default: a socket lets in whoever can reach it.
    std::fs::set_permissions(made.path(), Permissions::from_mode(0o700)).map_err(bad)?;
    Ok(made)
}

/// Whether a socket in a directory below fits the limit, and another account can reach it.
fn suitable(root: &Path, for_another: bool) -> bool {
    let open = |path: &Path| std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o001 != 0);
    root.as_os_str().len() + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES && (!for_another || root.ancestors().all(open))
}

async fn create(keeper: &mut Keeper, bin_dir: &Path, data: &Path, password: Option<&str>) -> Result<(), ServerError> {
    let directory = keeper.directory().to_owned();
    let initdb = bin_dir.join("initdb");
    let mut words = vec![word(&initdb)?, "--pgdata", word(data)?, "--username", SUPERUSER, "--no-sync"];
    words.extend(["--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256"]);
    let password_file = directory.join("password");
    if let Some(password) = password {
        std::fs::write(&password_file, password)
            .and_then(|()| std::fs::set_permissions(&password_file, Permissions::from_mode(0o600)))
            .and_then(|()| {
                programs::account().map_or(Ok(()), |(user, group)| chown(&password_file, Some(user), Some(group)))
            })
            .map_err(|problem| ServerError::Directory { path: password_file.clone(), problem })?;
        words.extend(["--pwfile", word(&password_file)?]);
    }
    let made = keeper.run(&words).await?;
    if made { Ok(()) } else { Err(failed(&directory, "initdb failed")) }
}

fn arguments(directory: &Path, data: &Path, port: u16, options: &Options) -> Result<Vec<String>, ServerError> {
    let listen = if options.tcp { "127.0.0.1" } else { "" };
    let mut arguments = vec!["-D".to_owned(), word(data)?.to_owned(), "-p".to_owned(), port.to_string()];
    let mut parameters = vec![
        format!("listen_addresses={listen}"),
        format!("unix_socket_directories={}", word(directory)?),
        "unix_socket_permissions=0700".to_owned(),
    ];
    if !options.durable {
        parameters.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
    }
    for parameter in parameters.into_iter().chain(options.parameters.iter().cloned()) {
        arguments.extend(["-c".to_owned(), parameter]);
    }
    Ok(arguments)
}

/// A port that was free just now. Somebody may take it before the server does; then it fails to start and says so.
fn free_port(directory: &Path) -> Result<u16, ServerError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|problem| ServerError::Directory { path: directory.to_owned(), problem })
}

async fn connect(url: &str) -> Result<Session, DbError> {
    let target = Target::parse(url).map_err(|error| DbError::Unexpected(error.to_string()))?;
    Session::connect(&target).await
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn failed(directory: &Path, what: &str) -> ServerError {
    ServerError::Failed { what: what.to_owned(), log: last_lines(&directory.join("server.log"), LOG_LINES) }
}

/// The end of a log file, indented; a word when there is none.
pub(super) fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return "  (empty)".to_owned();
    }
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    async fn one(server: &Throwaway, database: &str, sql: &str) -> String {
        server.session(database).await.unwrap().texts(sql).await.unwrap()[0][0].clone().unwrap()
    }

    #[tokio::test]
    async fn a_server_serves_survives_a_crash_and_leaves_nothing() {
        let mut server = Throwaway::start().await.unwrap();
        let (directory, first) = (server.dir().to_owned(), server.pid());
        server.create_database("one", None).await.unwrap();
        server.session("one").await.unwrap().batch("CREATE TABLE t AS SELECT 'é' AS x").await.unwrap();
        server.create_database("Zwei \"2\"", Some("one")).await.unwrap();
        assert_eq!(one(&server, "Zwei \"2\"", "SELECT x FROM t").await, "é");
        assert_eq!(one(&server, "one", "SELECT current_setting('listen_addresses')").await, "");

        server.stop_immediate().await.unwrap();
        assert!(server.session("one").await.is_err());
        server.start_again().await.unwrap();
        assert_ne!(server.pid(), first);
        assert_eq!(one(&server, "one", "SELECT x FROM t").await, "é");

        let last = server.pid();
        drop(server);
        assert!(!directory.exists() && !Path::new(&format!("/proc/{last}")).exists());
    }

    #[tokio::test]
    async fn tcp_asks_for_the_password_and_parameters_are_passed_on() {
        let options = Options { tcp: true, durable: true, parameters: vec!["max_connections=7".to_owned()] };
        let server = Throwaway::start_with(options).await.unwrap();
        let url = server.tcp_url("postgres").unwrap();
        let session = connect(&url).await.unwrap();
        let row =
            session.texts("SELECT current_setting('max_connections'), current_setting('fsync'), NULL").await.unwrap();
        assert_eq!(row, [[Some("7".to_owned()), Some("on".to_owned()), None]]);
        let wrong = url.replace(server.password.as_deref().unwrap(), "guess");
        assert!(connect(&wrong).await.is_err());
        assert_eq!(one(&server, "postgres", "SELECT 1").await, "1");
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
        let options = Options { parameters: vec!["no_such_parameter=1".to_owned()], ..Options::default() };
        let error = Throwaway::start_with(options).await.unwrap_err();
        assert!(error.to_string().contains("no_such_parameter"), "{error}");
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_not_used() {
        assert!(suitable(Path::new("/tmp"), true));
        assert!(!suitable(&PathBuf::from(format!("/{}", "x".repeat(100))), false));
    }
}
