//! The words of `reason`: why a message stands where it stands. The list is documented in docs/ARCHITECTURE.md.

use super::phone::Refusal;

/// Why a message was not, or not yet, sent. One word each, fixed: people filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The customer has no number.
    NoPhone,
    /// The text in the phone column is no number.
    InvalidPhone,
    /// A fixed line, which takes no SMS.
    Landline,
    /// A short code, never to be texted.
    ShortCode,
    /// A freephone, shared-cost or premium number.
    SpecialNumber,
    /// A valid number of a country that is not on the list.
    CountryNotAllowed,
    /// The service, invoice or customer is gone.
    SourceGone,
    /// The source no longer says what the message would: a moved appointment, a service back in work.
    SourceChanged,
    /// The time the message speaks of is over.
    AppointmentPast,
    /// An invoice without an amount after its settling time.
    NoAmount,
    /// An invoice whose amount is awaited.
    AwaitingAmount,
    /// The text could not be made: a missing fact or a fault of the template.
    TemplateError,
    /// Longer than the provider's limit of segments.
    TooLong,
    /// The kind is switched off.
    Disabled,
    /// The setting `<kind>.delay` has not passed yet.
    Delay,
    /// Older than the validity of its kind.
    TooOld,
    /// The garage's tables could not be read just now.
    FactsUnavailable,
    /// The provider refused the message for good.
    Rejected,
    /// The provider asked for a pause.
    Throttled,
    /// Nothing was sent; another attempt follows.
    TemporaryFailure,
    /// Credentials or configuration of the provider are wrong.
    Misconfigured,
    /// The provider's account is empty.
    NoCredit,
    /// Every attempt failed.
    TooManyAttempts,
    /// It may have been sent.
    Unknown,
    /// Taken back unsent: the lease was too short, or the daemon was stopping.
    NotStarted,
    /// More events at once than the stampede limit allows.
    Stampede,
    /// This database is a copy, and the number is not one of those that a copy may text.
    NotATestRecipient,
    /// The customer wants no such messages.
    OptedOut,
    /// Marketing, and the customer has not agreed to any.
    NoConsent,
    /// No provider takes such a message, or none of those that do can take it just now.
    NoProvider,
    /// Outside of the hours of its category.
    QuietHours,
    /// A completed service waits for others of the same customer.
    Joining,
    /// The text must go in GSM-7 (encoding `force`) and cannot.
    NotGsm7,
}

impl Reason {
    /// The reason that a refused number gives.
    pub fn of_refusal(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::NoPhone,
            Refusal::Invalid { .. } => Self::InvalidPhone,
            Refusal::Landline => Self::Landline,
            Refusal::ShortCode => Self::ShortCode,
            Refusal::SpecialNumber => Self::SpecialNumber,
            Refusal::CountryNotAllowed { .. } => Self::CountryNotAllowed,
        }
    }

    /// The word in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPhone => "no_phone",
            Self::InvalidPhone => "invalid_phone",
            Self::Landline => "landline",
            Self::ShortCode => "short_code",
            Self::SpecialNumber => "special_number",
            Self::CountryNotAllowed => "country_not_allowed",
            Self::SourceGone => "source_gone",
            Self::SourceChanged => "source_changed",
            Self::AppointmentPast => "appointment_past",
            Self::NoAmount => "no_amount",
            Self::AwaitingAmount => "awaiting_amount",
            Self::TemplateError => "template_error",
            Self::TooLong => "too_long",
            Self::Disabled => "disabled",
            Self::Delay => "delay",
            Self::TooOld => "too_old",
            Self::FactsUnavailable => "facts_unavailable",
            Self::Rejected => "rejected",
            Self::Throttled => "throttled",
            Self::TemporaryFailure => "temporary_failure",
            Self::Misconfigured => "misconfigured",
            Self::NoCredit => "no_credit",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Unknown => "unknown",
            Self::NotStarted => "not_started",
            Self::NoProvider => "no_provider",
            Self::Stampede => "stampede",
            Self::NotATestRecipient => "not_a_test_recipient",
            Self::OptedOut => "opted_out",
            Self::NoConsent => "no_consent",
            Self::QuietHours => "quiet_hours",
            Self::Joining => "joining",
            Self::NotGsm7 => "not_gsm7",
        }
    }
}
