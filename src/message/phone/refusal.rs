//! What is said about a phone text: why it was refused, or what was done to make sense of it.

use std::fmt;

/// Why no SMS may be sent to what a phone text holds. `Display` is a sentence for the garage's staff; neither it nor
/// `Debug` repeats the number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing, a placeholder (`-`, `N/A`), zeros, or a country code alone.
    #[error("there is no phone number")]
    Missing,
    /// There is something, but not a phone number we can read in one way only.
    #[error("the phone number is not valid{}", hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default())]
    Invalid {
        /// What is wrong or how to write it, as the end of a sentence; never contains the number.
        hint: Option<String>,
    },
    /// A fixed line or an internet telephone: the operator would take the money and deliver nothing.
    #[error("the phone number is a landline, which cannot receive text messages")]
    Landline,
    /// Three to five digits: a service of an operator or an emergency number.
    #[error("this is a short number of a service, not a customer's phone number")]
    ShortCode,
    /// Freephone, shared-cost, premium-rate and other numbers that belong to no person's handset.
    #[error("the phone number is a special-rate number, which cannot receive text messages")]
    SpecialNumber,
    /// A good mobile number in a country that is not on the list.
    #[error("the phone number belongs to a country we do not send to ({region})")]
    CountryNotAllowed {
        /// The country as ISO 3166 alpha-2, or `001` for a global network.
        region: String,
    },
}

impl Refusal {
    /// The word written to `sms_message.reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "no_phone",
            Self::Invalid { .. } => "invalid_phone",
            Self::Landline => "landline",
            Self::ShortCode => "short_code",
            Self::SpecialNumber => "special_number",
            Self::CountryNotAllowed { .. } => "country_not_allowed",
        }
    }

    pub(super) fn invalid(hint: impl Into<String>) -> Self {
        Self::Invalid { hint: Some(hint.into()) }
    }

    /// How much this refusal tells about a text with several runs of digits; the heaviest one is reported.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::ShortCode => 1,
            Self::Invalid { .. } => 2,
            Self::SpecialNumber => 3,
            Self::CountryNotAllowed { .. } => 4,
            Self::Landline => 5,
        }
    }
}

/// What was repaired or ignored to find a number; `Display` is a sentence for staff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// `020 000 123`: Tunisia has no trunk prefix, so the zero says nothing.
    LeadingZeroDropped,
    /// `+216 216 20 000 123`: the mark of software that adds the country code without looking.
    CountryCodeRepeated,
    /// So many other phone numbers stood in the same text.
    OthersIgnored(usize),
    /// Shorter digits stood in the same text, such as an extension.
    DigitsIgnored,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeadingZeroDropped => f.write_str("a leading zero was dropped"),
            Self::CountryCodeRepeated => f.write_str("the country code was written twice"),
            Self::OthersIgnored(1) => f.write_str("another phone number in the same field was ignored"),
            Self::OthersIgnored(count) => write!(f, "{count} other phone numbers in the same field were ignored"),
            Self::DigitsIgnored => f.write_str("other digits in the same field, such as an extension, were ignored"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_the_documented_words() {
        let refusals = [
            (Refusal::Missing, "no_phone"),
            (Refusal::Invalid { hint: None }, "invalid_phone"),
            (Refusal::Landline, "landline"),
            (Refusal::ShortCode, "short_code"),
            (Refusal::SpecialNumber, "special_number"),
            (Refusal::CountryNotAllowed { region: "FR".to_owned() }, "country_not_allowed"),
        ];
        for (refusal, reason) in refusals {
            assert_eq!(refusal.reason(), reason);
        }
    }

    #[test]
    fn sentences_read_well_with_and_without_a_hint() {
        assert_eq!(Refusal::Invalid { hint: None }.to_string(), "the phone number is not valid");
        assert_eq!(Refusal::invalid("it is too short").to_string(), "the phone number is not valid: it is too short");
        assert_eq!(Note::OthersIgnored(1).to_string(), "another phone number in the same field was ignored");
        assert_eq!(Note::OthersIgnored(2).to_string(), "2 other phone numbers in the same field were ignored");
    }
}
