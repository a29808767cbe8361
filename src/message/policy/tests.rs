//! What is decided, question by question.

#![allow(clippy::unwrap_used)]

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

impl Decision {
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Send => None,
            Self::Defer { reason, why, .. }
            | Self::Hold(reason, why)
            | Self::Skip(reason, why)
            | Self::Expire(reason, why) => {
                assert!(why.len() > 10, "no sentence for {reason:?}");
                Some(*reason)
            }
        }
    }

    fn is_skip(&self, expected: Reason) -> bool {
        matches!(self, Self::Skip(..)) && self.reason() == Some(expected)
    }

    fn is_expire(&self, expected: Reason) -> bool {
        matches!(self, Self::Expire(..)) && self.reason() == Some(expected)
    }
}

fn rules() -> Rules {
    let rule = |category| KindRules {
        enabled: true,
        delay: Duration::ZERO,
        validity: 24 * HOUR,
        unknown_policy: UnknownPolicy::Hold,
        category,
        encoding: EncodingPolicy::Fit,
    };
    let category = |kind| match kind {
        Kind::ServiceCompleted | Kind::InvoiceCreated | Kind::Custom => Category::Transactional,
        Kind::AppointmentReminder => Category::Service,
        Kind::Campaign => Category::Marketing,
    };
    let window = |hours: &str, ramadan: &str, days: &str, on_holidays| Window {
        hours: hours.parse().unwrap(),
        ramadan_hours: ramadan.parse().unwrap(),
        days: days.parse().unwrap(),
        on_holidays,
    };
    Rules {
        kinds: Kind::ALL.into_iter().map(|kind| (kind, rule(category(kind)))).collect(),
        invoice_settle: Duration::from_secs(120),
        join: Duration::ZERO,
        windows: BTreeMap::from([
            (Category::Transactional, window("07:30-21:00", "08:00-23:00", "mon-sun", true)),
            (Category::Service, window("07:30-21:00", "09:00-22:30", "mon-sun", true)),
            (Category::Marketing, window("09:00-20:00", "10:00-12:00, 20:30-22:30", "mon-sat", false)),
        ]),
        calendar: Calendar { holidays: "12-17".parse().unwrap(), ramadan: "2027-02-08..2027-03-09".parse().unwrap() },
        prompt: HOUR / 4,
        spread: Duration::ZERO,
        keep_names: false,
    }
}

fn subject(kind: Kind) -> Subject {
    let age = Duration::from_secs(1);
    Subject { id: 1, kind, age, by_hand: false, released: false, source_at: None, observed: None }
}

fn facts(state: &str, amount: &str) -> Facts {
    Facts { state: state.to_owned(), amount: Some(amount.to_owned()), ..Facts::default() }
}

fn tunis() -> TimeZone {
    TimeZone::get("Africa/Tunis").unwrap()
}

/// A Monday morning.
fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn of_source(subject: &Subject, rules: &Rules, source: Source<'_>, now: Timestamp) -> Decision {
    decide(&Case { subject, source, recipient: Recipient::Is(&Contact::default()), rules, now, zone: &tunis() })
}

fn of_contact(subject: &Subject, rules: &Rules, contact: &Contact, local: &str) -> Decision {
    let now = tunis().to_timestamp(local.parse().unwrap()).unwrap();
    let recipient = Recipient::Is(contact);
    decide(&Case { subject, source: Source::None, recipient, rules, now, zone: &tunis() })
}

fn waits_until(decision: &Decision, local: &str) -> String {
    let Decision::Defer { wait, reason: Reason::QuietHours, .. } = decision else { panic!("{decision:?}") };
    let now = tunis().to_timestamp(local.parse().unwrap()).unwrap();
    (now + *wait).to_zoned(tunis()).datetime().to_string()
}

fn before_facts(subject: &Subject, rules: &Rules) -> Decision {
    of_source(subject, rules, Source::None, now())
}

#[test]
fn a_message_older_than_its_validity_expires() {
    let old = Subject { age: 25 * HOUR, ..subject(Kind::Custom) };
    assert!(before_facts(&old, &rules()).is_expire(Reason::TooOld));
    let by_hand = Subject { by_hand: true, ..old };
    assert!(before_facts(&by_hand, &rules()).is_expire(Reason::TooOld));
}

#[test]
fn a_kind_that_is_switched_off_is_skipped_whoever_asks() {
    let mut rules = rules();
    rules.kinds.get_mut(&Kind::ServiceCompleted).unwrap().enabled = false;
    let event = subject(Kind::ServiceCompleted);
    assert!(before_facts(&event, &rules).is_skip(Reason::Disabled));
    let by_hand = Subject { by_hand: true, ..event };
    assert!(before_facts(&by_hand, &rules).is_skip(Reason::Disabled));
}

#[test]
fn the_delay_and_the_wait_for_others_hold_events_back_but_not_people() {
    let mut rules = rules();
    rules.kinds.get_mut(&Kind::ServiceCompleted).unwrap().delay = Duration::from_secs(10);
    rules.join = Duration::from_secs(60);
    let event = subject(Kind::ServiceCompleted);
    let Decision::Defer { wait, reason: Reason::Delay, .. } = before_facts(&event, &rules) else { panic!() };
    assert_eq!(wait, Duration::from_secs(9));
    let later = Subject { age: Duration::from_secs(10), ..event.clone() };
    let Decision::Defer { wait, reason: Reason::Joining, .. } = before_facts(&later, &rules) else { panic!() };
    assert_eq!(wait, Duration::from_secs(50));
    assert_eq!(before_facts(&Subject { by_hand: true, ..event }, &rules), Decision::Send);
}

#[test]
fn a_source_that_is_gone_is_skipped() {
    let gone = of_source(&subject(Kind::ServiceCompleted), &rules(), Source::Gone, now());
    assert!(gone.is_skip(Reason::SourceGone));
}

#[test]
fn a_fresh_completion_is_texted_as_it_happened_and_an_old_one_is_checked() {
    let reopened = facts("in_progress", "0");
    let fresh = subject(Kind::ServiceCompleted);
    assert_eq!(of_source(&fresh, &rules(), Source::Is(&reopened), now()), Decision::Send);
    let old = Subject { age: RECHECK_AFTER, ..fresh };
    assert!(of_source(&old, &rules(), Source::Is(&reopened), now()).is_skip(Reason::SourceChanged));
    assert_eq!(of_source(&old, &rules(), Source::Is(&facts("completed", "0")), now()), Decision::Send);
    let asked = Subject { by_hand: true, ..old };
    assert_eq!(of_source(&asked, &rules(), Source::Is(&reopened), now()), Decision::Send);
}

#[test]
fn an_invoice_waits_for_its_amount_to_come_and_to_stand_still_then_is_held() {
    let first = subject(Kind::InvoiceCreated);
    let look = |subject: &Subject, amount| of_source(subject, &rules(), Source::Is(&facts("pending", amount)), now());
    assert_eq!(look(&first, "250.00"), Decision::Send);

    let waiting = look(&first, "0.00");
    let Decision::Defer { observed: Some(seen), .. } = waiting else { panic!("{waiting:?}") };
    let second = Subject { observed: Some(seen), ..first.clone() };
    let half = look(&second, "100.00");
    let Decision::Defer { observed: Some(seen), .. } = half else { panic!("{half:?}") };
    assert_eq!(seen, "100.00");
    let third = Subject { observed: Some(seen), ..first.clone() };
    assert_eq!(look(&third, "100.00"), Decision::Send);

    let late = Subject { age: Duration::from_secs(121), ..second };
    assert!(matches!(look(&late, "0"), Decision::Hold(Reason::NoAmount, _)));
    let released = Subject { released: true, ..late };
    assert_eq!(look(&released, "0"), Decision::Send);
}

#[test]
fn a_reminder_follows_its_appointment() {
    let at: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
    let reminder = Subject { source_at: Some(at), ..subject(Kind::AppointmentReminder) };
    let look = |facts: &Facts, now| of_source(&reminder, &rules(), Source::Is(facts), now);
    let scheduled = Facts { at: Some(at), ..facts("scheduled", "0") };
    assert_eq!(look(&scheduled, now()), Decision::Send);

    let moved = Facts { at: Some("2026-11-23T16:00:00Z".parse().unwrap()), ..scheduled.clone() };
    let Decision::Skip(Reason::SourceChanged, why) = look(&moved, now()) else { panic!() };
    assert!(why.contains("moved to 23/11/2026 17:00"), "{why}");
    for state in ["cancelled", "completed", "in_progress", ""] {
        let gone = Facts { state: state.to_owned(), ..scheduled.clone() };
        assert!(look(&gone, now()).is_skip(Reason::SourceChanged));
    }
    let later = "2026-11-23T15:00:01Z".parse().unwrap();
    assert!(look(&scheduled, later).is_expire(Reason::AppointmentPast));
}

#[test]
fn a_refused_number_is_named_before_anything_is_asked_of_the_customer() {
    let subject = subject(Kind::Campaign);
    let recipient = Recipient::Refused(Reason::Landline, "71 000 000 is a fixed line");
    let case = Case { subject: &subject, source: Source::None, recipient, rules: &rules(), now: now(), zone: &tunis() };
    assert!(decide(&case).is_skip(Reason::Landline));
}

#[test]
fn an_opt_out_ends_what_it_names_whoever_asks() {
    let rules = rules();
    let noon = "2026-11-23T12:00:00";
    let with = |opted_out| Contact { opted_out, consent: true, lang: None };
    for kind in Kind::ALL {
        let by_hand = Subject { by_hand: true, ..subject(kind) };
        assert_eq!(of_contact(&by_hand, &rules, &with(None), noon), Decision::Send);
        assert!(of_contact(&by_hand, &rules, &with(Some(OptOut::All)), noon).is_skip(Reason::OptedOut), "{kind}");
        let marketing = of_contact(&by_hand, &rules, &with(Some(OptOut::Marketing)), noon);
        assert_eq!(marketing.reason(), (kind == Kind::Campaign).then_some(Reason::OptedOut), "{kind}");
    }
}

#[test]
fn marketing_needs_consent_and_nothing_else_does() {
    for kind in Kind::ALL {
        let decision = of_contact(&subject(kind), &rules(), &Contact::default(), "2026-11-23T12:00:00");
        assert_eq!(decision.reason(), (kind == Kind::Campaign).then_some(Reason::NoConsent), "{kind}");
    }
    // Asked before the hour: it would not be sent at any.
    let night = of_contact(&subject(Kind::Campaign), &rules(), &Contact::default(), "2026-11-23T23:30:00");
    assert!(night.is_skip(Reason::NoConsent));
}

#[test]
fn at_night_each_category_does_what_its_hours_say() {
    let rules = rules();
    let agreed = Contact { consent: true, ..Contact::default() };
    let night = "2026-11-26T23:30:00";
    let at_night = |subject: &Subject| of_contact(subject, &rules, &agreed, night);
    // The customer waits for it, or somebody has just asked for it.
    assert_eq!(at_night(&subject(Kind::ServiceCompleted)), Decision::Send);
    let asked = Subject { by_hand: true, ..subject(Kind::AppointmentReminder) };
    assert_eq!(at_night(&asked), Decision::Send);
    // What was held up meanwhile does not wake anybody.
    let late = Subject { age: HOUR, ..subject(Kind::ServiceCompleted) };
    assert_eq!(waits_until(&at_night(&late), night), "2026-11-27T07:30:00");
    let asked_before = Subject { age: HOUR, by_hand: true, ..subject(Kind::Custom) };
    assert_eq!(waits_until(&at_night(&asked_before), night), "2026-11-27T07:30:00");
    assert_eq!(waits_until(&at_night(&subject(Kind::AppointmentReminder)), night), "2026-11-27T07:30:00");
    let campaign = Subject { by_hand: true, ..subject(Kind::Campaign) };
    assert_eq!(waits_until(&at_night(&campaign), night), "2026-11-27T09:00:00");
    // With the strict setting nothing goes out.
    let strict = Rules { prompt: Duration::ZERO, ..rules.clone() };
    let decision = of_contact(&subject(Kind::ServiceCompleted), &strict, &agreed, night);
    assert_eq!(waits_until(&decision, night), "2026-11-27T07:30:00");
}

#[test]
fn ramadan_holidays_and_sundays_hold_marketing_back_and_not_the_rest() {
    let rules = rules();
    let agreed = Contact { consent: true, ..Contact::default() };
    for (local, opens) in [
        ("2027-02-10T12:30:00", "2027-02-10T20:30:00"),
        ("2026-12-17T12:30:00", "2026-12-18T09:00:00"),
        ("2026-11-29T12:30:00", "2026-11-30T09:00:00"),
    ] {
        let campaign = of_contact(&subject(Kind::Campaign), &rules, &agreed, local);
        assert_eq!(waits_until(&campaign, local), opens);
        for kind in [Kind::ServiceCompleted, Kind::InvoiceCreated, Kind::AppointmentReminder, Kind::Custom] {
            let late = Subject { age: HOUR, ..subject(kind) };
            assert_eq!(of_contact(&late, &rules, &agreed, local), Decision::Send, "{kind} at {local}");
        }
    }
}

#[test]
fn what_would_be_too_old_at_the_next_hour_expires_and_says_so() {
    let old = Subject { age: 20 * HOUR, ..subject(Kind::ServiceCompleted) };
    let decision = of_contact(&old, &rules(), &Contact::default(), "2026-11-26T23:30:00");
    let Decision::Expire(Reason::QuietHours, why) = decision else { panic!("{decision:?}") };
    assert!(why.contains("the next hour is 27/11/2026 07:30") && why.contains("service_completed.validity"), "{why}");
}

#[test]
fn a_reminder_that_would_come_after_its_appointment_expires() {
    let at: Timestamp = "2026-11-27T06:00:00Z".parse().unwrap();
    let facts = Facts { at: Some(at), ..facts("scheduled", "0") };
    let reminder = Subject { source_at: Some(at), ..subject(Kind::AppointmentReminder) };
    let contact = Contact::default();
    let case = Case {
        subject: &reminder,
        source: Source::Is(&facts),
        recipient: Recipient::Is(&contact),
        rules: &rules(),
        now: "2026-11-26T22:30:00Z".parse().unwrap(),
        zone: &tunis(),
    };
    assert!(decide(&case).is_expire(Reason::QuietHours));
}

#[test]
fn messages_that_waited_for_the_same_hour_are_spread_over_its_beginning() {
    let rules = Rules { spread: Duration::from_secs(600), ..rules() };
    let agreed = Contact { consent: true, ..Contact::default() };
    let night = "2026-11-26T23:30:00";
    let mut minutes = [0; 10];
    for id in 1..=1_000 {
        let decision = of_contact(&Subject { id, ..subject(Kind::Campaign) }, &rules, &agreed, night);
        let opens = waits_until(&decision, night);
        let minute: usize = opens.strip_prefix("2026-11-27T09:0").unwrap()[..1].parse().unwrap();
        minutes[minute] += 1;
    }
    assert!(minutes.iter().all(|messages| (60..=140).contains(messages)), "{minutes:?}");
}
