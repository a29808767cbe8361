//! What a gateway is told to do wrong: the script, a TOML text.
//!
//! Owns the words of the script and their limits; a [`Script`] that exists is valid, so the rest of the gateway checks
//! nothing again. Must never hold state: which rule has been used how often belongs to the director. A bad text is
//! refused as a whole, with the line, and whatever script was in force stays.
//!
//! ```toml
//! api_key = "test-key"          # any other key is answered 401
//! latency = "50ms"              # before every answer, plus a random part below `jitter`
//! jitter = "20ms"
//! seed = 7                      # the same dice every run
//! error_rate = 0.01             # of the messages no rule took, this share is answered error_status
//! error_status = 503
//! error_takes = false           # true: what is answered 5xx is taken all the same, and its customer gets a text
//! lookup = ["reference", "recipient"]   # how it may be asked about messages; what is not listed is answered 501
//! deduplicate = false           # true: a reference taken before is answered 200 with the first id, and not sent again
//!
//! key = "test-token"            # what the simulated vendors accept; without it anything that is not empty
//! secret = "test-secret"        # what they sign their pushes with; without it the key
//! push_url = "http://127.0.0.1:9000/push"   # where those push who register one address for an account
//!
//! [vendor.orange]               # the same for one vendor alone, and:
//! key = "test-secret"
//! token_life = "1h"             # of OAuth tokens (Orange)
//! balance = 12.5                # what it tells of the credit
//! push_as = "json"              # or "form", "get" (Vonage)
//!
//! [receipts]                    # without this section a generic message has none, and one to a vendor a true one at once
//! url = "http://127.0.0.1:9000/receipts"   # of generic messages; the rest of this line's section but `after` is for vendors
//! after = "1s"
//! status = "delivered"          # of generic messages
//! undelivered = 0.1             # this share of the messages does not reach its customer
//! code = 30005                  # the vendor's code for that
//! lost = 0.0                    # this share has no receipt
//! twice = 0.1                   # this share has its last receipt twice
//! disorder = 0.1                # this share has its receipts from last to first
//! early = 0.1                   # this share has them before the request is answered
//! forged = 0.1                  # this share has a forged one first, which says the contrary
//! intermediate = true           # states before the last are told too, by vendors who tell them
//! ids = "as_given"              # or "hex", "decimal": the other form of ids that are numbers
//! via = "http://127.0.0.1:9000" # every push goes to this host, whatever host its address names
//!
//! [smpp]                        # what `--smpp` plays beside all this; `api_key` is the password
//! system_id = "ecar"            # any other is refused
//! submit_ids = "decimal"        # how ids are written when a message is taken, and in receipts: or "hex"
//! receipt_ids = "hex"
//! receipts = "100ms"            # a receipt for each message that was taken, after this time
//! stat = "DELIVRD"
//! binds = 1                     # most at one time
//!
//! [[rule]]                      # in order; the first that matches wins
//! phone = "+2162000*"           # exact, or a prefix with * at the end
//! contains = "facture"          # in the text
//! from = 2                      # let the first two matches pass
//! times = 3                     # then act on three of them
//! status = 429                  # or: fault = "silence"; or: code = 21610, a vendor's error in its own shape
//! headers = { "Retry-After" = "2" }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;

use super::account::{Account, Accounts, Key, PushUrl};
use super::dialect::vendor::Vendor;
use super::receipts::{Receipts, Share};
use super::rule::{Delay, RawRule, Rule, Status};

/// Most rules in one script; every message walks them all under a lock.
pub const MAX_RULES: usize = 1_000;

/// A script could not be read. The text of the script is never repeated, since it may hold an API key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ScriptError {
    /// Line of the mistake, from 1.
    pub line: usize,
    /// Column of the mistake in characters, from 1.
    pub column: usize,
    /// What is wrong with it.
    pub what: String,
}

impl ScriptError {
    fn at(text: &str, offset: usize, what: String) -> ScriptError {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ScriptError { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, what }
    }
}

/// How a gateway behaves. The default accepts every message at once.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub(super) api_key: Option<Key>,
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) seed: Option<u64>,
    pub(super) error_rate: Share,
    pub(super) error_status: ErrorStatus,
    /// Whether a message answered 5xx is taken all the same.
    pub(super) error_takes: bool,
    pub(super) lookups: Lookups,
    /// Whether a reference that was taken before is recognised.
    pub(super) deduplicate: bool,
    pub(super) receipts: Option<Arc<Receipts>>,
    pub(super) accounts: Accounts,
    pub(super) smpp: Arc<SmppScript>,
    /// In their order, at most [`MAX_RULES`].
    pub(super) rules: Vec<Arc<Rule>>,
}

impl Script {
    /// Reads a script, written as the module page shows.
    ///
    /// # Errors
    /// [`ScriptError`] names the line of anything that is not TOML, not a known key, or out of its range.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let written: Written = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            ScriptError::at(text, start, error.message().to_owned())
        })?;
        let mut rules = Vec::new();
        for rule in written.rule {
            let start = rule.span().start;
            if rules.len() == MAX_RULES {
                return Err(ScriptError::at(text, start, format!("at most {MAX_RULES} rules")));
            }
            let rule = Rule::try_from(rule.into_inner()).map_err(|what| ScriptError::at(text, start, what))?;
            rules.push(Arc::new(rule));
        }
        Ok(Script {
            api_key: written.api_key,
            latency: written.latency.0,
            jitter: written.jitter.0,
            seed: written.seed,
            error_rate: written.error_rate,
            error_status: written.error_status,
            error_takes: written.error_takes,
            lookups: written.lookup,
            deduplicate: written.deduplicate,
            receipts: written.receipts.map(Arc::new),
            accounts: Accounts::new(Account::common(written.key, written.secret, written.push_url), written.vendor),
            smpp: Arc::new(written.smpp),
            rules,
        })
    }
}

/// A script as written, its rules not yet held against each other's fields; they remember their lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    api_key: Option<Key>,
    #[serde(default)]
    latency: Delay,
    #[serde(default)]
    jitter: Delay,
    seed: Option<u64>,
    #[serde(default)]
    error_rate: Share,
    #[serde(default)]
    error_status: ErrorStatus,
    #[serde(default)]
    error_takes: bool,
    #[serde(default)]
    lookup: Lookups,
    #[serde(default)]
    deduplicate: bool,
    receipts: Option<Receipts>,
    key: Option<Key>,
    secret: Option<Key>,
    push_url: Option<PushUrl>,
    #[serde(default)]
    vendor: BTreeMap<Vendor, Account>,
    #[serde(default)]
    smpp: SmppScript,
    #[serde(default)]
    rule: Vec<toml::Spanned<RawRule>>,
}

/// The status of the random errors, 300 to 599; 503 when the script does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Status")]
pub(super) struct ErrorStatus(pub(super) StatusCode);

impl Default for ErrorStatus {
    fn default() -> Self {
        ErrorStatus(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl TryFrom<Status> for ErrorStatus {
    type Error = &'static str;

    fn try_from(status: Status) -> Result<ErrorStatus, &'static str> {
        if status.0.is_success() { Err("an error_status is between 300 and 599") } else { Ok(ErrorStatus(status.0)) }
    }
}

/// One way to ask about messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lookup {
    Reference,
    Recipient,
}

/// The ways to ask that are answered; all when the script does not say.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Lookups(Vec<Lookup>);

impl Lookups {
    pub(super) fn offer(&self, lookup: Lookup) -> bool {
        self.0.contains(&lookup)
    }
}

impl Default for Lookups {
    fn default() -> Self {
        Lookups(vec![Lookup::Reference, Lookup::Recipient])
    }
}

/// How a message centre writes ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdForm {
    #[default]
    Decimal,
    Hex,
}

/// The message centre.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SmppScript {
    pub(super) system_id: Option<String>,
    pub(super) submit_ids: IdForm,
    pub(super) receipt_ids: IdForm,
    pub(super) receipts: Option<Delay>,
    /// The word of its receipts.
    pub(super) stat: String,
    /// Most links bound at one time.
    pub(super) binds: Option<u64>,
}

impl Default for SmppScript {
    fn default() -> Self {
        SmppScript {
            system_id: None,
            submit_ids: IdForm::Decimal,
            receipt_ids: IdForm::Decimal,
            receipts: None,
            stat: "DELIVRD".to_owned(),
            binds: None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::rule::Action;

    fn refusal(text: &str) -> (usize, String) {
        let error = Script::parse(text).unwrap_err();
        (error.line, error.what)
    }

    #[test]
    fn the_script_on_the_module_page_is_read() {
        let page = include_str!("script.rs");
        let sample: String = page
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").to_owned() + "\n")
            .collect();
        let script = Script::parse(&sample).unwrap();
        assert_eq!(script.latency, Duration::from_millis(50));
        assert_eq!(script.rules.len(), 1);
        assert_eq!(script.receipts.unwrap().after.0, Duration::from_secs(1));
    }

    #[test]
    fn an_empty_script_accepts_everything() {
        let script = Script::parse("").unwrap();
        assert!(script.rules.is_empty());
        assert_eq!(script.error_status.0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(script.lookups.offer(Lookup::Reference) && script.lookups.offer(Lookup::Recipient));
        assert!(!script.error_takes && !script.deduplicate);
        assert!(!Script::parse("lookup = []").unwrap().lookups.offer(Lookup::Reference));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, word) in [
            ("\n\nlatency = 5", 3, "string"),
            ("seed = 1\nlatency = \"2h\"", 2, "at most 1h"),
            ("seed = 1\nlatency = \"soon\"", 2, "duration"),
            ("error_rate = 1.5", 1, "between 0 and 1"),
            ("\nerror_rate = nan", 2, "between 0 and 1"),
            ("error_status = 100", 1, "between 200 and 599"),
            ("error_status = 200", 1, "between 300 and 599"),
            ("\n\n\nlatencies = 1", 4, "unknown field"),
            ("seed = 1\nlookup = [\"phone\"]", 2, "unknown variant"),
            ("deduplicate = 1", 1, "boolean"),
            ("receipts = { url = \"https://x/\" }", 1, "http://"),
            ("\n[receipts]\ntwice = 2", 3, "between 0 and 1"),
            ("[receipts]\nids = \"octal\"", 2, "unknown variant"),
            ("[vendor.orange]\ntoken_life = \"2h\"", 2, "at most 1h"),
            ("[vendor.nobody]\nkey = \"k\"", 1, "unknown variant"),
            ("[vendor.twilio]\nbalance = inf", 2, "finite"),
            ("push_url = \"ftp://x/\"", 1, "http://"),
            ("[[rule]]\ncode = \"\"", 2, "1 to 32"),
            ("seed = 1\n[[rule]]\nstatus = 99999999", 3, "between 200 and 599"),
            ("[[rule]]\nfault = \"sleep\"", 2, "unknown variant"),
            ("[[rule]]\n\n[[rule]]\nlatency = \"1s\"\nfoo = 1", 5, "unknown field"),
            ("seed = [", 1, ""),
        ] {
            let (at, what) = refusal(text);
            assert_eq!(at, line, "{text:?}: {what}");
            assert!(what.contains(word), "{text:?}: {what}");
        }
    }

    #[test]
    fn a_rule_that_contradicts_itself_is_refused_at_its_own_line() {
        for (rule, word) in [
            ("status = 200\nfault = \"silence\"", "either a fault"),
            ("code = 21610\nfault = \"silence\"", "either a fault"),
            ("code = 21610\nbody = \"x\"", "no body"),
            ("fault = \"reset_before_read\"\nphone = \"+21620000001\"", "before phone"),
            ("phone = \"+216*1\"", "one *"),
            ("times = 0", "at least 1"),
            ("headers = { \"Content-Length\" = \"3\" }", "cannot be scripted"),
            ("headers = { \"a b\" = \"3\" }", "header name"),
            ("headers = { \"a\" = \"x\\ny\" }", "value"),
        ] {
            let (line, what) = refusal(&format!("seed = 1\n[[rule]]\nstatus = 500\n\n[[rule]]\n{rule}"));
            assert!(what.contains(word), "{rule}: {what}");
            assert_eq!(line, 5, "{rule}: {what}");
        }
    }

    #[test]
    fn a_key_appears_neither_in_debug_output_nor_in_errors() {
        let script = Script::parse("api_key = \"s3cret\"").unwrap();
        assert!(!format!("{script:?}").contains("s3cret"));
        let script = Script::parse("key = \"s3cret\"\nsecret = \"s3cret\"\n[vendor.l2t]\nkey = \"s3cret\"").unwrap();
        assert!(!format!("{script:?}").contains("s3cret"));
        let error = Script::parse("api_key = \"s3cret\" x").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn fault_words_are_those_of_the_script() {
        for word in
            ["reset_after_read", "close_after_read", "silence", "truncated", "no_json", "huge", "endless", "garbage"]
        {
            let script = Script::parse(&format!("[[rule]]\nfault = \"{word}\"")).unwrap();
            let Action::Fault(fault) = script.rules[0].action else { panic!("{word}") };
            assert_eq!(fault.word(), word);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[\\[\\]a-z=\"\\n 0-9*é.]{0,80}") {
            let lines = text.matches('\n').count() + 1;
            if let Err(error) = Script::parse(&text) {
                prop_assert!(error.line >= 1 && error.line <= lines);
            }
        }
    }
}
