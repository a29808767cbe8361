//! What to do with a message: send it now, later, never, or ask staff.
//!
//! One function decides, from the message, its source, its recipient, the settings and the time, and says why in a sentence
//! that `show ID` repeats. It asks the questions in the order in which staff would want the answer: is the kind switched on, is it too
//! old, is it too early, is it still true, is there an amount to speak of, can the number be texted, does the customer want it, has
//! he agreed to it, is it a decent hour. Of a kind without a source nothing is asked about one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::category::Category;
use super::facts::Facts;
use super::fit::EncodingPolicy;
use super::hours::{Calendar, Opening, Window};
use super::kind::Kind;
use super::reason::Reason;

/// An event is texted as it happened when it is claimed within this time; an older one is checked against the present.
/// Without it, a service completed, reopened and completed again within a second would lose one of its two messages.
pub const RECHECK_AFTER: Duration = Duration::from_secs(60);

/// How long an invoice without an amount waits between two looks. Items follow within seconds.
pub const AMOUNT_LOOK: Duration = Duration::from_secs(2);

/// Longest wait for an hour before the question is asked again: settings, opt-outs and clocks change.
const WAIT_LIMIT: Duration = Duration::from_secs(400 * 24 * 3600);

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
    /// Which hours hold, and whether consent is needed.
    pub category: Category,
    /// How its text may be changed to cost less, where the template does not say.
    pub encoding: EncodingPolicy,
}

/// All settings that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// By kind; every kind is present.
    pub kinds: BTreeMap<Kind, KindRules>,
    /// How long an invoice may stay without an amount.
    pub invoice_settle: Duration,
    /// How long a completed service waits for others of the same customer; zero: not at all.
    pub join: Duration,
    /// By category; every category is present.
    pub windows: BTreeMap<Category, Window>,
    /// Holidays and Ramadan.
    pub calendar: Calendar,
    /// A transactional message, and one asked for by hand, goes out at any hour while it is younger than this.
    pub prompt: Duration,
    /// Messages that waited for the hour go out over this time.
    pub spread: Duration,
    /// Whether names keep their letters.
    pub keep_names: bool,
}

/// The claimed row, as far as a decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its number; spreads messages that waited for the same hour.
    pub id: i64,
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

/// What is known of the source.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The kind has none.
    None,
    /// It is no longer there.
    Gone,
    /// Its facts.
    Is(&'a Facts),
}

/// Of what a customer has had enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptOut {
    /// Of all messages.
    All,
    /// Of marketing.
    Marketing,
}

/// What is on record of a number. Nothing for most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// The customer's language.
    pub lang: Option<String>,
    /// What he does not want.
    pub opted_out: Option<OptOut>,
    /// He has agreed to marketing.
    pub consent: bool,
}

/// What is known of the recipient.
#[derive(Debug, Clone, Copy)]
pub enum Recipient<'a> {
    /// The number cannot be texted; why.
    Refused(Reason, &'a str),
    /// The number can be texted, and this is on record of it.
    Is(&'a Contact),
}

/// All that a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The message.
    pub subject: &'a Subject,
    /// What it speaks of.
    pub source: Source<'a>,
    /// Whom it goes to.
    pub recipient: Recipient<'a>,
    /// The settings.
    pub rules: &'a Rules,
    /// The database's clock.
    pub now: Timestamp,
    /// The garage's zone.
    pub zone: &'a TimeZone,
}

/// The answer. Every variant but `Send` says why, in a word and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing that is known speaks against sending it now.
    Send,
    /// Look again after a while.
    Defer {
        /// How long to wait.
        wait: Duration,
        /// Why.
        reason: Reason,
        /// Why, for people.
        why: String,
        /// What was seen, to compare at the next look.
        observed: Option<String>,
    },
    /// Wait for staff.
    Hold(Reason, String),
    /// Not to be sent.
    Skip(Reason, String),
    /// Too late to be worth sending.
    Expire(Reason, String),
}

/// Decides.
pub fn decide(case: &Case<'_>) -> Decision {
    let Some(rule) = case.rules.kinds.get(&case.subject.kind) else {
        return Decision::Skip(Reason::Disabled, format!("nothing is known of the kind {}", case.subject.kind));
    };
    for question in [switched_on, too_old, too_early, still_true, wanted, decent_hour] {
        let answer = question(case, rule);
        if answer != Decision::Send {
            return answer;
        }
    }
    Decision::Send
}

fn switched_on(case: &Case<'_>, rule: &KindRules) -> Decision {
    if rule.enabled {
        return Decision::Send;
    }
    let kind = case.subject.kind;
    Decision::Skip(Reason::Disabled, format!("messages of this kind are switched off (setting {kind}.enabled)"))
}

fn too_old(case: &Case<'_>, rule: &KindRules) -> Decision {
    let (age, kind) = (case.subject.age, case.subject.kind);
    if age <= rule.validity {
        return Decision::Send;
    }
    let why = format!("it is {} old; the limit is {} (setting {kind}.validity)", long(age), long(rule.validity));
    Decision::Expire(Reason::TooOld, why)
}

/// Garage events may wait a while by setting; what people ask for does not.
fn too_early(case: &Case<'_>, rule: &KindRules) -> Decision {
    let subject = case.subject;
    if subject.by_hand || subject.released {
        return Decision::Send;
    }
    let defer =
        |until: Duration, reason, why| Decision::Defer { wait: until - subject.age, reason, why, observed: None };
    if subject.age < rule.delay {
        let why = format!("it goes out {} after the event (setting {}.delay)", long(rule.delay), subject.kind);
        return defer(rule.delay, Reason::Delay, why);
    }
    if subject.kind == Kind::ServiceCompleted && subject.age < case.rules.join {
        let why = format!(
            "it waits {} for other services of the same customer (setting service_completed.join)",
            long(case.rules.join)
        );
        return defer(case.rules.join, Reason::Joining, why);
    }
    Decision::Send
}

fn still_true(case: &Case<'_>, _rule: &KindRules) -> Decision {
    let subject = case.subject;
    let facts = match case.source {
        Source::None => return Decision::Send,
        Source::Gone => {
            let why = "what it speaks of, or its customer, is no longer in the garage's database";
            return Decision::Skip(Reason::SourceGone, why.to_owned());
        }
        Source::Is(facts) => facts,
    };
    let recheck = !subject.by_hand && subject.age >= RECHECK_AFTER;
    match subject.kind {
        Kind::ServiceCompleted if recheck && facts.state != "completed" => Decision::Skip(
            Reason::SourceChanged,
            format!("the service is not completed any more: {}", word(&facts.state)),
        ),
        Kind::InvoiceCreated if recheck && matches!(facts.state.as_str(), "cancelled" | "refunded") => {
            Decision::Skip(Reason::SourceChanged, format!("the invoice is {}", word(&facts.state)))
        }
        Kind::InvoiceCreated => amount(case, facts),
        Kind::AppointmentReminder => appointment(case, facts),
        Kind::ServiceCompleted | Kind::Custom | Kind::Campaign => Decision::Send,
    }
}

/// An invoice waits for its items. Once they begin to come, the amount must stand still between two looks: a sum of half
/// the items is worse than a text two seconds later.
fn amount(case: &Case<'_>, facts: &Facts) -> Decision {
    let (subject, settle) = (case.subject, case.rules.invoice_settle);
    let look_again = |observed, why: &str| Decision::Defer {
        wait: AMOUNT_LOOK,
        reason: Reason::AwaitingAmount,
        why: why.to_owned(),
        observed,
    };
    if subject.released {
        return Decision::Send;
    }
    if !facts.has_amount() {
        return if subject.age < settle {
            look_again(Some(String::new()), "the invoice has no amount yet")
        } else {
            let why = format!("the invoice has had no amount for {} (setting invoice_created.settle)", long(settle));
            Decision::Hold(Reason::NoAmount, why)
        };
    }
    if subject.observed.is_some() && subject.observed != facts.amount && subject.age < settle {
        return look_again(facts.amount.clone(), "the amount of the invoice still changes");
    }
    Decision::Send
}

/// A reminder is true only while its appointment stands, at the time it speaks of, in the future.
fn appointment(case: &Case<'_>, facts: &Facts) -> Decision {
    let changed = |why| Decision::Skip(Reason::SourceChanged, why);
    let Some(at) = facts.at else { return changed("the appointment has no date any more".to_owned()) };
    if facts.state != "scheduled" {
        return changed(format!("the appointment does not stand any more: {}", word(&facts.state)));
    }
    if case.subject.source_at.is_some_and(|expected| expected != at) {
        return changed(format!("the appointment was moved to {}", moment(at, case.zone)));
    }
    if at <= case.now {
        return Decision::Expire(Reason::AppointmentPast, format!("the appointment was at {}", moment(at, case.zone)));
    }
    Decision::Send
}

/// Whether the number takes messages, and the customer wants this one.
fn wanted(case: &Case<'_>, rule: &KindRules) -> Decision {
    let contact = match case.recipient {
        Recipient::Refused(reason, why) => return Decision::Skip(reason, why.to_owned()),
        Recipient::Is(contact) => contact,
    };
    let skip = |reason, why: &str| Decision::Skip(reason, why.to_owned());
    match (contact.opted_out, rule.category) {
        (Some(OptOut::All), _) => skip(Reason::OptedOut, "the customer wants no messages at all"),
        (Some(OptOut::Marketing), Category::Marketing) => skip(Reason::OptedOut, "the customer wants no marketing"),
        (None, Category::Marketing) if !contact.consent => {
            skip(Reason::NoConsent, "the customer has not agreed to marketing, as far as is recorded")
        }
        (None | Some(OptOut::Marketing), Category::Transactional | Category::Service) | (None, Category::Marketing) => {
            Decision::Send
        }
    }
}

/// Whether this is an hour at which messages of the category go out; asked last, of what is to go out.
fn decent_hour(case: &Case<'_>, rule: &KindRules) -> Decision {
    let (subject, category) = (case.subject, rule.category);
    let awaited = category == Category::Transactional || (subject.by_hand && category == Category::Service);
    if awaited && subject.age < case.rules.prompt {
        return Decision::Send;
    }
    let Some(window) = case.rules.windows.get(&category) else { return Decision::Send };
    let (opens, closes) = match window.at(case.now, case.zone, &case.rules.calendar) {
        Opening::Now => return Decision::Send,
        Opening::Never => {
            let why = format!(
                "by its settings no hour of the coming year is one for {category} messages ({category}.days, holidays)"
            );
            return Decision::Hold(Reason::QuietHours, why);
        }
        Opening::Later(opens, closes) => (opens, closes),
    };
    let wait = until(case.now, opens).min(WAIT_LIMIT);
    let (now, opening) = (moment(case.now, case.zone), moment(opens, case.zone));
    let held_up =
        format!("at {now} no {category} messages go out (setting {category}.hours); the next hour is {opening}");
    if subject.age.saturating_add(wait) > rule.validity {
        let kind = subject.kind;
        let why = format!("{held_up}, when it would be older than {} (setting {kind}.validity)", long(rule.validity));
        return Decision::Expire(Reason::QuietHours, why);
    }
    if let (Kind::AppointmentReminder, Source::Is(Facts { at: Some(at), .. })) = (subject.kind, case.source)
        && *at <= opens
    {
        let why = format!("{held_up}, and the appointment is at {}", moment(*at, case.zone));
        return Decision::Expire(Reason::QuietHours, why);
    }
    let wait = wait + apart(subject.id, case.rules.spread.min(until(opens, closes) / 2));
    Decision::Defer { wait, reason: Reason::QuietHours, why: held_up, observed: None }
}

/// A place within `spread` for each message, always the same one: what waited for the hour does not leave in its first second.
fn apart(id: i64, spread: Duration) -> Duration {
    // Fibonacci hashing: neighbours land far from each other.
    let place = id.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
    Duration::from_millis((place * ms) >> 32)
}

fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from).max(SignedDuration::ZERO)).unwrap_or_default()
}

/// A duration for people, in whole seconds.
fn long(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// A moment for people, in the garage's zone.
fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%d/%m/%Y %H:%M").to_string()
}

/// A status word of the garage, which may hold anything.
fn word(state: &str) -> String {
    if state.is_empty() { "it is gone".to_owned() } else { format!("{:?}", state.chars().take(20).collect::<String>()) }
}

#[cfg(test)]
mod tests;
