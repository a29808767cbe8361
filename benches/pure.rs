//! The parts that need nothing but a processor: numbers, alphabets, texts, decisions. Each is done once for every message, so
//! a microsecond here is a microsecond of the daemon.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ecar_sms::message::category::Category;
use ecar_sms::message::encoding::{encode_gsm7, encode_ucs2, measure};
use ecar_sms::message::facts::Facts;
use ecar_sms::message::fit::{self, EncodingPolicy};
use ecar_sms::message::hours::{Calendar, Window};
use ecar_sms::message::kind::Kind;
use ecar_sms::message::phone::{Countries, normalise};
use ecar_sms::message::policy::{Case, Contact, KindRules, Recipient, Rules, Source, Subject, UnknownPolicy, decide};
use ecar_sms::message::template::Texts;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const GSM7: &str =
    "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule.";
const UCS2: &str = "مرحبا سامي، سيارتك جاهزة. يرجى الاتصال بنا لاستلام سيارتك في أقرب وقت ممكن. شكرا لثقتكم.";

fn facts() -> Facts {
    let values =
        [("first_name", "Sami"), ("car_make", "Kia"), ("car_model", "Rio"), ("invoice_number", "INV-1A2B3C4D")];
    Facts {
        phone: "20 000 001".to_owned(),
        state: "completed".to_owned(),
        at: Some("2026-12-01T08:30:00Z".parse().unwrap()),
        amount: Some("250.00".to_owned()),
        values: values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn numbers(criterion: &mut Criterion) {
    let tunisia = Countries::default();
    let abroad = Countries::from_codes(["TN", "FR"]).unwrap();
    for (name, text, countries) in [
        ("a number as it is stored", "+21620000001", &tunisia),
        ("a number as it is typed", "20 000 001 / 71 000 000", &tunisia),
        ("a number that is none", "call me maybe", &tunisia),
        ("a number abroad", "+33 6 12 34 56 78", &abroad),
    ] {
        criterion.bench_function(name, |bencher| bencher.iter(|| normalise(black_box(text), countries)));
    }
}

fn alphabets(criterion: &mut Criterion) {
    criterion.bench_function("measure GSM-7", |bencher| bencher.iter(|| measure(black_box(GSM7))));
    criterion.bench_function("measure UCS-2", |bencher| bencher.iter(|| measure(black_box(UCS2))));
    criterion.bench_function("encode GSM-7", |bencher| bencher.iter(|| encode_gsm7(black_box(GSM7))));
    criterion.bench_function("encode UCS-2", |bencher| bencher.iter(|| encode_ucs2(black_box(UCS2))));
}

fn texts(criterion: &mut Criterion) {
    let (texts, zone) = (Texts::new(Vec::new()).0, TimeZone::get("Africa/Tunis").unwrap());
    let facts = facts();
    for kind in [Kind::ServiceCompleted, Kind::InvoiceCreated, Kind::AppointmentReminder] {
        criterion.bench_function(&format!("render {kind}"), |bencher| {
            bencher.iter(|| texts.render(kind, "fr", black_box(&facts), &[], &zone).unwrap())
        });
    }
}

fn fitting(criterion: &mut Criterion) {
    let reminder = "Bonjour Sami, rappel de votre rendez-vous pour votre Kia Rio le 01/12/2026 à 09:30. \
                    En cas d'empêchement, merci de nous contacter.";
    for (name, text) in [("fit a text in GSM-7", GSM7), ("fit a text with ê", reminder), ("fit an Arabic text", UCS2)]
    {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| fit::apply(EncodingPolicy::Fit, black_box(text), &["Sami"], false).unwrap())
        });
    }
}

fn decisions(criterion: &mut Criterion) {
    let rule = KindRules {
        enabled: true,
        delay: Duration::ZERO,
        validity: Duration::from_secs(86_400),
        unknown_policy: UnknownPolicy::Resend,
        category: Category::Transactional,
        encoding: EncodingPolicy::Fit,
    };
    let kinds: BTreeMap<Kind, KindRules> = Kind::ALL.into_iter().map(|kind| (kind, rule.clone())).collect();
    let day = Window {
        hours: "07:30-21:00".parse().unwrap(),
        ramadan_hours: "08:00-23:00".parse().unwrap(),
        days: "mon-sun".parse().unwrap(),
        on_holidays: true,
    };
    let rules = Rules {
        kinds,
        invoice_settle: Duration::from_secs(120),
        join: Duration::ZERO,
        windows: Category::ALL.into_iter().map(|category| (category, day.clone())).collect(),
        calendar: Calendar::default(),
        prompt: Duration::ZERO,
        spread: Duration::ZERO,
        keep_names: false,
    };
    let (facts, contact, zone) = (facts(), Contact::default(), TimeZone::get("Africa/Tunis").unwrap());
    // An hour at which everything goes out.
    let now: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
    for kind in [Kind::ServiceCompleted, Kind::InvoiceCreated] {
        let subject = Subject {
            id: 1,
            kind,
            age: Duration::from_secs(1),
            by_hand: false,
            released: false,
            source_at: None,
            observed: None,
        };
        criterion.bench_function(&format!("decide {kind}"), |bencher| {
            bencher.iter(|| {
                let (source, recipient) = (Source::Is(&facts), Recipient::Is(&contact));
                decide(&Case { subject: black_box(&subject), source, recipient, rules: &rules, now, zone: &zone })
            })
        });
    }
}

criterion_group! {
    name = pure;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500)).sample_size(50).nresamples(5_000).without_plots();
    targets = numbers, alphabets, texts, fitting, decisions
}
criterion_main!(pure);
