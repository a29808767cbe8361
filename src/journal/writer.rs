//! Writing a journal. See the parent module for the protocol.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::{error, info, warn};

use super::entry::{Answered, Begun, Head, Written};
use super::{LOCK, REOPEN_EVERY, SEGMENT_BYTES, SEGMENT_ENDING};

/// A journal being written, or the knowledge that there is none. Lines are short and go to the kernel's memory, so they are written
/// where they come up, under a lock that is never held across an await, nor while a line is made.
#[derive(Debug)]
pub struct Journal {
    inner: Mutex<Option<Inner>>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    head: Head,
    /// Held for as long as the process lives.
    _lock: File,
    state: State,
    segment: u32,
    /// Messages begun and not settled, by segment.
    open: BTreeMap<u32, usize>,
}

#[derive(Debug)]
enum State {
    Writing { file: File, bytes: u64 },
    Broken { since: Instant, problem: String },
}

impl Journal {
    /// No journal: after a kill everything that was being sent is in doubt.
    pub fn none() -> Self {
        Self { inner: Mutex::new(None) }
    }

    /// Begins the journal of this start of the daemon below `state_directory`.
    ///
    /// # Errors
    /// The folder cannot be made, locked or written; the daemon goes on without.
    pub fn begin_in(&self, state_directory: &Path, database: &str, owner: i32) -> io::Result<()> {
        let head = Head { format: 1, database: database.to_owned(), owner, boot: boot_id() };
        // After a restore an owner number may come twice: then the folder of the first is still there.
        let name = format!("{}{owner}", prefix(database));
        let folder = (0..100)
            .map(|n| state_directory.join(if n == 0 { name.clone() } else { format!("{name}-{n}") }))
            .find(|folder| !folder.exists())
            .ok_or_else(|| io::Error::other("too many journals of this owner number"))?;
        DirBuilder::new().recursive(true).mode(0o700).create(state_directory)?;
        DirBuilder::new().mode(0o700).create(&folder)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK))?;
        lock.try_lock().map_err(io::Error::from)?;
        let mut inner = Inner {
            folder,
            head,
            _lock: lock,
            state: State::Broken { since: Instant::now(), problem: String::new() },
            segment: 0,
            open: BTreeMap::new(),
        };
        inner.next_segment()?;
        *self.locked() = Some(inner);
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Option<Inner>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is sent from now on is written down before. Asked before a claim, which repeats the answer in the database.
    pub fn usable(&self) -> bool {
        self.locked().as_mut().is_some_and(Inner::mend)
    }

    /// Why nothing is written, when something should be.
    pub fn problem(&self) -> Option<String> {
        match &self.locked().as_ref()?.state {
            State::Writing { .. } => None,
            State::Broken { problem, .. } => Some(problem.clone()),
        }
    }

    /// Writes that these requests are about to be written. Returns the segment they stand in, to be named to
    /// [`settled`](Self::settled); none when there is no journal.
    ///
    /// # Errors
    /// Nothing of this may be sent, when the claim said that the journal was usable.
    pub fn begin(&self, entries: &[Begun]) -> io::Result<Option<u32>> {
        let mut text = Vec::with_capacity(entries.len() * 400);
        for entry in entries {
            push(&mut text, &Written::Begun(entry))?;
        }
        let mut guard = self.locked();
        let Some(inner) = guard.as_mut() else { return Ok(None) };
        inner.append(&text)?;
        *inner.open.entry(inner.segment).or_default() += entries.len();
        Ok(Some(inner.segment))
    }

    /// Writes what came of a request. A failure costs nothing but certainty after a kill.
    pub fn answered(&self, entry: Answered) {
        let mut text = Vec::with_capacity(200);
        let line = push(&mut text, &Written::Answered(&entry));
        let mut guard = self.locked();
        let Some(inner) = guard.as_mut() else { return };
        if matches!(inner.state, State::Writing { .. }) {
            // `append` has said so, once.
            drop(line.and_then(|()| inner.append(&text)));
        }
    }

    /// The result of one message of this segment stands in the database.
    pub fn settled(&self, segment: Option<u32>) {
        let Some(segment) = segment else { return };
        if let Some(inner) = self.locked().as_mut() {
            inner.settled(segment);
        }
    }

    /// The daemon stops: with nothing open the journal has nothing to tell and goes.
    pub fn end(&self) {
        if let Some(inner) = self.locked().take()
            && inner.open.values().all(|open| *open == 0)
            && let Err(error) = fs::remove_dir_all(&inner.folder)
        {
            warn!(error = %error, "the journal of this run could not be removed; the next start looks through it and does");
        }
    }
}

impl Inner {
    /// Tries a new segment when the last one failed a while ago.
    fn mend(&mut self) -> bool {
        match &self.state {
            State::Writing { .. } => true,
            State::Broken { since, .. } if since.elapsed() < REOPEN_EVERY => false,
            State::Broken { .. } => match self.next_segment() {
                Ok(()) => {
                    info!("the journal is written again");
                    true
                }
                Err(error) => {
                    self.broken(&error);
                    false
                }
            },
        }
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.folder.join(format!("{segment:06}.{SEGMENT_ENDING}"))
    }

    fn next_segment(&mut self) -> io::Result<()> {
        let segment = self.segment + 1;
        let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(self.path(segment))?;
        self.segment = segment;
        let mut text = Vec::new();
        push(&mut text, &Written::Head(&self.head))?;
        file.write_all(&text)?;
        self.state = State::Writing { file, bytes: text.len() as u64 };
        Ok(())
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if matches!(&self.state, State::Writing { bytes, .. } if *bytes > SEGMENT_BYTES) {
            let full = self.segment;
            if let Err(error) = self.next_segment() {
                self.broken(&error);
                return Err(error);
            }
            self.remove_if_settled(full);
        }
        let State::Writing { file, bytes } = &mut self.state else {
            return Err(io::Error::other("the journal is not usable"));
        };
        match file.write_all(text) {
            Ok(()) => {
                *bytes += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.broken(&error);
                Err(error)
            }
        }
    }

    fn broken(&mut self, error: &io::Error) {
        let problem = format!("{}: {error}", self.folder.display());
        if !matches!(&self.state, State::Broken { .. }) {
            error!(
                problem,
                "the journal cannot be written; messages go out all the same, but after a kill those under way are in doubt"
            );
        }
        self.state = State::Broken { since: Instant::now(), problem };
    }

    fn settled(&mut self, segment: u32) {
        if let Some(open) = self.open.get_mut(&segment) {
            *open = open.saturating_sub(1);
        }
        if segment != self.segment {
            self.remove_if_settled(segment);
        }
    }

    fn remove_if_settled(&mut self, segment: u32) {
        if self.open.get(&segment).is_none_or(|open| *open == 0) {
            self.open.remove(&segment);
            if let Err(error) = fs::remove_file(self.path(segment)) {
                warn!(error = %error, "a settled segment of the journal could not be removed");
            }
        }
    }
}

fn push(text: &mut Vec<u8>, line: &Written<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

/// What the names of this database's journals begin with.
pub(super) fn prefix(database: &str) -> String {
    let safe: String =
        database.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).take(80).collect();
    format!("journal-{safe}-")
}

/// The machine's boot; empty where the kernel does not tell, which proves nothing.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}
