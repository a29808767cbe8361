//! The kinds of message, as they stand in `sms_outbox.kind`.

use std::fmt;
use std::str::FromStr;

/// What a message is about. The words are fixed: staff type them in SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A service became completed.
    ServiceCompleted,
    /// An invoice was issued.
    InvoiceCreated,
    /// An appointment is near.
    AppointmentReminder,
    /// A text written by staff for one number.
    Custom,
    /// One text of a bulk message.
    Campaign,
}

impl Kind {
    /// All kinds, in the order in which people list them.
    pub const ALL: [Self; 5] =
        [Self::ServiceCompleted, Self::InvoiceCreated, Self::AppointmentReminder, Self::Custom, Self::Campaign];

    /// The word in the database, the configuration and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceCompleted => "service_completed",
            Self::InvoiceCreated => "invoice_created",
            Self::AppointmentReminder => "appointment_reminder",
            Self::Custom => "custom",
            Self::Campaign => "campaign",
        }
    }

    /// Whether number and text are read from the garage's tables; otherwise the row itself carries both.
    pub fn has_source(self) -> bool {
        match self {
            Self::ServiceCompleted | Self::InvoiceCreated | Self::AppointmentReminder => true,
            Self::Custom | Self::Campaign => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is not one of [`Kind::ALL`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown kind; allowed: service_completed, invoice_created, appointment_reminder, custom, campaign")]
pub struct UnknownKind;

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(UnknownKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("Custom".parse::<Kind>(), Err(UnknownKind));
    }
}
