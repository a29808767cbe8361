//! One rule about answers: conditions, and the outcome they mean.
//!
//! Owns the shape of `match` and its evaluation, for sends and for look-ups, whose outcomes have words of their own. All conditions of a rule must hold; a rule without any always
//! holds, which makes a last rule a default. Rules never see a success whose body was not read to its end.

use std::ops::RangeInclusive;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::GenericError;
use super::answer::Answer;
use super::extract::{json_path, regex, scalar_text};

/// Most rules: one for each code of the longest documented list seen leaves room.
const RULES_LIMIT: usize = 200;

/// What the answer to a send means. The words of `outcome` in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The provider took the message.
    Accepted,
    /// Refused for good; nothing was sent.
    Rejected,
    /// Nothing was sent; worth another try.
    Temporary,
    /// Refused because of our rate; nothing was sent.
    Throttled,
    /// The account is empty; nothing was sent.
    NoCredit,
    /// Credentials or configuration are wrong; nothing was sent.
    Misconfigured,
    /// The message may have been sent.
    Unknown,
}

/// What the answer to a look-up means. The words of `outcome` in its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupVerdict {
    /// By reference: the provider took the message. By recipient: the answer is the list, and is to be compared.
    Taken,
    /// It knows of none.
    Absent,
    /// It does not tell: ask again later.
    Unclear,
}

/// One rule of `match`; `V` is what it decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig<V = Verdict> {
    /// What the answer means when all conditions hold.
    pub outcome: V,
    /// HTTP status: a code, a range such as `"200-299"`, or a list of both.
    #[serde(default)]
    pub status: Option<StatusConfig>,
    /// A condition on the JSON body.
    #[serde(default)]
    pub json: Option<JsonConfig>,
    /// A regular expression that the body must match somewhere.
    #[serde(default)]
    pub body_regex: Option<String>,
}

/// Statuses a rule is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a status such as 200 or \"200-299\", or a list of them")]
#[allow(missing_docs)]
pub enum StatusConfig {
    One(StatusRange),
    Many(Vec<StatusRange>),
}

/// One status, or one range of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a status such as 200 or \"200-299\"")]
#[allow(missing_docs)]
pub enum StatusRange {
    Code(u16),
    Text(String),
}

/// A condition on a JSON body. It holds when it holds for any of the values the path finds. A body that is no JSON has
/// no values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonConfig {
    /// JSON path (RFC 9535), for example `$.status` or `$.messages[?@.status != "0"]`.
    pub path: String,
    /// The value, compared as text: `200` equals `"200"`.
    #[serde(default)]
    pub equals: Option<Scalar>,
    /// One of these values.
    #[serde(default, rename = "in")]
    pub one_of: Option<Vec<Scalar>>,
    /// A regular expression over the value's text.
    #[serde(default)]
    pub regex: Option<String>,
    /// Whether the path finds anything.
    #[serde(default)]
    pub exists: Option<bool>,
}

/// A value to compare with.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a string, an integer or a boolean")]
#[allow(missing_docs)]
pub enum Scalar {
    Boolean(bool),
    Integer(i64),
    Text(String),
}

impl Scalar {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Boolean(b) => b.to_string(),
            Self::Integer(i) => i.to_string(),
            Self::Text(s) => s.clone(),
        }
    }
}

/// A checked rule.
pub(super) struct Rule<V> {
    pub(super) verdict: V,
    statuses: Option<Vec<RangeInclusive<u16>>>,
    json: Option<JsonTest>,
    body: Option<Regex>,
}

/// A checked condition on JSON.
pub(super) struct JsonTest {
    path: JsonPath,
    test: Test,
}

/// The checked condition on the values a path finds.
enum Test {
    OneOf(Vec<String>),
    Regex(Regex),
    Exists(bool),
}

/// Compiles the list of rules found under `key`.
pub(super) fn rules<V: Copy>(key: &str, configs: &[RuleConfig<V>]) -> Result<Vec<Rule<V>>, GenericError> {
    if configs.len() > RULES_LIMIT {
        return Err(GenericError::key(key, format!("more than {RULES_LIMIT} rules")));
    }
    configs.iter().enumerate().map(|(at, config)| Rule::new(&format!("{key}[{at}]"), config)).collect()
}

impl<V: Copy> Rule<V> {
    /// Compiles the rule found under `key`.
    fn new(key: &str, config: &RuleConfig<V>) -> Result<Self, GenericError> {
        let statuses = match &config.status {
            None => None,
            Some(StatusConfig::One(range)) => Some(vec![status_range(key, range)?]),
            Some(StatusConfig::Many(ranges)) => {
                Some(ranges.iter().map(|range| status_range(key, range)).collect::<Result<_, _>>()?)
            }
        };
        let json = config.json.as_ref().map(|json| JsonTest::new(&format!("{key}.json"), json)).transpose()?;
        let body = config.body_regex.as_ref().map(|p| regex(&format!("{key}.body_regex"), p)).transpose()?;
        Ok(Self { verdict: config.outcome, statuses, json, body })
    }

    /// Whether all conditions hold.
    pub(super) fn matches(&self, answer: &Answer) -> bool {
        self.statuses.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(&answer.status)))
            && self.json.as_ref().is_none_or(|test| test.holds(answer.json.as_ref()))
            && self.body.as_ref().is_none_or(|regex| regex.is_match(&answer.body))
    }
}

impl JsonTest {
    /// Compiles the condition found under `key`.
    pub(super) fn new(key: &str, config: &JsonConfig) -> Result<Self, GenericError> {
        Ok(Self { path: json_path(&format!("{key}.path"), &config.path)?, test: test(key, config)? })
    }

    /// Whether it holds for `json`; what is no JSON has no values.
    pub(super) fn holds(&self, json: Option<&Value>) -> bool {
        let found = json.map(|json| self.path.query(json).all()).unwrap_or_default();
        let mut texts = found.iter().filter_map(|value| scalar_text(value));
        match &self.test {
            Test::OneOf(allowed) => texts.any(|text| allowed.contains(&text)),
            Test::Regex(regex) => texts.any(|text| regex.is_match(&text)),
            Test::Exists(wanted) => *wanted != found.is_empty(),
        }
    }
}

fn test(key: &str, config: &JsonConfig) -> Result<Test, GenericError> {
    match (&config.equals, &config.one_of, &config.regex, config.exists) {
        (Some(value), None, None, None) => Ok(Test::OneOf(vec![value.text()])),
        (None, Some(values), None, None) => Ok(Test::OneOf(values.iter().map(Scalar::text).collect())),
        (None, None, Some(pattern), None) => Ok(Test::Regex(regex(&format!("{key}.regex"), pattern)?)),
        (None, None, None, wanted) => Ok(Test::Exists(wanted.unwrap_or(true))),
        _ => Err(GenericError::key(key, "takes one of `equals`, `in`, `regex`, `exists`")),
    }
}

fn status_range(key: &str, range: &StatusRange) -> Result<RangeInclusive<u16>, GenericError> {
    let (from, to) = match range {
        StatusRange::Code(code) => (Some(*code), Some(*code)),
        StatusRange::Text(text) => {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            (from.trim().parse().ok(), to.trim().parse().ok())
        }
    };
    match (from, to) {
        (Some(from), Some(to)) if 100 <= from && from <= to && to <= 599 => Ok(from..=to),
        _ => Err(GenericError::key(format!("{key}.status"), "takes a code from 100 to 599 or a range \"200-299\"")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> Result<Rule<Verdict>, GenericError> {
        Rule::new("match[0]", &toml::from_str(text).unwrap())
    }

    fn matches(text: &str, status: u16, body: &str) -> bool {
        rule(&format!("outcome = 'accepted'\n{text}")).unwrap().matches(&Answer::of(status, body))
    }

    #[test]
    fn statuses_are_codes_ranges_and_lists() {
        assert!(matches("status = 200", 200, ""));
        assert!(!matches("status = 200", 201, ""));
        assert!(matches("status = '200-299'", 299, ""));
        assert!(!matches("status = '200-299'", 300, ""));
        assert!(matches("status = [404, '500-599']", 502, ""));
        assert!(!matches("status = []", 200, ""));
    }

    #[test]
    fn json_values_compare_as_text_and_any_value_suffices() {
        let equals = "json = { path = '$.status', equals = 200 }";
        assert!(matches(equals, 200, r#"{"status":"200"}"#));
        assert!(matches(equals, 200, r#"{"status":200}"#));
        assert!(!matches(equals, 200, r#"{"status":"2000"}"#));
        assert!(!matches(equals, 200, "no json"));
        assert!(matches("json = { path = '$.m[*].s', in = ['1', 5] }", 200, r#"{"m":[{"s":"0"},{"s":"5"}]}"#));
        assert!(matches("json = { path = '$.ok', equals = true }", 200, r#"{"ok":true}"#));
        assert!(matches("json = { path = '$.e', regex = '^20' }", 200, r#"{"e":2010}"#));
    }

    #[test]
    fn existence_can_be_asked_both_ways() {
        assert!(matches("json = { path = '$.error', exists = true }", 200, r#"{"error":null}"#));
        assert!(matches("json = { path = '$.error', exists = false }", 200, "{}"));
        assert!(!matches("json = { path = '$.error', exists = false }", 200, r#"{"error":{}}"#));
    }

    #[test]
    fn all_conditions_must_hold_and_none_always_hold() {
        let both = "status = 200\nbody_regex = '^OK'";
        assert!(matches(both, 200, "OK 1"));
        assert!(!matches(both, 500, "OK 1"));
        assert!(!matches(both, 200, "KO"));
        assert!(matches("", 599, ""));
    }

    #[test]
    fn bad_rules_are_refused_with_their_key() {
        for (text, key) in [
            ("status = 42", "match[0].status"),
            ("status = '299-200'", "match[0].status"),
            ("status = 'ok'", "match[0].status"),
            ("json = { path = 'a b' }", "match[0].json.path"),
            ("json = { path = '$.a', equals = 1, exists = true }", "match[0].json"),
            ("json = { path = '$.a', regex = '(' }", "match[0].json.regex"),
            ("body_regex = '('", "match[0].body_regex"),
        ] {
            let error = rule(&format!("outcome = 'accepted'\n{text}")).err().unwrap().to_string();
            assert!(error.starts_with(&format!("{key}: ")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_status_text_panics(text in "[-0-9 ]{0,12}|\\PC{0,12}") {
            let _ = status_range("k", &StatusRange::Text(text));
        }
    }
}
