//! Who is on: decides what happens to each message, from the script and from what happened before.
//!
//! Owns the use counts of the rules and the dice. Pure: no clock, no I/O; the caller holds the lock, so that the order
//! of decisions is the order of the record. Cannot fail.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::account::Account;
use super::dialect::vendor::Vendor;
use super::receipts::{Plan, Receipts};
use super::rule::{Action, Fault, Rule};
use super::script::{Lookup, Script, SmppScript};

/// Where the `redirect` fault sends its client.
pub(super) const ELSEWHERE: &str = "/elsewhere";

/// What is done to one message, and after how long.
#[derive(Debug)]
pub(super) struct Cue {
    pub(super) delay: Duration,
    pub(super) act: Act,
}

/// What is done to one message.
#[derive(Debug)]
pub(super) enum Act {
    /// No rule took it: accepted.
    Accept,
    /// The dice took it.
    Error(StatusCode),
    /// This rule took it.
    Rule(Arc<Rule>),
}

/// A script being played.
#[derive(Debug)]
pub(super) struct Director {
    script: Script,
    /// How often each rule has matched, by its place in the script.
    matched: Vec<u64>,
    dice: StdRng,
}

impl Director {
    pub(super) fn new(script: Script) -> Director {
        let dice = script.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        Director { matched: vec![0; script.rules.len()], script, dice }
    }

    pub(super) fn receipts(&self) -> Option<&Arc<Receipts>> {
        self.script.receipts.as_ref().filter(|receipts| receipts.url.is_some())
    }

    /// What the script wants of a vendor's receipts; without a word of it, true ones at once.
    pub(super) fn vendor_receipts(&self) -> Arc<Receipts> {
        self.script.receipts.as_ref().map_or_else(Arc::default, Arc::clone)
    }

    /// What becomes of a message to a vendor.
    pub(super) fn plan(&mut self, receipts: &Receipts) -> Plan {
        receipts.plan(&mut self.dice)
    }

    pub(super) fn account(&self, vendor: Vendor) -> Arc<Account> {
        Arc::clone(self.script.accounts.with(vendor))
    }

    pub(super) fn smpp(&self) -> &Arc<SmppScript> {
        &self.script.smpp
    }

    pub(super) fn key_ok(&self, key: Option<&str>) -> bool {
        self.script.api_key.as_ref().is_none_or(|wanted| key == Some(wanted.0.as_str()))
    }

    /// Whether the script lets itself be asked about messages this way.
    pub(super) fn offers(&self, lookup: Lookup) -> bool {
        self.script.lookups.offer(lookup)
    }

    /// Whether a reference that was taken before is recognised.
    pub(super) fn deduplicates(&self) -> bool {
        self.script.deduplicate
    }

    /// Whether what is answered 5xx is taken all the same.
    pub(super) fn error_takes(&self) -> bool {
        self.script.error_takes
    }

    /// How long the answer to a recognised repeat takes: no rule has a say in it.
    pub(super) fn repeat_delay(&mut self) -> Duration {
        self.delay(None)
    }

    /// Whether this request is reset before its body is read, and after how long.
    pub(super) fn before_read(&mut self) -> Option<Duration> {
        let rule = self.first(|rule| matches!(rule.action, Action::Fault(Fault::ResetBeforeRead)))?;
        Some(self.delay(rule.latency))
    }

    /// What happens to a message that was read.
    pub(super) fn decide(&mut self, path: &str, phone: &str, text: &str) -> Cue {
        let rule = self.first(|rule| {
            let possible = match rule.action {
                Action::Fault(Fault::ResetBeforeRead) => false,
                Action::Fault(Fault::Redirect) => path != ELSEWHERE,
                Action::Fault(_) | Action::Answer { .. } | Action::Refuse { .. } => true,
            };
            possible
                && rule.phone.as_ref().is_none_or(|pattern| pattern.matches(phone))
                && rule.contains.as_ref().is_none_or(|part| text.contains(part.as_str()))
        });
        if let Some(rule) = rule {
            return Cue { delay: self.delay(rule.latency), act: Act::Rule(rule) };
        }
        let delay = self.delay(None);
        let act = if self.dice.random_bool(self.script.error_rate.0) {
            Act::Error(self.script.error_status.0)
        } else {
            Act::Accept
        };
        Cue { delay, act }
    }

    /// The first rule that matches and whose turn it is. A rule reached out of turn counts the match and lets it pass.
    fn first(&mut self, matches: impl Fn(&Rule) -> bool) -> Option<Arc<Rule>> {
        for (rule, matched) in self.script.rules.iter().zip(&mut self.matched) {
            if !matches(rule) {
                continue;
            }
            let before = *matched;
            *matched += 1;
            if before >= rule.from && rule.times.is_none_or(|times| before - rule.from < times) {
                return Some(Arc::clone(rule));
            }
        }
        None
    }

    fn delay(&mut self, scripted: Option<Duration>) -> Duration {
        scripted.unwrap_or_else(|| {
            let jitter = self.script.jitter;
            let extra = if jitter.is_zero() { jitter } else { self.dice.random_range(Duration::ZERO..jitter) };
            self.script.latency + extra
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn director(script: &str) -> Director {
        Director::new(Script::parse(script).unwrap())
    }

    fn decide(director: &mut Director, phone: &str, text: &str) -> String {
        match director.decide("/v1/messages", phone, text).act {
            Act::Accept => "accept".to_owned(),
            Act::Error(status) => format!("error {}", status.as_u16()),
            Act::Rule(rule) => match &rule.action {
                Action::Answer { status, .. } => status.as_u16().to_string(),
                Action::Refuse { code, .. } => code.clone(),
                Action::Fault(fault) => fault.word().to_owned(),
            },
        }
    }

    #[test]
    fn a_rule_lets_the_first_matches_pass_and_then_acts_a_number_of_times() {
        let mut director = director("[[rule]]\nfrom = 1\ntimes = 2\nstatus = 500");
        let seen: Vec<_> = (0..5).map(|_| decide(&mut director, "+21620000001", "x")).collect();
        assert_eq!(seen, ["accept", "500", "500", "accept", "accept"]);
    }

    #[test]
    fn the_first_matching_rule_wins_and_a_used_up_one_makes_way() {
        let mut director = director("[[rule]]\ntimes = 1\nstatus = 429\n[[rule]]\nstatus = 500");
        assert_eq!(decide(&mut director, "+21620000001", "x"), "429");
        assert_eq!(decide(&mut director, "+21620000001", "x"), "500");
    }

    #[test]
    fn rules_match_on_exact_phone_prefix_and_text() {
        let mut director = director(
            "[[rule]]\nphone = \"+21620000001\"\nstatus = 400\n[[rule]]\nphone = \"+2162000000*\"\nstatus = 401\n\
             [[rule]]\ncontains = \"facture\"\nstatus = 402",
        );
        assert_eq!(decide(&mut director, "+21620000001", "x"), "400");
        assert_eq!(decide(&mut director, "+21620000002", "facture"), "401");
        assert_eq!(decide(&mut director, "+21620000100", "une facture"), "402");
        assert_eq!(decide(&mut director, "+21620000100", "x"), "accept");
    }

    #[test]
    fn a_reset_before_read_counts_requests_and_never_takes_a_message() {
        let mut director = director("[[rule]]\nfault = \"reset_before_read\"\ntimes = 1\n[[rule]]\nstatus = 500");
        assert_eq!(decide(&mut director, "+21620000001", "x"), "500");
        assert!(director.before_read().is_some());
        assert!(director.before_read().is_none());
    }

    #[test]
    fn a_redirect_does_not_take_what_it_redirected() {
        let mut director = director("[[rule]]\nfault = \"redirect\"");
        assert!(matches!(director.decide("/v1/messages", "p", "x").act, Act::Rule(_)));
        assert!(matches!(director.decide(ELSEWHERE, "p", "x").act, Act::Accept));
    }

    #[test]
    fn the_same_seed_throws_the_same_dice() {
        let script = "seed = 7\nerror_rate = 0.5\njitter = \"20ms\"";
        let play = || {
            let mut director = director(script);
            (0..64).map(|_| format!("{:?}", director.decide("/", "p", "x"))).collect::<Vec<_>>()
        };
        let first = play();
        assert_eq!(first, play());
        let errors = first.iter().filter(|cue| cue.contains("Error")).count();
        assert!((16..=48).contains(&errors), "{errors} of 64");
    }

    #[test]
    fn latency_of_a_rule_replaces_that_of_the_script() {
        let mut director = director("latency = \"1s\"\n[[rule]]\ncontains = \"fast\"\nlatency = \"0s\"");
        assert_eq!(director.decide("/", "p", "fast").delay, Duration::ZERO);
        assert_eq!(director.decide("/", "p", "slow").delay, Duration::from_secs(1));
    }

    #[test]
    fn only_the_scripted_key_is_let_in() {
        assert!(director("").key_ok(None));
        let strict = director("api_key = \"right\"");
        assert!(strict.key_ok(Some("right")));
        assert!(!strict.key_ok(Some("wrong")));
        assert!(!strict.key_ok(None));
    }
}
