//! A delivery receipt, read from its text and its parameters.
//!
//! Pure. The text is a custom and no standard (SMPP 3.4, appendix B): `id:… sub:… dlvrd:… submit date:… done date:… stat:… err:… text:…`, with any field
//! missing, in any order and case. The parameters are standard, and go first where they are there. Times are left out: they are the centre's civil time, in a
//! zone that nobody tells.

use std::sync::LazyLock;

use regex::Regex;

use super::config::IdForm;
use super::ids;
use crate::provider::receipt::{DeliveryStatus, Receipt};

/// Longest text that is looked at, in characters: four times the longest that is in use.
const TEXT_LIMIT_CHARS: usize = 1_000;

/// Longest word or error code kept, in characters.
const WORD_LIMIT_CHARS: usize = 40;

/// The name of a field. What follows `text` is the beginning of the message, which may hold anything.
#[expect(clippy::expect_used, reason = "the pattern is constant, and a test uses it")]
static FIELD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:^|[\s,;])(id|sub|dlvrd|submit[ _]?date|done[ _]?date|stat|err|text)\s*:")
        .expect("it is a pattern")
});

/// What a receipt says in its optional parameters.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) id: Option<String>,
    pub(super) state: Option<u8>,
    pub(super) network_error: Option<[u8; 3]>,
}

/// Reads a receipt. `None` when it does not say of which message it is.
pub(super) fn read(text: &str, parameters: &Parameters, form: IdForm) -> Option<Receipt> {
    let text: String = text.chars().take(TEXT_LIMIT_CHARS).collect();
    let written = Fields::of(&text);
    let id = parameters.id.as_deref().map(str::trim).filter(|id| !id.is_empty()).or(written.id)?;
    let provider_message_id = ids::kept(id, form);
    if provider_message_id.is_empty() {
        return None;
    }
    let word = written.stat.map(|word| plain(word).to_uppercase()).unwrap_or_default();
    let state = parameters.state.and_then(state_word);
    let status = status_of(state.unwrap_or(&word));
    let mut words = vec![state.unwrap_or(&word).to_owned()];
    if state.is_some_and(|state| state != word) && !word.is_empty() {
        words.push(format!("stat {word}"));
    }
    if let Some(err) = written.err.map(plain).filter(|err| !err.is_empty() && err.chars().any(|c| c != '0')) {
        words.push(format!("err {err}"));
    }
    if let Some([network, high, low]) = parameters.network_error {
        words.push(format!("network {network} error {}", u16::from_be_bytes([high, low])));
    }
    words.retain(|word| !word.is_empty());
    let words = if words.is_empty() { "no status".to_owned() } else { words.join(", ") };
    Some(Receipt { provider_message_id, reference: None, status, words, at: None })
}

/// The fields that matter.
#[derive(Debug, Default)]
struct Fields<'a> {
    id: Option<&'a str>,
    stat: Option<&'a str>,
    err: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// The first of each; behind `text` the last, since the message may hold words that look like them.
    fn of(text: &'a str) -> Self {
        let mut fields = Self::default();
        let mut behind = Self::default();
        let mut in_text = false;
        for found in FIELD.captures_iter(text) {
            let (Some(whole), Some(name)) = (found.get(0), found.get(1)) else { continue };
            let value =
                text[whole.end()..].trim_start().split(|c: char| c.is_whitespace() || c == ',' || c == ';').next();
            // An empty field is followed by the next one's name.
            let value = value.filter(|value| !value.is_empty() && !value.contains(':'));
            let place = if in_text { &mut behind } else { &mut fields };
            let slot = match name.as_str().to_ascii_lowercase().as_str() {
                "id" => &mut place.id,
                "stat" => &mut place.stat,
                "err" => &mut place.err,
                "text" => {
                    in_text = true;
                    continue;
                }
                _ => continue,
            };
            if in_text || slot.is_none() {
                *slot = value.or(*slot);
            }
        }
        Self { id: fields.id.or(behind.id), stat: fields.stat.or(behind.stat), err: fields.err.or(behind.err) }
    }
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_graphic()).take(WORD_LIMIT_CHARS).collect()
}

/// The word of a `message_state` (SMPP 3.4, section 5.2.28).
fn state_word(state: u8) -> Option<&'static str> {
    Some(match state {
        1 => "ENROUTE",
        2 => "DELIVRD",
        3 => "EXPIRED",
        4 => "DELETED",
        5 => "UNDELIV",
        6 => "ACCEPTD",
        7 => "UNKNOWN",
        8 => "REJECTD",
        _ => return None,
    })
}

/// Only what says so is final. `ACCEPTD` and `UNKNOWN` are called final by the standard, and yet followed by another
/// word at some centres.
fn status_of(word: &str) -> DeliveryStatus {
    let is = |beginnings: &[&str]| beginnings.iter().any(|beginning| word.starts_with(beginning));
    if is(&["DELIVRD", "DELIVERED"]) {
        DeliveryStatus::Delivered
    } else if is(&["EXPIRED", "DELETED", "UNDELIV", "REJECT"]) {
        DeliveryStatus::Undelivered
    } else {
        DeliveryStatus::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> (String, DeliveryStatus, String) {
        let receipt = read(text, &Parameters::default(), IdForm::AsIs).unwrap();
        (receipt.provider_message_id, receipt.status, receipt.words)
    }

    fn expect(text: &str, id: &str, status: DeliveryStatus, words: &str) {
        assert_eq!(of(text), (id.to_owned(), status, words.to_owned()), "{text}");
    }

    #[test]
    fn the_usual_text_is_read() {
        expect(
            "id:0123456789 sub:001 dlvrd:001 submit date:2611261400 done date:2611261401 stat:DELIVRD err:000 text:Bonjour Sami",
            "0123456789",
            DeliveryStatus::Delivered,
            "DELIVRD",
        );
    }

    #[test]
    fn order_case_and_missing_fields_do_not_matter() {
        expect("STAT:undeliv ERR:27 ID:aB-3", "aB-3", DeliveryStatus::Undelivered, "UNDELIV, err 27");
        expect("id: 7 stat: EXPIRED", "7", DeliveryStatus::Undelivered, "EXPIRED");
        expect("id:7", "7", DeliveryStatus::Pending, "no status");
        expect("id:7 sub: dlvrd: err: stat:ACCEPTD", "7", DeliveryStatus::Pending, "ACCEPTD");
        expect("id:7,stat:REJECTD,err:E_BLK", "7", DeliveryStatus::Undelivered, "REJECTD, err E_BLK");
        expect("id:7 submit_date:1 done_date:2 stat:DELETED", "7", DeliveryStatus::Undelivered, "DELETED");
        expect("id:7 Done Date:26 stat:ENROUTE text:", "7", DeliveryStatus::Pending, "ENROUTE");
        expect("text:abc id:7 stat:DELIVRD", "7", DeliveryStatus::Delivered, "DELIVRD");
    }

    #[test]
    fn words_of_the_message_are_no_fields() {
        expect("id:7 stat:UNDELIV text:stat:DELIVRD id:8", "7", DeliveryStatus::Undelivered, "UNDELIV");
        expect("text:id:9 stat:DELIVRD id:7 stat:UNDELIV", "7", DeliveryStatus::Undelivered, "UNDELIV");
        expect("id:7 valid:8 stat:UNDELIV", "7", DeliveryStatus::Undelivered, "UNDELIV");
    }

    #[test]
    fn parameters_go_first_and_suffice() {
        let parameters = Parameters { id: Some("2A".into()), state: Some(5), network_error: Some([3, 0x01, 0x02]) };
        let receipt = read("id:9 stat:DELIVRD err:000", &parameters, IdForm::Hex).unwrap();
        assert_eq!((receipt.provider_message_id.as_str(), receipt.status), ("42", DeliveryStatus::Undelivered));
        assert_eq!(receipt.words, "UNDELIV, stat DELIVRD, network 3 error 258");
        assert_eq!(read("", &parameters, IdForm::AsIs).unwrap().words, "UNDELIV, network 3 error 258");
        let unknown = Parameters { state: Some(99), ..Parameters::default() };
        assert_eq!(read("id:9 stat:DELIVRD", &unknown, IdForm::AsIs).unwrap().status, DeliveryStatus::Delivered);
    }

    #[test]
    fn every_state_has_its_word_and_its_status() {
        let told: Vec<DeliveryStatus> = (1..=8).map(|state| status_of(state_word(state).unwrap())).collect();
        use DeliveryStatus::{Delivered, Pending, Undelivered};
        assert_eq!(told, [Pending, Delivered, Undelivered, Undelivered, Undelivered, Pending, Pending, Undelivered]);
    }

    #[test]
    fn a_receipt_of_no_message_is_none() {
        for text in ["", "stat:DELIVRD", "id: stat:DELIVRD", "id:\u{FFFD} stat:DELIVRD"] {
            assert_eq!(read(text, &Parameters::default(), IdForm::AsIs), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "(id|stat|err|text|submit date|[:; ,aé0-9]){0,30}") {
            if let Some(receipt) = read(&text, &Parameters::default(), IdForm::Decimal) {
                prop_assert!(!receipt.provider_message_id.is_empty() && receipt.words.len() < 300);
            }
        }
    }
}
