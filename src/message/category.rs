//! Categories of messages: what the customer may expect of each, and the law.

use std::fmt;
use std::str::FromStr;

/// A category: a word in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// The customer waits for it: his car is ready, his invoice is issued.
    Transactional,
    /// It does the customer a service: an appointment is near.
    Service,
    /// It does the garage a service. Needs consent, and can be refused alone.
    Marketing,
}

/// A word that names no [`Category`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown category; allowed: transactional, service, marketing")]
pub struct UnknownCategory;

impl Category {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Transactional, Self::Service, Self::Marketing];

    /// The word in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Service => "service",
            Self::Marketing => "marketing",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(word: &str) -> Result<Self, UnknownCategory> {
        Self::ALL.into_iter().find(|category| category.as_str() == word).ok_or(UnknownCategory)
    }
}
