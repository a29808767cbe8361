//! One rule of a script: which messages it takes, and what is done to them.
//!
//! Owns the words of a `[[rule]]` and what makes one contradict itself. Pure; how often a rule was used is the
//! director's.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Longest latency, jitter, receipt delay and silence: one hour. Longer than any client waits, short enough to end by
/// itself.
pub const MAX_DELAY: Duration = Duration::from_secs(3600);
/// Longest code of a vendor, bytes; the longest known are about ten.
const MAX_CODE_BYTES: usize = 32;

/// A wait of at most [`MAX_DELAY`], written `50ms`, `2s`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Delay(pub(super) Duration);

impl TryFrom<String> for Delay {
    type Error = String;

    fn try_from(text: String) -> Result<Delay, String> {
        let delay =
            humantime::parse_duration(&text).map_err(|error| format!("not a duration such as 50ms or 2s: {error}"))?;
        if delay > MAX_DELAY {
            return Err("a delay is at most 1h".to_owned());
        }
        Ok(Delay(delay))
    }
}

/// A final HTTP status, 200 to 599: what a server may answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Status(pub(super) StatusCode);

impl TryFrom<i64> for Status {
    type Error = &'static str;

    fn try_from(code: i64) -> Result<Status, &'static str> {
        u16::try_from(code)
            .ok()
            .filter(|code| (200..=599).contains(code))
            .and_then(|code| StatusCode::from_u16(code).ok())
            .map(Status)
            .ok_or("a status is between 200 and 599")
    }
}

/// Ways to misbehave beyond an HTTP status. Every one but the first records the message before it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// TCP reset once the request's head is seen, its body unread: nothing was received. The only rule that knows no
    /// phone.
    ResetBeforeRead,
    /// Whole request read, then TCP reset instead of an answer.
    ResetAfterRead,
    /// Whole request read, then an orderly close instead of an answer.
    CloseAfterRead,
    /// Whole request read, then nothing, for [`MAX_DELAY`] or until the client leaves.
    Silence,
    /// A head that promises more body than follows before the close.
    Truncated,
    /// 200 with an HTML page.
    NoJson,
    /// 200 with a body of 100 MB.
    Huge,
    /// 200 with a body that goes on, a byte at a time, for [`MAX_DELAY`].
    Endless,
    /// 307 to `/elsewhere` on this gateway; there the rule does not match, so that a client that follows is caught
    /// once.
    Redirect,
    /// Bytes that are not HTTP.
    Garbage,
}

impl Fault {
    /// The word of the script.
    pub fn word(self) -> &'static str {
        match self {
            Fault::ResetBeforeRead => "reset_before_read",
            Fault::ResetAfterRead => "reset_after_read",
            Fault::CloseAfterRead => "close_after_read",
            Fault::Silence => "silence",
            Fault::Truncated => "truncated",
            Fault::NoJson => "no_json",
            Fault::Huge => "huge",
            Fault::Endless => "endless",
            Fault::Redirect => "redirect",
            Fault::Garbage => "garbage",
        }
    }
}

/// One rule: which messages, and what is done to them.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) phone: Option<PhonePattern>,
    pub(super) contains: Option<String>,
    /// Matches let pass before the first that is acted upon.
    pub(super) from: u64,
    /// Matches acted upon; none means all.
    pub(super) times: Option<u64>,
    /// Instead of the script's latency and jitter.
    pub(super) latency: Option<Duration>,
    pub(super) action: Action,
}

/// What a rule does.
#[derive(Debug)]
pub(super) enum Action {
    /// An ordinary HTTP answer. No body means the gateway's own: an id for 2xx, an error otherwise.
    Answer {
        status: StatusCode,
        body: Option<Bytes>,
        headers: HeaderMap,
        /// Whether this is 2xx with JSON, which tells the client that the message was taken.
        accepts: bool,
    },
    /// The error of this code, in the shape of the vendor who is asked. The generic protocol has no codes: it answers the
    /// status, or 400.
    Refuse { code: String, status: Option<StatusCode>, headers: HeaderMap },
    /// Anything worse.
    Fault(Fault),
}

/// A phone number, or the beginning of one.
#[derive(Debug)]
pub(super) enum PhonePattern {
    Exact(String),
    Prefix(String),
}

impl PhonePattern {
    pub(super) fn matches(&self, phone: &str) -> bool {
        match self {
            PhonePattern::Exact(wanted) => phone == wanted,
            PhonePattern::Prefix(prefix) => phone.starts_with(prefix.as_str()),
        }
    }
}

/// A vendor's error code, written as a number or as text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub(super) struct Code(pub(super) String);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(i64),
    Text(String),
}

impl TryFrom<NumberOrText> for Code {
    type Error = &'static str;

    fn try_from(code: NumberOrText) -> Result<Code, &'static str> {
        let code = match code {
            NumberOrText::Number(number) => number.to_string(),
            NumberOrText::Text(text) => text,
        };
        let fits = (1..=MAX_CODE_BYTES).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Code(code)) } else { Err("a code is a number, or 1 to 32 letters and digits") }
    }
}

/// A rule as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    phone: Option<String>,
    contains: Option<String>,
    #[serde(default)]
    from: u64,
    times: Option<u64>,
    status: Option<Status>,
    body: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    latency: Option<Delay>,
    fault: Option<Fault>,
    code: Option<Code>,
}

impl TryFrom<RawRule> for Rule {
    type Error = String;

    fn try_from(raw: RawRule) -> Result<Rule, String> {
        let (answers, knows_message) = (
            raw.status.is_some() || raw.body.is_some() || raw.headers.is_some() || raw.code.is_some(),
            raw.phone.is_some() || raw.contains.is_some(),
        );
        let action = match raw.fault {
            Some(_) if answers => return Err("a rule has either a fault or code, status, body and headers".to_owned()),
            Some(Fault::ResetBeforeRead) if knows_message => {
                return Err("reset_before_read acts before phone and text are known: no phone, no contains".to_owned());
            }
            Some(fault) => Action::Fault(fault),
            None => match raw.code {
                Some(_) if raw.body.is_some() => return Err("a rule with a code has no body of its own".to_owned()),
                Some(Code(code)) => Action::Refuse {
                    code,
                    status: raw.status.map(|status| status.0),
                    headers: headers(raw.headers.unwrap_or_default())?,
                },
                None => answer(raw.status, raw.body, raw.headers)?,
            },
        };
        if raw.times == Some(0) {
            return Err("times is at least 1; leave it out for every time".to_owned());
        }
        Ok(Rule {
            phone: raw.phone.map(pattern).transpose()?,
            contains: raw.contains,
            from: raw.from,
            times: raw.times,
            latency: raw.latency.map(|delay| delay.0),
            action,
        })
    }
}

fn answer(
    status: Option<Status>,
    body: Option<String>,
    written: Option<BTreeMap<String, String>>,
) -> Result<Action, String> {
    let status = status.map_or(StatusCode::OK, |status| status.0);
    let json = body.as_deref().is_none_or(|body| serde_json::from_str::<IgnoredAny>(body).is_ok());
    Ok(Action::Answer {
        status,
        body: body.map(Bytes::from),
        headers: headers(written.unwrap_or_default())?,
        accepts: json && status.is_success() && status != StatusCode::NO_CONTENT,
    })
}

fn pattern(text: String) -> Result<PhonePattern, String> {
    match text.split_once('*') {
        None => Ok(PhonePattern::Exact(text)),
        Some((prefix, "")) => Ok(PhonePattern::Prefix(prefix.to_owned())),
        Some(_) => Err("a phone may have one *, at its end".to_owned()),
    }
}

fn headers(written: BTreeMap<String, String>) -> Result<HeaderMap, String> {
    written
        .into_iter()
        .map(|(name, value)| {
            let header =
                HeaderName::try_from(&name).map_err(|_| format!("{} is not a header name", name.escape_debug()))?;
            // These describe the bytes on the wire; hyper writes them, and faults are there to lie about them.
            if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&header) {
                return Err(format!("{header} cannot be scripted; use a fault"));
            }
            let value = HeaderValue::try_from(value).map_err(|_| format!("{header} has a value no header may have"))?;
            Ok((header, value))
        })
        .collect()
}
