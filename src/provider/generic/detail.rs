//! What a provider said, made fit for staff, logs and the database.
//!
//! Owns the cleaning of untrusted text: control characters go, secrets that the provider echoes are replaced, the rest
//! is cut to a sentence. Every text that leaves this adapter passes here.

use std::borrow::Cow;

use crate::message::facts::turns_text;
use crate::message::outcome::DETAIL_LIMIT_CHARS;

use super::template::{form_plus, percent};

/// What stands where a secret was.
const REDACTED: &str = "[redacted]";
/// Secrets shorter than this are not searched for: replacing every `1` of a text would hide nothing and harm much.
const SHORTEST_SECRET_CHARS: usize = 4;
/// Longest provider id kept, in characters: the longest documented ones have 200 (Infobip).
const ID_LIMIT_CHARS: usize = 200;

/// The secrets to hide, in every form a provider may echo.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    forms: Vec<String>,
}

impl Redactor {
    /// Also hides `secret`: as it is, URL-encoded both ways, and with its slashes escaped as PHP's JSON does.
    pub(super) fn hide(&mut self, secret: &str) {
        let json = serde_json::Value::from(secret).to_string();
        let json = json.trim_matches('"');
        for form in [
            clean(secret),
            percent(secret),
            percent(secret).to_lowercase(),
            form_plus(secret),
            json.to_owned(),
            json.replace('/', "\\/"),
        ] {
            // Measured form by form: of a secret of control characters nothing is left once it is cleaned.
            if form.chars().count() >= SHORTEST_SECRET_CHARS && !self.forms.contains(&form) {
                self.forms.push(form);
            }
        }
        // The longest first, so that a form that contains another is hidden whole.
        self.forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// `text` for people: one line, no control characters, no secrets, at most `DETAIL_LIMIT_CHARS`.
    pub(super) fn detail(&self, text: &str) -> String {
        // Secrets go before the cut, which might leave half of one.
        let mut text = clean(text);
        for form in &self.forms {
            text = text.replace(form.as_str(), REDACTED);
        }
        match text.char_indices().nth(DETAIL_LIMIT_CHARS) {
            Some(_) => text.chars().take(DETAIL_LIMIT_CHARS - 1).chain(['…']).collect(),
            None => text,
        }
    }

    /// A provider's id, when it is one: not empty, not endless, no control or direction characters, no secret.
    pub(super) fn id(&self, text: &str) -> Option<String> {
        let text = text.trim();
        // Forms are searched for as `detail` would show the text: two spaces in a key are one there.
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let shown = if plain { Cow::Borrowed(text) } else { Cow::Owned(clean(text)) };
        let fit = !text.is_empty()
            && text.chars().count() <= ID_LIMIT_CHARS
            && !text.chars().any(|c| c.is_control() || turns_text(c))
            && !self.forms.iter().any(|form| text.contains(form.as_str()) || shown.contains(form.as_str()));
        fit.then(|| text.to_owned())
    }
}

/// Runs of white space become one space; other control characters and bidirectional overrides (which could turn a line
/// of a terminal around) vanish.
fn clean(text: &str) -> String {
    let spaced: String =
        text.chars().filter(|c| c.is_whitespace() || !c.is_control()).filter(|c| !turns_text(*c)).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(secret: &str) -> Redactor {
        let mut redactor = Redactor::default();
        redactor.hide(secret);
        redactor
    }

    #[test]
    fn a_key_with_two_spaces_in_a_row_is_no_part_of_an_id() {
        assert_eq!(redactor("top  secret").id("id top  secret"), None);
        assert_eq!(redactor("top  secret").id("id 1"), Some("id 1".to_owned()));
    }

    #[test]
    fn control_characters_go_and_white_space_collapses() {
        assert_eq!(Redactor::default().detail("a\r\n\t b\u{1b}[31m\0c\u{202e}d"), "a b[31mcd");
    }

    #[test]
    fn long_texts_are_cut() {
        let cut = Redactor::default().detail(&"é".repeat(10_000));
        assert_eq!(cut.chars().count(), DETAIL_LIMIT_CHARS);
        assert!(cut.ends_with('…'));
        assert_eq!(Redactor::default().detail(&"é".repeat(DETAIL_LIMIT_CHARS)).chars().count(), DETAIL_LIMIT_CHARS);
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_even_across_the_cut() {
        let redactor = redactor("top/sec ret==");
        for echo in [
            "top/sec ret==",
            "top%2Fsec%20ret%3D%3D",
            "top%2fsec%20ret%3d%3d",
            "top%2Fsec+ret%3D%3D",
            "top\\/sec ret==",
        ] {
            assert_eq!(redactor.detail(&format!("bad key {echo}!")), "bad key [redacted]!");
        }
        let shown = redactor.detail(&format!("{}top/sec ret==", "x".repeat(DETAIL_LIMIT_CHARS - 6)));
        assert!(!shown.contains("top"), "{shown}");
    }

    #[test]
    fn a_secret_of_which_nothing_visible_is_left_hides_nothing() {
        // Found by fuzzing: an empty form was replaced between any two characters.
        assert_eq!(redactor("\u{1b}\u{1b}\u{1b}\u{1b}").detail("bad key"), "bad key");
        assert_eq!(redactor("\u{202e}\u{202e}\u{202e}a").detail("bad key"), "bad key");
    }

    #[test]
    fn an_id_is_kept_only_when_it_is_one() {
        let redactor = redactor("topsecret");
        assert_eq!(redactor.id(" SM12 "), Some("SM12".into()));
        for bad in ["", "  ", "a\nb", "\u{202e}21MS", "x-topsecret-x", &"9".repeat(201)] {
            assert_eq!(redactor.id(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_passes_a_secret_a_control_character_or_the_limit(
            before in ".{0,400}", secret in "[a-zA-Z0-9/+=]{8,40}", after in any::<String>(),
        ) {
            let shown = redactor(&secret).detail(&format!("{before}{secret}{after}"));
            prop_assert!(!shown.contains(&secret));
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(shown.chars().count() <= DETAIL_LIMIT_CHARS);
        }
    }
}
