//! Reading the journals that dead daemons left. See the parent module for the protocol.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::entry::{Answered, Begun, Head, Key, Line};
use super::writer::{boot_id, prefix};
use super::{LOCK, SEGMENT_ENDING};

/// Longest segment that is read, in bytes: well above the size at which one is ended.
const SEGMENT_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// What the segments of one journal say.
#[derive(Debug, Default)]
pub struct Log {
    /// Whose it is; none when no head could be read.
    pub head: Option<Head>,
    /// Requests about to be written.
    pub begun: HashMap<Key, Begun>,
    /// What came of them.
    pub answered: HashMap<Key, Answered>,
    /// Every line could be read, but for a last one cut short, and no segment is missing.
    pub whole: bool,
}

impl Log {
    /// Whether a message that is not in here was certainly not sent: nothing is missing, and the machine has not been started
    /// since.
    pub fn is_exhaustive(&self) -> bool {
        self.whole && self.head.as_ref().is_some_and(|head| !head.boot.is_empty() && head.boot == boot_id())
    }
}

/// A journal whose daemon is dead. While this lives the folder is locked: no other daemon reads it.
#[derive(Debug)]
pub struct Leftover {
    folder: PathBuf,
    _lock: File,
    /// What it says.
    pub log: Log,
}

impl Leftover {
    /// Whose it is.
    pub fn owner(&self) -> Option<i32> {
        self.log.head.as_ref().map(|head| head.owner)
    }

    /// Removes it: everything in it is recorded.
    ///
    /// # Errors
    /// It stays and is looked through again.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }
}

/// The journals below `state_directory` that belong to this database and whose daemons are dead.
///
/// # Errors
/// The directory cannot be read; a journal that cannot be is left out.
pub fn leftovers(state_directory: &Path, database: &str) -> io::Result<Vec<Leftover>> {
    let (mut found, prefix) = (Vec::new(), prefix(database));
    for entry in fs::read_dir(state_directory)? {
        let folder = entry?.path();
        let named = folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix));
        if !named || !folder.is_dir() {
            continue;
        }
        // One that is being made has no lock yet, and one that cannot be read is not ours to judge.
        let Ok(lock) = OpenOptions::new().write(true).open(folder.join(LOCK)) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        let log = read(&folder);
        if log.head.as_ref().is_some_and(|head| head.database != database) {
            continue;
        }
        found.push(Leftover { folder, _lock: lock, log });
    }
    Ok(found)
}

fn read(folder: &Path) -> Log {
    let mut log = Log { whole: true, ..Log::default() };
    let Ok(entries) = fs::read_dir(folder) else { return Log::default() };
    let mut segments: Vec<(u32, PathBuf)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == SEGMENT_ENDING))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
        .collect();
    segments.sort_unstable();
    // Settled segments are removed in any order, so a gap is no loss; the last one always stands.
    log.whole &= !segments.is_empty();
    for (_, path) in segments {
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(SEGMENT_LIMIT_BYTES).read_to_end(&mut bytes));
        log.whole &= read.is_ok() && (bytes.len() as u64) < SEGMENT_LIMIT_BYTES;
        parse(&bytes, &mut log);
    }
    log
}

/// Adds what one segment says. Anything may stand in it; a line that cannot be read makes the log no longer whole, but for a
/// last one without its end: a write that was cut short, after which nothing was sent.
pub(super) fn parse(segment: &[u8], log: &mut Log) {
    let mut lines = segment.split_inclusive(|byte| *byte == b'\n').peekable();
    let mut first = true;
    while let Some(line) = lines.next() {
        let complete = line.ends_with(b"\n");
        match serde_json::from_slice(line) {
            Ok(Line::Head(head)) if first => {
                log.whole &= log.head.as_ref().is_none_or(|known| *known == head) && head.format == 1;
                log.head = Some(head);
            }
            // A segment begins with its head, and has one.
            Ok(Line::Head(_)) => log.whole = false,
            Ok(_) if first => log.whole = false,
            Ok(Line::Begun(begun)) if complete => {
                log.begun.insert(begun.key, begun);
            }
            Ok(Line::Answered(answered)) if complete => {
                log.answered.insert(answered.key, answered);
            }
            Ok(Line::Begun(_) | Line::Answered(_)) => {}
            Err(_) => log.whole &= !complete && lines.peek().is_none(),
        }
        first = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::Journal;
    use super::*;
    use crate::message::outcome::Outcome;
    use proptest::prelude::*;

    fn begun(id: i64) -> Begun {
        Begun {
            key: Key { id, token: 7 },
            attempt: 1,
            created_us: 1_700_000_000_000_000,
            provider: "gateway".to_owned(),
            recipient: "+21620000001".to_owned(),
            lang: None,
            body: "Bonjour\n\"é\"".to_owned(),
            encoding: "gsm7".to_owned(),
            segments: 1,
        }
    }

    fn answered(id: i64) -> Answered {
        let outcome = Outcome::Accepted { provider_message_id: Some("sim-1".to_owned()), segments: None };
        Answered { key: Key { id, token: 7 }, outcome }
    }

    fn journal(directory: &Path) -> Journal {
        let journal = Journal::none();
        journal.begin_in(directory, "garage", 3).unwrap();
        journal
    }

    #[test]
    fn what_a_dead_daemon_wrote_is_read_and_a_living_ones_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let living = journal(directory.path());
        assert!(living.usable());
        living.begin(&[begun(1), begun(2)]).unwrap();
        living.answered(answered(1));
        assert!(leftovers(directory.path(), "garage").unwrap().is_empty(), "its daemon lives");
        drop(living);
        assert!(leftovers(directory.path(), "another").unwrap().is_empty(), "another database's");
        let mut found = leftovers(directory.path(), "garage").unwrap();
        let leftover = found.pop().unwrap();
        assert_eq!(leftover.owner(), Some(3));
        assert_eq!(leftover.log.begun[&Key { id: 2, token: 7 }], begun(2));
        assert_eq!(leftover.log.answered.len(), 1);
        assert!(leftover.log.is_exhaustive());
        assert!(leftovers(directory.path(), "garage").unwrap().is_empty(), "somebody reads it already");
        leftover.remove().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_daemon_that_stops_with_nothing_open_leaves_nothing_and_one_with_something_open_does() {
        let directory = tempfile::tempdir().unwrap();
        let clean = journal(directory.path());
        let segment = clean.begin(&[begun(1)]).unwrap();
        clean.settled(segment);
        clean.end();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let busy = journal(directory.path());
        busy.begin(&[begun(1)]).unwrap();
        busy.end();
        assert_eq!(leftovers(directory.path(), "garage").unwrap().len(), 1);
    }

    #[test]
    fn a_line_cut_short_at_the_end_is_no_loss_and_one_in_the_middle_is() {
        let head = Line::Head(Head { format: 1, database: "garage".into(), owner: 3, boot: boot_id() });
        let line = |line: &Line| serde_json::to_string(line).unwrap() + "\n";
        let text = line(&head) + &line(&Line::Begun(begun(1)));
        let read = |text: &str| {
            let mut log = Log { whole: true, ..Log::default() };
            parse(text.as_bytes(), &mut log);
            log
        };
        assert!(read(&text).whole);
        let cut = read(&text[..text.len() - 5]);
        assert!(cut.whole && cut.begun.is_empty());
        assert!(!read(&format!("{}garbage\n{}", line(&head), line(&Line::Begun(begun(1))))).whole);
        assert!(!read(&line(&Line::Begun(begun(1)))).whole, "a segment without its head");
    }

    #[test]
    fn after_another_boot_a_missing_line_proves_nothing() {
        let head = Head { format: 1, database: "garage".into(), owner: 3, boot: "another".into() };
        assert!(!Log { head: Some(head.clone()), whole: true, ..Log::default() }.is_exhaustive());
        assert!(Log { head: Some(Head { boot: boot_id(), ..head }), whole: true, ..Log::default() }.is_exhaustive());
    }

    #[test]
    fn settled_segments_go_while_the_daemon_works() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(directory.path());
        let big = Begun { body: "x".repeat(100_000), ..begun(1) };
        let entries: Vec<_> = (0..100).map(|_| big.clone()).collect();
        let mut segments = Vec::new();
        for chunk in entries.chunks(10) {
            segments.extend(chunk.iter().map(|_| ()).zip(std::iter::repeat(journal.begin(chunk).unwrap())));
        }
        let files = || fs::read_dir(directory.path().join("journal-garage-3")).unwrap().count();
        assert!(files() > 2, "one lock, several segments");
        for (_, segment) in segments {
            journal.settled(segment);
        }
        assert_eq!(files(), 2, "the lock and the segment in use");
    }

    proptest! {
        #[test]
        fn no_segment_panics(bytes: Vec<u8>) {
            parse(&bytes, &mut Log::default());
        }

        #[test]
        fn a_journal_cut_anywhere_tells_no_lie(at in 0_usize..900) {
            let head = Line::Head(Head { format: 1, database: "garage".into(), owner: 3, boot: boot_id() });
            let lines = [head, Line::Begun(begun(1)), Line::Answered(answered(1)), Line::Begun(begun(2))];
            let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
            let mut log = Log { whole: true, ..Log::default() };
            parse(&text.as_bytes()[..at.min(text.len())], &mut log);
            prop_assert!(log.begun.values().all(|found| *found == begun(found.key.id)));
            prop_assert!(log.answered.len() <= log.begun.len());
        }
    }
}
