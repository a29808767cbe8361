//! Judging an answer: from status, headers and body to an outcome.
//!
//! Owns the meaning of HTTP statuses when no rule says otherwise, and the texts of the outcomes. Pure: it has no
//! connection and no clock but the time it is given. What it cannot read is unknown, never a guess.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::GenericError;
use super::answer::Answer;
use super::config::{GenericConfig, Otherwise};
use super::detail::Redactor;
use super::extract::Extractor;
use super::rule::{Rule, Verdict, rules};
use crate::message::outcome::Outcome;

/// Longest wait a provider may ask for: one that asks for more is asking for staff.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most segments a provider can claim: 3GPP TS 23.040 counts parts of a message in one octet.
const SEGMENTS_LIMIT: u32 = 255;

/// Most parts of a message: 3GPP TS 23.040 counts them in one octet.
const PARTS_LIMIT: usize = 255;

/// The judge of one provider's answers.
pub(super) struct Judge {
    rules: Vec<Rule<Verdict>>,
    otherwise: Otherwise,
    id: Extractor,
    each_part: bool,
    segments: Option<Extractor>,
    retry_after: Option<Extractor>,
}

impl Judge {
    /// Compiles rules and extractors.
    pub(super) fn new(config: &GenericConfig) -> Result<Self, GenericError> {
        let optional = |key, extractor: &Option<_>| extractor.as_ref().map(|e| Extractor::new(key, e)).transpose();
        Ok(Self {
            rules: rules("match", &config.rules)?,
            otherwise: config.otherwise,
            id: Extractor::of_id("id", config.id.as_ref())?,
            each_part: config.each_part,
            segments: optional("segments", &config.segments)?,
            retry_after: optional("retry_after", &config.retry_after)?,
        })
    }

    /// The outcome an answer means. `now` serves dates in `Retry-After` when the answer carries no `Date`.
    pub(super) fn judge(&self, answer: &Answer, now: Timestamp, redactor: &Redactor) -> Outcome {
        let detail = || redactor.detail(&describe(answer));
        match self.verdict(answer) {
            Verdict::Accepted => Outcome::Accepted {
                provider_message_id: self.find_id(answer, redactor),
                segments: self.find_segments(answer),
            },
            Verdict::Rejected => Outcome::Rejected { detail: detail() },
            Verdict::Temporary => Outcome::TemporaryFailure { detail: detail() },
            Verdict::Throttled => {
                Outcome::Throttled { retry_after: self.find_retry_after(answer, now), detail: detail() }
            }
            Verdict::NoCredit => Outcome::NoCredit { detail: detail() },
            Verdict::Misconfigured => Outcome::Misconfigured { detail: detail() },
            Verdict::Unknown => Outcome::Unknown { detail: detail() },
        }
    }

    fn verdict(&self, answer: &Answer) -> Verdict {
        // The part that was not read may say anything, an error included: no rule may accept, nor reject, half a success.
        if (200..300).contains(&answer.status) && !answer.complete {
            return Verdict::Unknown;
        }
        match self.rules.iter().find(|rule| rule.matches(answer)) {
            Some(rule) => rule.verdict,
            None if self.rules.is_empty() => verdict_of_status(answer),
            None => match self.otherwise {
                Otherwise::Status => verdict_of_status(answer),
                Otherwise::Unknown => Verdict::Unknown,
            },
        }
    }

    /// The provider's id; with `each_part`, those of all parts, as the receipts of each will name them.
    fn find_id(&self, answer: &Answer, redactor: &Redactor) -> Option<String> {
        if !self.each_part {
            return self.id.find(answer).and_then(|id| redactor.id(&id));
        }
        let ids: Vec<String> = self.id.find_all(answer).iter().filter_map(|id| redactor.id(id)).collect();
        let fit = !ids.is_empty() && ids.len() <= PARTS_LIMIT && !ids.iter().any(|id| id.contains(char::is_whitespace));
        fit.then(|| ids.join(" "))
    }

    fn find_segments(&self, answer: &Answer) -> Option<u32> {
        let count = self.segments.as_ref()?.find(answer)?.trim().parse().ok()?;
        (1..=SEGMENTS_LIMIT).contains(&count).then_some(count)
    }

    fn find_retry_after(&self, answer: &Answer, now: Timestamp) -> Option<Duration> {
        let configured = self.retry_after.as_ref().and_then(|extractor| extractor.find(answer));
        let wait = configured.and_then(|text| seconds(&text)).or_else(|| {
            answer.retry_after.as_deref().and_then(|text| retry_after(text, answer.date.as_deref(), now))
        })?;
        Some(wait.min(RETRY_AFTER_LIMIT))
    }
}

/// What a status means by itself (RFC 9110, section 15).
fn verdict_of_status(answer: &Answer) -> Verdict {
    match answer.status {
        // A page of HTML with status 200 comes from a portal or a proxy, not from a gateway.
        200..=299 if answer.json.is_some() => Verdict::Accepted,
        // "See other" is how a form says that it was processed: the one redirect that may have sent.
        303 => Verdict::Unknown,
        // By definition the request was not carried out here and must be made elsewhere (or, 304, is no answer to a
        // send at all). We never follow, so nothing was sent; the URL is wrong for every message.
        300..=399 => Verdict::Misconfigured,
        // Refused before the message was looked at: credentials, or a URL or method that is wrong for every message.
        401 | 403 | 404 | 405 | 406 | 407 | 410 | 411 | 415 | 417 | 421 | 426 => Verdict::Misconfigured,
        402 => Verdict::NoCredit,
        // This message is not acceptable; the next one may be.
        400 | 413 | 414 | 422 | 431 | 451 => Verdict::Rejected,
        429 => Verdict::Throttled,
        // A server that says when to come back has refused on purpose; any other 5xx may have failed half-way.
        503 if answer.retry_after.is_some() => Verdict::Throttled,
        // 408 and 409 (a time-out, a conflict with an earlier copy) leave open whether something was sent; so do other
        // 5xx, gateways in between (502, 504) first of all, and statuses nobody defined.
        _ => Verdict::Unknown,
    }
}

/// One line for people: status, what is missing, and the beginning of the body.
fn describe(answer: &Answer) -> String {
    let cut = if answer.complete { "" } else { " (answer not read to its end)" };
    match answer.body.trim() {
        "" => format!("HTTP {}{cut}", answer.status),
        body => format!("HTTP {}{cut}: {body}", answer.status),
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds or a date, at most `RETRY_AFTER_LIMIT`.
pub(super) fn retry_after(text: &str, date: Option<&str>, now: Timestamp) -> Option<Duration> {
    seconds(text).or_else(|| {
        // A wrong weekday is no reason to ignore a date.
        let parser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
        let until = parser.parse_timestamp(text.trim()).ok()?;
        let since = date.and_then(|date| parser.parse_timestamp(date.trim()).ok()).unwrap_or(now);
        // A date that has passed means: at once.
        Some(Duration::try_from(until.duration_since(since)).unwrap_or(Duration::ZERO).min(RETRY_AFTER_LIMIT))
    })
}

/// Whole or fractional seconds, not negative, at most `RETRY_AFTER_LIMIT`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    // Infinite and negative values are refused here.
    Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(RETRY_AFTER_LIMIT))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(config: &str) -> Judge {
        let config = format!("url = 'http://x/'\n{config}");
        Judge::new(&toml::from_str(&config).unwrap()).unwrap()
    }

    fn outcome(config: &str, answer: &Answer) -> Outcome {
        judge(config).judge(answer, "2026-01-01T00:00:00Z".parse().unwrap(), &Redactor::default())
    }

    #[test]
    fn every_status_has_its_documented_meaning() {
        for (word, statuses) in [
            ("accepted", &[200, 201, 202, 299][..]),
            (
                "misconfigured",
                &[300, 301, 302, 304, 307, 308, 401, 403, 404, 405, 406, 407, 410, 411, 415, 417, 421, 426],
            ),
            ("no_credit", &[402]),
            ("rejected", &[400, 413, 414, 422, 431, 451]),
            ("throttled", &[429]),
            ("unknown", &[101, 303, 408, 409, 420, 425, 444, 499, 500, 501, 502, 503, 504, 505, 520, 599, 999]),
        ] {
            for status in statuses {
                assert_eq!(outcome("", &Answer::of(*status, "{}")).word(), word, "{status}");
            }
        }
    }

    #[test]
    fn a_success_without_json_is_unknown() {
        for body in ["", "OK", "<html>200</html>", "{\"id\":", &"[".repeat(100_000)] {
            assert_eq!(outcome("", &Answer::of(200, body)).word(), "unknown");
        }
        assert_eq!(outcome("", &Answer::of(200, "\u{feff}{}")).word(), "accepted");
    }

    #[test]
    fn a_success_that_was_not_read_to_its_end_is_unknown_whatever_the_rules_say() {
        let cut = Answer::new(200, None, None, b"{}", false);
        assert_eq!(outcome("", &cut).word(), "unknown");
        assert_eq!(outcome("[[match]]\noutcome = 'accepted'", &cut).word(), "unknown");
        let refused = Answer::new(400, None, None, b"{\"err", false);
        assert_eq!(outcome("", &refused).word(), "rejected");
    }

    #[test]
    fn the_first_rule_wins_and_without_one_the_answer_is_unknown() {
        let rules = "[[match]]\noutcome = 'no_credit'\njson = { path = '$.code', equals = 402 }\n\
                     [[match]]\noutcome = 'accepted'\nstatus = 200";
        assert_eq!(outcome(rules, &Answer::of(200, r#"{"code":"402"}"#)).word(), "no_credit");
        assert_eq!(outcome(rules, &Answer::of(200, r#"{"code":"200"}"#)).word(), "accepted");
        assert_eq!(outcome(rules, &Answer::of(400, "{}")).word(), "unknown");
        assert_eq!(outcome(&format!("otherwise = 'status'\n{rules}"), &Answer::of(400, "{}")).word(), "rejected");
    }

    #[test]
    fn every_word_of_a_rule_gives_its_outcome() {
        for (rule, word) in [
            ("accepted", "accepted"),
            ("rejected", "rejected"),
            ("temporary", "temporary_failure"),
            ("throttled", "throttled"),
            ("no_credit", "no_credit"),
            ("misconfigured", "misconfigured"),
            ("unknown", "unknown"),
        ] {
            let rules = format!("[[match]]\noutcome = '{rule}'");
            assert_eq!(outcome(&rules, &Answer::of(200, "x")).word(), word);
        }
    }

    #[test]
    fn ids_and_segments_are_found_where_they_usually_or_as_configured_are() {
        for body in [r#"{"id":"7"}"#, r#"{"message_id":7}"#, r#"{"messageId":"7"}"#, r#"{"sid":"7","id":null}"#] {
            let expected = Outcome::Accepted { provider_message_id: Some("7".into()), segments: None };
            assert_eq!(outcome("", &Answer::of(200, body)), expected, "{body}");
        }
        let config = "id = { json = '$.data.ref' }\nsegments = { json = '$.parts' }";
        for (parts, segments) in [("\"2\"", Some(2)), ("3", Some(3)), ("0", None), ("-1", None), ("1e9", None)] {
            let body = format!(r#"{{"id":1,"data":{{"ref":9}},"parts":{parts}}}"#);
            let expected = Outcome::Accepted { provider_message_id: Some("9".into()), segments };
            assert_eq!(outcome(config, &Answer::of(200, &body)), expected, "{body}");
        }
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_bounded() {
        let date = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        for (text, date, expected) in [
            ("30", None, Some(30)),
            (" 0 ", None, Some(0)),
            ("99999999999", None, Some(86_400)),
            ("-5", None, None),
            ("inf", None, None),
            ("soon", None, None),
            ("", None, None),
            ("Wed, 21 Oct 2015 07:29:30 GMT", date, Some(90)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", date, Some(0)),
            ("Thu, 01 Jan 2026 00:01:00 GMT", None, Some(60)),
            ("Thu, 01 Jan 2026 00:01:00 GMT", Some("nonsense"), Some(60)),
            ("Fri, 01 Jan 2100 00:00:00 GMT", date, Some(86_400)),
        ] {
            let answer = Answer::new(429, Some(text.into()), date.map(str::to_owned), b"", true);
            let Outcome::Throttled { retry_after, .. } = outcome("", &answer) else { panic!("{text}") };
            assert_eq!(retry_after, expected.map(Duration::from_secs), "{text}");
        }
        let answer = Answer::of(429, r#"{"wait":12}"#);
        let Outcome::Throttled { retry_after, .. } = outcome("retry_after = { json = '$.wait' }", &answer) else {
            panic!()
        };
        assert_eq!(retry_after, Some(Duration::from_secs(12)));
    }

    #[test]
    fn a_503_is_a_throttle_only_when_it_says_when_to_come_back() {
        let busy = Answer::new(503, Some("5".into()), None, b"", true);
        assert_eq!(outcome("", &busy).word(), "throttled");
        assert_eq!(outcome("", &Answer::of(503, "{}")).word(), "unknown");
    }

    proptest! {
        #[test]
        fn no_answer_panics(status: u16, retry: Option<String>, date: Option<String>, body: Vec<u8>, complete: bool) {
            let answer = Answer::new(status, retry, date, &body, complete);
            let outcome = outcome("segments = { json = '$' }", &answer);
            prop_assert!(complete || outcome.word() != "accepted");
        }
    }
}
