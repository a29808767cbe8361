//! What must hold of providers' answers, of secrets in them, and of requests, for any input: one function a property, which
//! the fuzz targets run for hours and the tests for a moment (docs/FUZZING.md). A property that does not hold panics.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::answer::Answer;
use super::config::GenericConfig;
use super::detail::Redactor;
use super::judge::Judge;
use super::request::RequestMaker;
use super::subject::Subject;
use crate::message::encoding::measure;
use crate::message::facts::turns_text;
use crate::message::outcome::{DETAIL_LIMIT_CHARS, Outcome};
use crate::provider::outgoing::Outgoing;

/// The secret that answers try to show.
const KEY: &str = "top/secret==";

/// Longest wait a provider may ask for, as `judge` has it.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Configurations that answers are judged by: none, and one with every kind of rule and extractor.
const JUDGES: &[&str] = &[
    "url = 'http://x/'",
    r#"
url = 'http://x/'
otherwise = 'status'
id = { regex = 'id[:=] ?"?([^"]+)' }
segments = { json = '$..parts' }
retry_after = { json = '$.retry' }
[[match]]
outcome = 'no_credit'
status = [402, '500-599']
json = { path = '$.error.code', in = ['E42', 42] }
[[match]]
outcome = 'rejected'
json = { path = '$..status', regex = '^(bad|no)' }
[[match]]
outcome = 'throttled'
body_regex = '(?i)slow down'
[[match]]
outcome = 'accepted'
status = '200-299'
json = { path = '$.results[0].id', exists = true }
"#,
];

/// Made once, because an input takes less time than the regular expressions.
static JUDGES_MADE: LazyLock<Vec<Judge>> = LazyLock::new(|| {
    let made = JUDGES.iter().filter_map(|config| Judge::new(&toml::from_str(config).ok()?).ok());
    let judges: Vec<_> = made.collect();
    assert_eq!(judges.len(), JUDGES.len(), "a configuration of the fuzz target is wrong");
    judges
});

/// Beginnings for [`answer`]: status, `Retry-After`, `Date`, whether it is whole (empty: no), and the body; one a line.
pub const ANSWER_SEEDS: &[&str] = &[
    "200\n\n\nwhole\n{\"id\": \"SM12\", \"parts\": 2}",
    "200\n\n\n\n{\"id\": \"SM1",
    "202\n\n\nwhole\n{\"results\": [{\"id\": 7, \"status\": \"no funds\"}]}",
    "402\n\n\nwhole\n{\"error\": {\"code\": \"E42\"}, \"key\": \"top\\/secret==\"}",
    "429\n120\n\nwhole\nslow down, top%2Fsecret%3D%3D",
    "503\nFri, 31 Dec 1999 23:59:59 GMT\nSat, 32 Dec 9999 23:59:59 +2400\nwhole\n<html>\u{1b}[2J\u{202e}top/secret==",
    "429\n1e400\n\nwhole\n{\"retry\": \"-1\"}",
];

/// An answer has one outcome, whatever it holds; half a success is none; what is shown of it is one clean line without
/// the secret.
pub fn answer(data: &[u8]) {
    let (head, body) = split(data, 4);
    let header = |text: &String| (!text.is_empty()).then(|| text.clone());
    let [status, retry_after, date, whole] = &head;
    let complete = !whole.is_empty();
    let answer = Answer::new(status.parse().unwrap_or(200), header(retry_after), header(date), body, complete);
    let mut redactor = Redactor::default();
    redactor.hide(KEY);
    for judge in JUDGES_MADE.iter() {
        match judge.judge(&answer, Timestamp::UNIX_EPOCH, &redactor) {
            Outcome::Accepted { provider_message_id, segments } => {
                assert!(complete && (200..300).contains(&answer.status), "{} accepted", answer.status);
                assert!(segments.is_none_or(|count| (1..=255).contains(&count)), "{segments:?}");
                if let Some(id) = provider_message_id {
                    assert!(!id.is_empty() && id.chars().count() <= 200);
                    shown_safely(&id);
                }
            }
            Outcome::Throttled { retry_after, detail } => {
                assert!(retry_after.is_none_or(|wait| wait <= RETRY_AFTER_LIMIT), "{retry_after:?}");
                shown_safely(&detail);
            }
            Outcome::Rejected { detail }
            | Outcome::TemporaryFailure { detail }
            | Outcome::Misconfigured { detail }
            | Outcome::NoCredit { detail }
            | Outcome::Unknown { detail } => shown_safely(&detail),
        }
    }
}

fn shown_safely(text: &str) {
    assert!(text.chars().count() <= DETAIL_LIMIT_CHARS, "{} characters", text.chars().count());
    assert!(!text.chars().any(|c| c.is_control() || turns_text(c)), "{text:?}");
    assert!(!text.contains(KEY), "{text:?} shows the secret");
}

/// Beginnings for [`redaction`]: the secret, then what a provider says; one a line.
pub const REDACTION_SEEDS: &[&str] = &[
    "top/secret==\nbad key top%2Fsecret%3D%3D",
    "a b c d\na+b+c+d a%20b%20c%20d",
    "\u{1b}\u{1b}\u{1b}\u{1b}\nanything",
    "quote\"back\\slash\nquote\\\"back\\\\slash",
    "a\"b \nanything",
];

/// A secret of four visible characters or more is never shown as it is, and what is shown is one line within its limit.
pub fn redaction(data: &[u8]) {
    let ([secret], said) = split(data, 1);
    let said = String::from_utf8_lossy(said);
    let mut redactor = Redactor::default();
    redactor.hide(&secret);
    // White space at its ends is no part of a secret, and runs of it are one space in what is shown.
    let visible = secret.split_whitespace().collect::<Vec<_>>().join(" ").chars().count();
    for text in [said.to_string(), format!("{said}{secret}"), format!("{secret}{said}")] {
        let shown = redactor.detail(&text);
        assert!(shown.chars().count() <= DETAIL_LIMIT_CHARS);
        assert!(!shown.chars().any(|c| c.is_control() || turns_text(c)), "{shown:?}");
        // What stands for a secret may itself hold a very unlucky one.
        let hidden = visible >= 4 && !secret.contains(['[', ']']) && !"redacted".contains(&secret);
        assert!(!hidden || !shown.contains(&secret), "{shown:?} shows {secret:?}");
        if let Some(id) = redactor.id(&text) {
            assert!(!id.chars().any(|c| c.is_control() || turns_text(c)), "{id:?}");
            assert!(!hidden || !id.contains(&secret), "{id:?} shows {secret:?}");
        }
    }
}

/// Between the parts of an input for [`request`].
const PART: &str = "\n----\n";

/// Beginnings for [`request`]: the provider's configuration, the text of a message, the body of an answer.
pub const REQUEST_SEEDS: &[&str] = &[
    "url = 'http://127.0.0.1/send?to={{ phone }}'\nmethod = 'GET'\nbody = 'none'\n[[query]]\nname = 'text'\nvalue = '{{ message }}'\n----\nx&to=+21620000999#\n----\n{}",
    "url = 'https://h/'\nfields = [{ name = '/m/0/text', value = '{{ message }}' }, { name = '/m/0/n', value = '{{ segments }}', type = 'number' }]\n----\n\",\"to\":\"\n----\n[]",
    "url = 'http://h/'\nbody = 'form'\nfields = [{ name = 't', value = '{{ message|upper }}', encoding = 'ucs2-hex' }]\n[auth]\ntype = 'query'\nname = 'k'\n----\n{{ api_key }}\n----\n",
    "url = 'http://h/'\nbody = 'xml'\nbody_text = '<m to=\"{{ phone }}\">{{ message }}</m>'\nnumber_style = 'national'\n----\n]]></m>{% x %}\n----\n<ok/>",
    "url = 'http://h/'\nbody = 'raw'\nbody_text = '{{ message }}'\n[headers]\nX-Text = '{{ message }}'\n[[match]]\noutcome = 'accepted'\njson = { path = '$..a[?@.b > 1]' }\n----\na\r\nX-Evil: 1\n----\n{\"a\":[{\"b\":2}]}",
];

/// A configuration is refused or makes requests, whatever the message: to the one host that it names, with headers of one
/// line, and never with a mistake that shows the secret.
pub fn request(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let mut parts = input.splitn(3, PART);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (config, text, body) = (part(), part(), part());
    // Whoever writes the key into the name of a field has shown it to everybody.
    if config.contains(KEY) {
        return;
    }
    let Ok(mut config) = toml::from_str::<GenericConfig>(&config) else { return };
    config.api_key = Some(KEY.into());
    let _ = (format!("{config:?}"), config.endpoint());
    if let Ok(judge) = Judge::new(&config) {
        let _ = judge.judge(
            &Answer::new(200, None, None, body.as_bytes(), true),
            Timestamp::UNIX_EPOCH,
            &Redactor::default(),
        );
    }
    let Ok(maker) = RequestMaker::of_messages(&config) else { return };
    let measured = measure(&text);
    let message = |text: &str| Outgoing {
        reference: "ecar-1-1".to_owned(),
        recipient: "+21620000001".to_owned(),
        text: text.to_owned(),
        encoding: measured.encoding,
        segments: measured.segments,
        deadline: Duration::from_secs(1),
    };
    if let (Ok(plain), Ok(hostile)) =
        (maker.build(Subject::Message(&message("Bonjour"))), maker.build(Subject::Message(&message(&text))))
    {
        assert_eq!(plain.url().origin(), hostile.url().origin());
        let names = |request: &reqwest::Request| request.headers().keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&plain), names(&hostile));
        assert!(hostile.headers().values().all(|value| !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte))));
    }
    let shown = config.api_key.as_ref().map(ExposeSecret::expose_secret);
    assert!(shown == Some(KEY) && !format!("{config:?}").contains(KEY), "the configuration shows its secret");
}

/// The first `N` lines, and all that follows.
fn split<const N: usize>(data: &[u8], lines: usize) -> ([String; N], &[u8]) {
    let mut parts = data.splitn(lines + 1, |byte| *byte == b'\n');
    let head = std::array::from_fn(|_| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned());
    (head, parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_property_holds_for_the_beginnings_of_the_fuzz_targets() {
        ANSWER_SEEDS.iter().for_each(|seed| answer(seed.as_bytes()));
        REDACTION_SEEDS.iter().for_each(|seed| redaction(seed.as_bytes()));
        REQUEST_SEEDS.iter().for_each(|seed| request(seed.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_answer_has_an_outcome_that_can_be_shown(
            status in prop_oneof![100_u16..600, any::<u16>()],
            head in "[0-9a-zA-Z:,. +-]{0,30}\n[0-9a-zA-Z:,. +-]{0,30}\n(whole)?\n",
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                "[\\[\\]{}\":,a-c0-9 ]{0,60}top/secret==\\PC{0,300}".prop_map(String::into_bytes),
            ],
        ) {
            answer(&[format!("{status}\n{head}").as_bytes(), &body].concat());
        }

        #[test]
        fn no_secret_is_shown_whatever_its_characters(secret in "[^\n]{0,12}", said in any::<String>()) {
            redaction(format!("{secret}\n{said}").as_bytes());
        }

        #[test]
        fn a_text_leaves_no_field_of_any_request(seed in prop::sample::select(REQUEST_SEEDS), text in any::<String>()) {
            let config = seed.split(PART).next().unwrap_or_default();
            request(format!("{config}{PART}{text}{PART}{{}}").as_bytes());
        }
    }
}
