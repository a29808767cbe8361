//! One message as one line for a terminal. Owns nothing; whatever a text holds, it stays one line that cannot drive the
//! terminal.

use jiff::tz::TimeZone;

use super::ledger::Received;

/// Longest phone printed, characters; a valid one has at most 16.
const PHONE_CHARS: usize = 32;
/// Longest text printed, characters: ten segments.
const TEXT_CHARS: usize = 1_600;

/// `12:03:04  +21620000123  200  "Bonjour ..."`, in the system's time zone.
///
/// Control characters, quotes, and characters that are invisible or change the direction of writing are escaped; what
/// is very long is cut and ends in `…`.
pub fn log_line(received: &Received) -> String {
    line_in(received, TimeZone::system())
}

fn line_in(received: &Received, zone: TimeZone) -> String {
    let time = received.at.to_zoned(zone).strftime("%H:%M:%S");
    let (phone, more) = cut(&received.phone, PHONE_CHARS);
    let (text, rest) = cut(&received.message, TEXT_CHARS);
    format!("{time}  {}{more}  {}  {text:?}{rest}", phone.escape_debug(), received.answer)
}

fn cut(text: &str, chars: usize) -> (&str, &'static str) {
    text.char_indices().nth(chars).map_or((text, ""), |(end, _)| (&text[..end], "…"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::ledger::{Answer, Fate, Ledger};
    use crate::gateway::post::Post;

    fn received(phone: &str, message: &str) -> Received {
        let post = Post { phone: phone.into(), message: message.into(), ..Post::default() };
        let accepted = Fate { answer: Answer::Status(200), accepted: true, taken: true, repeat_of: None };
        let entered = Ledger::default().enter(post, "/v1/messages", true, accepted);
        let mut received = Received::clone(&entered);
        received.at = "2026-03-02T11:03:04Z".parse().unwrap();
        received
    }

    fn line(phone: &str, message: &str) -> String {
        line_in(&received(phone, message), TimeZone::get("Africa/Tunis").unwrap())
    }

    #[test]
    fn a_line_has_time_phone_answer_and_text() {
        let expected = "12:03:04  +21620000123  200  \"Bonjour Amélie, السيارة جاهزة\"";
        assert_eq!(line("+21620000123", "Bonjour Amélie, السيارة جاهزة"), expected);
    }

    #[test]
    fn texts_that_would_drive_a_terminal_are_escaped() {
        let line = line("\u{1b}[2J", "a\r\nb\u{1b}]0;x\u{7}\u{202e}\u{9b}31m\"");
        assert!(line.contains(r#"\u{1b}[2J"#), "{line}");
        assert!(line.contains(r#""a\r\nb\u{1b}]0;x\u{7}\u{202e}\u{9b}31m\"""#), "{line}");
    }

    #[test]
    fn a_very_long_text_is_cut() {
        let line = line("1".repeat(50).as_str(), "é".repeat(5_000).as_str());
        assert!(line.ends_with("\"…") && line.chars().count() < 1_700, "{line}");
    }

    proptest! {
        #[test]
        fn no_line_holds_a_control_character(phone in any::<String>(), message in any::<String>()) {
            prop_assert!(!line(&phone, &message).contains(char::is_control));
        }
    }
}
