//! Which claims of this process are still open: the tokens whose rows have not all been settled.
//!
//! A row leased to us under a token that is not here was claimed by a statement whose answer we never got: nothing of it
//! was handed out, so nothing was sent. A token is therefore entered before its statement is sent: between the claim's
//! commit and our reading of its answer the rows must not look abandoned. A lease that is dropped without reaching the settler stays here for ever, on
//! purpose: what became of it is not known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Open claims, by token.
#[derive(Debug, Default)]
pub struct Ledger {
    open: Mutex<HashMap<i64, usize>>,
    /// Tokens grow. Written under the lock of `open`.
    newest: AtomicI64,
}

impl Ledger {
    fn open(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim is about to be made.
    pub fn begun(&self, token: i64) {
        let mut open = self.open();
        self.newest.fetch_max(token, Ordering::Relaxed);
        open.insert(token, 0);
    }

    /// The claim answered with this many rows.
    pub fn claimed(&self, token: i64, rows: usize) {
        if rows > 0 {
            self.open().insert(token, rows);
        } else {
            self.open().remove(&token);
        }
    }

    /// The claim's answer was lost: whatever it leased is to be freed.
    pub fn abandoned(&self, token: i64) {
        self.open().remove(&token);
    }

    /// The result of one row was recorded.
    pub fn settled(&self, token: i64) {
        let mut open = self.open();
        if let Some(left) = open.get_mut(&token) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                open.remove(&token);
            }
        }
    }

    /// The newest token begun so far, and those with rows not settled. A claim begun after this look is in neither: whoever
    /// acts on the list must leave newer tokens alone.
    pub fn look(&self) -> (i64, Vec<i64>) {
        let open = self.open();
        (self.newest.load(Ordering::Relaxed), open.keys().copied().collect())
    }

    /// Rows not settled.
    pub fn rows(&self) -> usize {
        self.open().values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_open_until_its_last_row_is_settled() {
        let ledger = Ledger::default();
        ledger.begun(7);
        assert_eq!((ledger.look(), ledger.rows()), ((7, vec![7]), 0));
        ledger.claimed(7, 2);
        ledger.begun(8);
        ledger.claimed(8, 0);
        ledger.begun(9);
        ledger.abandoned(9);
        ledger.settled(7);
        assert_eq!((ledger.look(), ledger.rows()), ((9, vec![7]), 1));
        ledger.settled(7);
        ledger.settled(7);
        assert_eq!((ledger.look(), ledger.rows()), ((9, vec![]), 0));
    }
}
