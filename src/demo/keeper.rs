//! A directory and a child process that cannot outlive us, however we end.
//!
//! `kill -9` leaves no time to clean up, so somebody else has to: a small shell (`keeper.sh`) whose standard input is a pipe
//! held by us alone. It owns the directory and the program. When the pipe ends, and the kernel closes it for a process
//! that is killed, the shell stops the program and removes the directory. The shell is in a process group of its own:
//! Ctrl-C in a terminal reaches us, and the shell through us.
//!
//! A kept program writes to the log file given; it never gets our standard input or output. When the shell itself is
//! killed, nobody keeps the program any more: every call then answers [`KeeperError::Gone`].

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const SCRIPT: &str = include_str!("keeper.sh");

/// How long the shell may take to answer; `initdb` on a slow disk is the slowest thing it does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long [`Drop`] waits for the shell to end, so that nothing is left when we have ended. A server that stops at once
/// needs a few milliseconds, and kills its own children after 5 s.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two looks at a shell or program that is ending.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Why a program could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The shell could not be started.
    #[error("sh cannot be started: {0}")]
    Start(io::Error),
    /// The shell ended, or does not answer.
    #[error("the shell that keeps {program} {problem}")]
    Gone {
        /// What it keeps.
        program: String,
        /// What happened to it.
        problem: String,
    },
    /// A word that cannot be passed to the shell.
    #[error("{0:?} cannot be passed to a program: it contains a line break or is not UTF-8")]
    Word(PathBuf),
}

/// As whom, where and with what a program runs.
#[derive(Debug)]
pub struct Keeping<'a> {
    /// The directory that is removed at the end.
    pub directory: &'a Path,
    /// Where the program's standard output and error go.
    pub log: File,
    /// The signal that ends the program when the pipe ends: a name without SIG.
    pub last_signal: &'a str,
    /// User and group; none for our own.
    pub account: Option<(u32, u32)>,
    /// Changes to the environment: a value to set, or none to take the variable away.
    pub environment: Vec<(String, Option<String>)>,
}

/// See the module. Dropping it stops the program at once and removes the directory, and waits for both.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    program: String,
    shell: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Keeper {
    /// Starts the shell. From now on the directory is removed when we end.
    ///
    /// # Errors
    /// [`KeeperError::Start`].
    pub fn new(keeping: Keeping<'_>) -> Result<Self, KeeperError> {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", SCRIPT, "keeper"])
            .arg(keeping.directory)
            .arg(keeping.last_signal)
            // Any directory that another account may enter, too.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(keeping.log)
            .process_group(0);
        if let Some((user, group)) = keeping.account {
            command.uid(user).gid(group);
        }
        for (name, value) in keeping.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut shell = Command::from(command).spawn().map_err(KeeperError::Start)?;
        let missing = || KeeperError::Start(io::Error::other("it has no pipes"));
        let commands = shell.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(shell.stdout.take().ok_or_else(missing)?).lines();
        Ok(Self {
            directory: keeping.directory.to_owned(),
            program: "nothing yet".to_owned(),
            shell,
            commands: Some(commands),
            answers,
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a program to its end and tells whether it succeeded.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn run(&mut self, words: &[&str]) -> Result<bool, KeeperError> {
        Ok(self.ask("run", words).await? == "ended 0")
    }

    /// Starts the program that is kept, in place of an earlier one that has ended. Returns its process id.
    ///
    /// # Errors
    /// [`KeeperError`]. A program that cannot be executed is no error here: it is gone a moment later.
    pub async fn start(&mut self, words: &[&str]) -> Result<u32, KeeperError> {
        let answer = self.ask("start", words).await?;
        answer
            .strip_prefix("started ")
            .and_then(|pid| pid.parse().ok())
            .ok_or_else(|| self.gone(&format!("answered {answer:?}")))
    }

    /// Whether the program still runs.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn alive(&mut self) -> Result<bool, KeeperError> {
        Ok(self.ask("state", &[]).await? == "alive")
    }

    /// Sends a signal, by its name without SIG, to the program if it still runs.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn signal(&mut self, name: &str) -> Result<(), KeeperError> {
        self.ask("signal", &[name]).await.map(drop)
    }

    /// Sends a signal and waits until the program is gone; `false` when it still runs after `patience`.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn stop(&mut self, signal: &str, patience: Duration) -> Result<bool, KeeperError> {
        self.signal(signal).await?;
        let deadline = Instant::now() + patience;
        while self.alive().await? {
            if Instant::now() > deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(true)
    }

    /// A question that was given up leaves its answer in the pipe: only dropping the keeper makes sense then.
    async fn ask(&mut self, verb: &str, words: &[&str]) -> Result<String, KeeperError> {
        if let Some(program) = words.first().filter(|_| verb != "signal") {
            self.program = (*program).to_owned();
        }
        let mut line = verb.to_owned();
        for word in words {
            line.push(' ');
            line.push_str(&quoted(word)?);
        }
        line.push('\n');
        let exchange = async {
            let Some(commands) = &mut self.commands else { return Ok(None) };
            commands.write_all(line.as_bytes()).await?;
            self.answers.next_line().await
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err(self.gone("has ended")),
            Ok(Err(error)) => Err(self.gone(&format!("cannot be reached: {error}"))),
            Err(_) => Err(self.gone(&format!("did not answer within {ANSWER_TIMEOUT:?}"))),
        }
    }

    fn gone(&self, problem: &str) -> KeeperError {
        KeeperError::Gone { program: self.program.clone(), problem: problem.to_owned() }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.commands.take());
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.shell.try_wait(), Ok(None)) && Instant::now() < deadline {
            #[expect(
                clippy::disallowed_methods,
                reason = "a destructor cannot await, and must not return before the end"
            )]
            std::thread::sleep(LOOK_PAUSE);
        }
        // Gone already, unless the shell was killed or may not remove an entry of /tmp that is not its own.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A word as the shell reads it back unchanged.
fn quoted(word: &str) -> Result<String, KeeperError> {
    if word.contains(['\n', '\0']) {
        return Err(KeeperError::Word(PathBuf::from(word)));
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

/// A path as a word.
///
/// # Errors
/// [`KeeperError::Word`] when it is not UTF-8.
pub fn word(path: &Path) -> Result<&str, KeeperError> {
    path.to_str().ok_or_else(|| KeeperError::Word(path.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn keeper(directory: &Path) -> Keeper {
        let log = File::create(directory.join("log")).unwrap();
        Keeper::new(Keeping { directory, log, last_signal: "KILL", account: None, environment: Vec::new() }).unwrap()
    }

    fn directory() -> PathBuf {
        tempfile::tempdir().unwrap().keep()
    }

    fn exists(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    async fn until_gone(what: impl Fn() -> bool) {
        let deadline = Instant::now() + END_TIMEOUT;
        while what() {
            assert!(Instant::now() < deadline, "still there");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    #[tokio::test]
    async fn dropping_ends_the_program_and_removes_the_directory() {
        let directory = directory();
        let mut keeper = keeper(&directory);
        let pid = keeper.start(&["sleep", "1000"]).await.unwrap();
        assert!(keeper.alive().await.unwrap() && exists(pid));
        drop(keeper);
        assert!(!exists(pid) && !directory.exists());
    }

    #[tokio::test]
    async fn a_broken_pipe_is_enough_and_needs_no_drop() {
        let directory = directory();
        let mut keeper = keeper(&directory);
        let pid = keeper.start(&["sleep", "1000"]).await.unwrap();
        keeper.commands = None;
        until_gone(|| exists(pid) || directory.exists()).await;
        assert!(matches!(keeper.alive().await, Err(KeeperError::Gone { .. })));
    }

    #[tokio::test]
    async fn being_killed_while_a_program_runs_to_its_end_leaves_nothing_either() {
        let directory = directory();
        let (mut keeper, mut other) = (keeper(&directory), self::keeper(&self::directory()));
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, keeper.run(&["sleep", "2"])).await.is_err());
        // As the kernel does for a process that is killed: both pipes are closed at once.
        std::mem::swap(&mut keeper.answers, &mut other.answers);
        keeper.commands = None;
        drop(other);
        until_gone(|| directory.exists()).await;
    }

    #[tokio::test]
    async fn a_program_that_ended_is_noticed_and_another_can_follow() {
        let directory = directory();
        let mut keeper = keeper(&directory);
        keeper.start(&["sh", "-c", "exit 3"]).await.unwrap();
        assert!(keeper.stop("TERM", END_TIMEOUT).await.unwrap());
        let pid = keeper.start(&["sleep", "1000"]).await.unwrap();
        assert!(keeper.stop("TERM", END_TIMEOUT).await.unwrap());
        assert!(!exists(pid) && directory.exists());
    }

    #[tokio::test]
    async fn a_program_that_ignores_the_signal_is_reported_and_still_does_not_outlive_us() {
        let directory = directory();
        let mut keeper = keeper(&directory);
        let pid = keeper.start(&["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]).await.unwrap();
        until_gone(|| std::fs::read(directory.join("log")).unwrap().is_empty()).await;
        assert!(!keeper.stop("TERM", Duration::from_millis(50)).await.unwrap());
        drop(keeper);
        until_gone(|| exists(pid)).await;
    }

    #[tokio::test]
    async fn words_arrive_as_they_are() {
        let directory = directory();
        let mut keeper = keeper(&directory);
        assert!(keeper.run(&["printf", "%s", "it's; $HOME `x` \"\\ *"]).await.unwrap());
        assert_eq!(std::fs::read_to_string(directory.join("log")).unwrap(), "it's; $HOME `x` \"\\ *");
        assert!(!keeper.run(&["false"]).await.unwrap());
        assert!(matches!(keeper.run(&["a\nb"]).await, Err(KeeperError::Word(_))));
    }
}
