//! What the simulated vendors remember beside the record: who asked last, which OAuth tokens live, which reports were read.
//!
//! Owns these few tables; the desk keeps them behind its lock. Everything is bounded; the oldest tokens go first.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Instant;

use rand::Rng as _;

use super::vendor::Vendor;

/// Tokens kept. A client needs one at a time.
const MAX_TOKENS: usize = 1_000;

/// Who sent last through a vendor; replies are pushed to them.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Seen {
    pub(in crate::gateway) key: String,
    pub(in crate::gateway) account: String,
    pub(in crate::gateway) sender: String,
}

#[derive(Debug)]
struct Token {
    token: String,
    until: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Books {
    last: BTreeMap<Vendor, Seen>,
    tokens: VecDeque<Token>,
    reported: HashSet<u64>,
}

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Standing {
    Valid,
    Expired,
    Unknown,
}

impl Books {
    pub(in crate::gateway) fn remember(&mut self, vendor: Vendor, seen: Seen) {
        self.last.insert(vendor, seen);
    }

    pub(in crate::gateway) fn last(&self, vendor: Vendor) -> Seen {
        self.last.get(&vendor).cloned().unwrap_or_default()
    }

    /// A new token that lives until then.
    pub(in crate::gateway) fn issue(&mut self, until: Instant) -> String {
        let mut dice = rand::rng();
        let token = format!("sim{:032x}", dice.random::<u128>());
        if self.tokens.len() == MAX_TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back(Token { token: token.clone(), until });
        token
    }

    pub(in crate::gateway) fn standing(&self, token: &str) -> Standing {
        match self.tokens.iter().find(|known| known.token == token) {
            None => Standing::Unknown,
            Some(known) if Instant::now() >= known.until => Standing::Expired,
            Some(_) => Standing::Valid,
        }
    }

    /// Whether the report on this message is read for the first time; it is read thereby.
    pub(in crate::gateway) fn report(&mut self, seq: u64) -> bool {
        self.reported.insert(seq)
    }

    /// Forgets the reports that were read, with the messages they were on.
    pub(in crate::gateway) fn forget_reports(&mut self) {
        self.reported.clear();
    }
}
