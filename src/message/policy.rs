//! What to do with a message that has just been claimed: send it now, later, never, or ask staff.
//!
//! One function decides from the row, the facts, the settings and the time, and says why, so that `show ID` can repeat
//! it. It asks the questions in the order in which staff would want the answer: is the kind switched on, is it too
//! old, is it too early, is it still true, is there an amount to speak of.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::Facts;
use super::kind::Kind;
use super::reason::Reason;

/// An event is texted as it happened when it is claimed within this time; an older one is checked against the present.
/// Without it, a service completed, reopened and completed again within a second would lose one of its two messages.
pub const RECHECK_AFTER: Duration = Duration::from_secs(60);

/// How long an invoice without an amount waits between two looks. Items follow within seconds.
pub const AMOUNT_LOOK: Duration = Duration::from_secs(2);

/// What happens to a message that may have been sent, when no proof came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// Send it once more: for messages where a second one does no harm.
    Resend,
    /// Leave it to staff.
    Hold,
}

/// The settings of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindRules {
    /// Whether the kind is sent at all.
    pub enabled: bool,
    /// How long after a garage event the message goes out.
    pub delay: Duration,
    /// How old a message may be when it is sent.
    pub validity: Duration,
    /// What to do when it may have been sent.
    pub unknown_policy: UnknownPolicy,
}

/// All settings that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// By kind; every kind is present.
    pub kinds: BTreeMap<Kind, KindRules>,
    /// How long an invoice may stay without an amount.
    pub invoice_settle: Duration,
}

/// The claimed row, as far as a decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What it is about.
    pub kind: Kind,
    /// How long ago it was created, or was due if it was scheduled. By the database's clock.
    pub age: Duration,
    /// A person asked for it; otherwise an event of the garage did.
    pub by_hand: bool,
    /// Staff let it go after it was held.
    pub released: bool,
    /// The appointment's time when the message was made.
    pub source_at: Option<Timestamp>,
    /// The amount seen at the last look.
    pub observed: Option<String>,
}

/// The answer. Every variant but `Send` says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send it now.
    Send,
    /// Look again after a while.
    Defer {
        /// How long to wait.
        wait: Duration,
        /// Why.
        reason: Reason,
        /// What was seen, to compare at the next look.
        observed: Option<String>,
    },
    /// Wait for staff.
    Hold(Reason),
    /// Not to be sent.
    Skip(Reason),
    /// Too late to be worth sending.
    Expire(Reason),
}

/// Decides what can be decided without the source: switch, age, delay.
pub fn decide_before_facts(subject: &Subject, rules: &Rules) -> Decision {
    let Some(rule) = rules.kinds.get(&subject.kind) else { return Decision::Skip(Reason::Disabled) };
    if !rule.enabled {
        return Decision::Skip(Reason::Disabled);
    }
    if subject.age > rule.validity {
        return Decision::Expire(Reason::TooOld);
    }
    if !subject.by_hand && !subject.released && subject.age < rule.delay {
        return Decision::Defer { wait: rule.delay - subject.age, reason: Reason::Delay, observed: None };
    }
    Decision::Send
}

/// Decides with the facts at hand; `None` when the source is gone.
pub fn decide(subject: &Subject, rules: &Rules, facts: Option<&Facts>, now: Timestamp) -> Decision {
    let Some(facts) = facts else { return Decision::Skip(Reason::SourceGone) };
    let recheck = !subject.by_hand && subject.age >= RECHECK_AFTER;
    match subject.kind {
        Kind::ServiceCompleted if recheck && facts.state != "completed" => Decision::Skip(Reason::SourceChanged),
        Kind::InvoiceCreated if recheck && matches!(facts.state.as_str(), "cancelled" | "refunded") => {
            Decision::Skip(Reason::SourceChanged)
        }
        Kind::InvoiceCreated => amount(subject, rules, facts),
        Kind::AppointmentReminder => appointment(subject, facts, now),
        Kind::ServiceCompleted | Kind::Custom | Kind::Campaign => Decision::Send,
    }
}

/// An invoice waits for its items. Once they begin to come, the amount must stand still between two looks: a sum of half
/// the items is worse than a text two seconds later.
fn amount(subject: &Subject, rules: &Rules, facts: &Facts) -> Decision {
    let look_again = |observed| Decision::Defer { wait: AMOUNT_LOOK, reason: Reason::AwaitingAmount, observed };
    if subject.released {
        return Decision::Send;
    }
    if !facts.has_amount() {
        return if subject.age < rules.invoice_settle {
            look_again(Some(String::new()))
        } else {
            Decision::Hold(Reason::NoAmount)
        };
    }
    if subject.observed.is_some() && subject.observed != facts.amount && subject.age < rules.invoice_settle {
        return look_again(facts.amount.clone());
    }
    Decision::Send
}

/// A reminder is true only while its appointment stands, at the time it speaks of, in the future.
fn appointment(subject: &Subject, facts: &Facts, now: Timestamp) -> Decision {
    let Some(at) = facts.at else { return Decision::Skip(Reason::SourceChanged) };
    if facts.state != "scheduled" || subject.source_at.is_some_and(|expected| expected != at) {
        return Decision::Skip(Reason::SourceChanged);
    }
    if at <= now {
        return Decision::Expire(Reason::AppointmentPast);
    }
    Decision::Send
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let rule = KindRules {
            enabled: true,
            delay: Duration::ZERO,
            validity: Duration::from_secs(3600),
            unknown_policy: UnknownPolicy::Hold,
        };
        Rules {
            kinds: Kind::ALL.into_iter().map(|kind| (kind, rule.clone())).collect(),
            invoice_settle: Duration::from_secs(120),
        }
    }

    fn subject(kind: Kind) -> Subject {
        Subject { kind, age: Duration::from_secs(1), by_hand: false, released: false, source_at: None, observed: None }
    }

    fn facts(state: &str, amount: &str) -> Facts {
        Facts { state: state.to_owned(), amount: Some(amount.to_owned()), ..Facts::default() }
    }

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_message_older_than_its_validity_expires() {
        let old = Subject { age: Duration::from_secs(3601), ..subject(Kind::Custom) };
        assert_eq!(decide_before_facts(&old, &rules()), Decision::Expire(Reason::TooOld));
        let by_hand = Subject { by_hand: true, ..old };
        assert_eq!(decide_before_facts(&by_hand, &rules()), Decision::Expire(Reason::TooOld));
    }

    #[test]
    fn a_kind_that_is_switched_off_is_skipped_whoever_asks() {
        let mut rules = rules();
        rules.kinds.get_mut(&Kind::ServiceCompleted).unwrap().enabled = false;
        let event = subject(Kind::ServiceCompleted);
        assert_eq!(decide_before_facts(&event, &rules), Decision::Skip(Reason::Disabled));
        let by_hand = Subject { by_hand: true, ..event };
        assert_eq!(decide_before_facts(&by_hand, &rules), Decision::Skip(Reason::Disabled));
    }

    #[test]
    fn the_delay_holds_events_back_but_not_people() {
        let mut rules = rules();
        rules.kinds.get_mut(&Kind::ServiceCompleted).unwrap().delay = Duration::from_secs(10);
        let event = subject(Kind::ServiceCompleted);
        let Decision::Defer { wait, reason: Reason::Delay, .. } = decide_before_facts(&event, &rules) else { panic!() };
        assert_eq!(wait, Duration::from_secs(9));
        assert_eq!(decide_before_facts(&Subject { by_hand: true, ..event }, &rules), Decision::Send);
    }

    #[test]
    fn a_source_that_is_gone_is_skipped() {
        assert_eq!(decide(&subject(Kind::ServiceCompleted), &rules(), None, now()), Decision::Skip(Reason::SourceGone));
    }

    #[test]
    fn a_fresh_completion_is_texted_as_it_happened_and_an_old_one_is_checked() {
        let reopened = facts("in_progress", "0");
        let fresh = subject(Kind::ServiceCompleted);
        assert_eq!(decide(&fresh, &rules(), Some(&reopened), now()), Decision::Send);
        let old = Subject { age: RECHECK_AFTER, ..fresh };
        assert_eq!(decide(&old, &rules(), Some(&reopened), now()), Decision::Skip(Reason::SourceChanged));
        assert_eq!(decide(&old, &rules(), Some(&facts("completed", "0")), now()), Decision::Send);
        let asked = Subject { by_hand: true, ..old };
        assert_eq!(decide(&asked, &rules(), Some(&reopened), now()), Decision::Send);
    }

    #[test]
    fn an_invoice_waits_for_its_amount_to_come_and_to_stand_still_then_is_held() {
        let first = subject(Kind::InvoiceCreated);
        assert_eq!(decide(&first, &rules(), Some(&facts("pending", "250.00")), now()), Decision::Send);

        let waiting = decide(&first, &rules(), Some(&facts("pending", "0.00")), now());
        let Decision::Defer { observed: Some(seen), .. } = waiting else { panic!("{waiting:?}") };
        let second = Subject { observed: Some(seen), ..first.clone() };
        let half = decide(&second, &rules(), Some(&facts("pending", "100.00")), now());
        let Decision::Defer { observed: Some(seen), .. } = half else { panic!("{half:?}") };
        assert_eq!(seen, "100.00");
        let third = Subject { observed: Some(seen), ..first.clone() };
        assert_eq!(decide(&third, &rules(), Some(&facts("pending", "100.00")), now()), Decision::Send);

        let late = Subject { age: Duration::from_secs(121), ..second };
        assert_eq!(decide(&late, &rules(), Some(&facts("pending", "0")), now()), Decision::Hold(Reason::NoAmount));
        let released = Subject { released: true, ..late };
        assert_eq!(decide(&released, &rules(), Some(&facts("pending", "0")), now()), Decision::Send);
    }

    #[test]
    fn a_reminder_follows_its_appointment() {
        let at: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
        let reminder = Subject { source_at: Some(at), ..subject(Kind::AppointmentReminder) };
        let scheduled = Facts { at: Some(at), ..facts("scheduled", "0") };
        assert_eq!(decide(&reminder, &rules(), Some(&scheduled), now()), Decision::Send);

        let moved = Facts { at: Some("2026-11-23T16:00:00Z".parse().unwrap()), ..scheduled.clone() };
        assert_eq!(decide(&reminder, &rules(), Some(&moved), now()), Decision::Skip(Reason::SourceChanged));
        for state in ["cancelled", "completed", "in_progress", ""] {
            let gone = Facts { state: state.to_owned(), ..scheduled.clone() };
            assert_eq!(decide(&reminder, &rules(), Some(&gone), now()), Decision::Skip(Reason::SourceChanged));
        }
        let later = "2026-11-23T15:00:01Z".parse().unwrap();
        assert_eq!(decide(&reminder, &rules(), Some(&scheduled), later), Decision::Expire(Reason::AppointmentPast));
    }
}
