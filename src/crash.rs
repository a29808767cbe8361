//! Named points at which a fault test lets the process die, as `kill -9` would: no destructor runs, nothing is flushed.
//!
//! Only in builds with debug assertions, as tests use them; in every other build a point is nothing. `ECAR_SMS_CRASH=after_claim:3`
//! (read by the configuration) ends the process when it passes `after_claim` for the third time. Imports nothing of ours, so that every layer may name a
//! point.

/// After a claim has committed, before anybody knows.
pub const AFTER_CLAIM: &str = "after_claim";
/// Before the journal says that requests are about to be written.
pub const BEFORE_JOURNAL_BEGIN: &str = "before_journal_begin";
/// After the journal has said so, before anything is written.
pub const AFTER_JOURNAL_BEGIN: &str = "after_journal_begin";
/// With half of a request's body written.
pub const MID_REQUEST: &str = "mid_request";
/// After an answer was read, before the journal knows it.
pub const AFTER_ANSWER: &str = "after_answer";
/// After the journal knows the answer.
pub const AFTER_JOURNAL_ANSWER: &str = "after_journal_answer";
/// Before results are written to the database.
pub const BEFORE_SETTLE: &str = "before_settle";
/// After results were committed, before the process knows.
pub const AFTER_SETTLE: &str = "after_settle";

/// Dies here when told to.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Whether this point is the one that ends the process: for code that must go another way to reach it.
#[inline]
pub fn is_armed(name: &str) -> bool {
    #[cfg(debug_assertions)]
    return armed::is(name);
    #[cfg(not(debug_assertions))]
    {
        let _ = name;
        false
    }
}

/// Arms a point, named as `point` or `point:nth`. The first call counts.
#[inline]
pub fn arm(text: &str) {
    #[cfg(debug_assertions)]
    armed::arm(text);
    #[cfg(not(debug_assertions))]
    let _ = text;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The point, and how many passes are left.
    static ARMED: OnceLock<(String, AtomicU64)> = OnceLock::new();

    pub(super) fn arm(text: &str) {
        let (name, times) = text.split_once(':').unwrap_or((text, "1"));
        ARMED.get_or_init(|| (name.to_owned(), AtomicU64::new(times.parse().unwrap_or(1))));
    }

    pub(super) fn is(name: &str) -> bool {
        ARMED.get().is_some_and(|(armed, _)| armed == name)
    }

    pub(super) fn pass(name: &str) {
        if let Some((_, left)) = ARMED.get().filter(|(armed, _)| armed == name)
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            #[expect(clippy::disallowed_methods, reason = "skipping destructors, as a kill does, is what this is for")]
            std::process::abort();
        }
    }
}
