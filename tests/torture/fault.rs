//! What a fault is, how large it is played, and what came of it: one line.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::judge::Count;

/// How large the faults are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Seconds each: for every run of the tests.
    Short,
    /// The whole numbers.
    Full,
}

impl Scale {
    /// The value for this scale.
    pub fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Scale::Short => short,
            Scale::Full => full,
        }
    }

    /// How long messages may take to settle after the last fault.
    pub fn patience(self) -> Duration {
        Duration::from_secs(self.pick(60, 180))
    }
}

/// One fault.
pub struct Fault {
    pub name: &'static str,
    pub play: fn(Scale) -> Pin<Box<dyn Future<Output = Verdict>>>,
}

/// Names the async functions that play the faults.
#[macro_export]
macro_rules! faults {
    ($($module:ident :: $name:ident),* $(,)?) => {
        [$($crate::fault::Fault { name: stringify!($name), play: |scale| Box::pin($module::$name(scale)) }),*]
    };
}

/// What came of a fault.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What was done: `200 kills`.
    pub done: String,
    counts: Option<[usize; 5]>,
    pub seconds: Duration,
    /// Worth saying though nothing is wrong.
    pub notes: Vec<String>,
    pub violations: Vec<String>,
    /// What a violation is explained by.
    pub details: String,
    /// Why it was not played.
    skipped: Option<String>,
}

impl Verdict {
    pub fn new(done: String) -> Self {
        Self { done, ..Self::default() }
    }

    /// Not played on this machine, for this reason.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::default() }
    }

    /// A test that fell over.
    pub fn fell_over(why: String) -> Self {
        Self { violations: vec![why], ..Self::default() }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What must hold beyond the counts.
    pub fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(otherwise());
        }
    }

    /// Takes the judge's counts: nothing lost, nothing left, all recorded once, and no more sent twice than allowed.
    pub fn count(&mut self, count: &Count, twice_allowed: usize) {
        let twice = count.times_twice();
        self.counts = Some([count.enqueued, count.received, count.lost.len(), twice, count.in_doubt]);
        self.require(count.lost.is_empty(), || format!("{} messages are lost", count.lost.len()));
        self.require(twice <= twice_allowed, || format!("{twice} sent twice, {twice_allowed} allowed"));
        self.require(count.left.is_empty(), || format!("{} are left queued or being sent", count.left.len()));
        self.require(count.misrecorded.is_empty(), || {
            format!("{} are not in the record once as sent or unknown", count.misrecorded.len())
        });
        self.require(count.enqueued > 0, || "nothing was enqueued: the fault proves nothing".to_owned());
    }

    pub fn failed(&self) -> bool {
        !self.violations.is_empty()
    }

    pub fn was_skipped(&self) -> bool {
        self.skipped.is_some()
    }

    /// The line of this fault, and below it what is to be said.
    pub fn line(&self, name: &str) -> String {
        if let Some(why) = &self.skipped {
            return format!("{name:29} skipped: {why}\n");
        }
        let mut line = format!("{name:29} {:34}", self.done);
        match self.counts {
            Some([enqueued, received, lost, twice, in_doubt]) => {
                let _ = write!(line, " {enqueued:9} {received:9} {lost:6} {twice:6} {in_doubt:9}");
            }
            None => {
                let _ = write!(line, " {:>9} {:>9} {:>6} {:>6} {:>9}", "-", "-", "-", "-", "-");
            }
        }
        let word = if self.failed() { "VIOLATION" } else { "ok" };
        let _ = writeln!(line, " {:8.1}  {word}", self.seconds.as_secs_f64());
        for note in &self.notes {
            let _ = writeln!(line, "  {note}");
        }
        for violation in &self.violations {
            let _ = writeln!(line, "  VIOLATION: {violation}");
        }
        line.push_str(&self.details);
        line
    }
}

/// The heading of the lines.
pub fn heading() -> String {
    format!(
        "{:29} {:34} {:>9} {:>9} {:>6} {:>6} {:>9} {:>8}",
        "fault", "done", "enqueued", "received", "lost", "twice", "in doubt", "seconds"
    )
}
