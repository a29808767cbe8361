//! What templates make, and which are refused.

#![allow(clippy::unwrap_used)]

use super::*;

fn facts() -> Facts {
    let values =
        [("first_name", "Sami"), ("car_make", "Kia"), ("car_model", "Rio"), ("invoice_number", "INV-1A2B3C4D")];
    Facts {
        phone: "20 000 001".to_owned(),
        state: "completed".to_owned(),
        at: Some("2026-12-01T08:30:00Z".parse().unwrap()),
        amount: Some("1250.500".to_owned()),
        values: values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn with(facts: &Facts, name: &str, value: &str) -> Facts {
    let mut facts = facts.clone();
    facts.values.insert(name.to_owned(), value.to_owned());
    facts
}

fn zone() -> TimeZone {
    TimeZone::get("Africa/Tunis").unwrap()
}

fn text(kind: Kind, lang: &str, facts: &Facts) -> Result<String, TemplateError> {
    let (texts, problems) = Texts::new(Vec::new());
    assert!(problems.is_empty(), "{problems:?}");
    texts.render(kind, lang, facts, &[], &zone()).map(|text| text.body)
}

fn saved(kind: Kind, body: &str) -> Template {
    Template { kind, lang: "fr".to_owned(), version: 3, body: body.to_owned(), encoding: None }
}

#[test]
fn the_three_texts_are_those_the_garage_has_always_sent() {
    assert_eq!(
        text(Kind::ServiceCompleted, "fr", &facts()).unwrap(),
        "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule."
    );
    assert_eq!(
        text(Kind::InvoiceCreated, "fr", &facts()).unwrap(),
        "Bonjour Sami, une nouvelle facture (INV-1A2B3C4D) de 1250.500 DT pour votre Kia Rio a été émise. Merci de votre confiance."
    );
    assert_eq!(
        text(Kind::AppointmentReminder, "fr", &facts()).unwrap(),
        "Bonjour Sami, rappel de votre rendez-vous pour votre Kia Rio le 01/12/2026 à 09:30. En cas d'empêchement, merci de nous contacter."
    );
}

#[test]
fn every_kind_with_a_source_speaks_french_arabic_and_english_at_a_bearable_price() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.has_source()) {
        for lang in ["fr", "ar", "en"] {
            let template = Template::built_in(kind, lang).unwrap();
            let measure = Texts::check(&template, EncodingPolicy::Fit, 2).unwrap();
            assert_eq!(measure.segments == 1, lang != "ar", "{kind} {lang}: {measure:?}");
            assert!(text(kind, lang, &facts()).unwrap().contains("Kia Rio"));
        }
    }
    let arabic = text(Kind::InvoiceCreated, "ar", &facts()).unwrap();
    assert!(arabic.contains("بمبلغ 1250,500 د.ت"), "{arabic}");
    let english = text(Kind::InvoiceCreated, "en", &facts()).unwrap();
    assert!(english.contains("of TND 1,250.500 for"), "{english}");
}

#[test]
fn the_first_language_that_has_a_text_is_spoken_and_french_at_last() {
    let (texts, _) = Texts::new(Vec::new());
    assert_eq!(texts.language(Kind::ServiceCompleted, ["de", "ar", "en"]), "ar");
    assert_eq!(texts.language(Kind::ServiceCompleted, ["de"]), "fr");
    assert_eq!(texts.language(Kind::ServiceCompleted, []), "fr");
}

#[test]
fn what_staff_have_saved_takes_the_place_of_the_built_in_text() {
    let (texts, problems) = Texts::new(vec![saved(Kind::ServiceCompleted, "{{ car_make }} prête")]);
    assert!(problems.is_empty());
    let made = texts.render(Kind::ServiceCompleted, "fr", &facts(), &[], &zone()).unwrap();
    assert_eq!((made.body.as_str(), made.version), ("Kia prête", 3));
    assert_eq!(texts.template(Kind::InvoiceCreated, "fr").unwrap().version, 0);
}

#[test]
fn a_saved_template_that_is_none_leaves_the_built_in_text_in_force() {
    for body in ["{{ car_colour }}", "{% if first_name %}", "{{ 1 / 0 }", "{% for x in range(9) %}x{% endfor %}"] {
        let (texts, problems) = Texts::new(vec![saved(Kind::ServiceCompleted, body)]);
        assert_eq!(problems.len(), 1, "{body}");
        assert_eq!(texts.template(Kind::ServiceCompleted, "fr").unwrap().version, 0);
    }
}

#[test]
fn a_template_is_refused_with_the_place_of_what_is_wrong() {
    let check = |body: &str| Texts::check(&saved(Kind::ServiceCompleted, body), EncodingPolicy::Fit, 4);
    let said = check("Bonjour,\nvotre {{ car_colour }}").unwrap_err().to_string();
    assert!(
        said.contains("line 2, column 10: unknown variable \"car_colour\"; variables: first_name, car_make"),
        "{said}"
    );
    let said = check("Bonjour {% if first_name %}").unwrap_err().to_string();
    assert!(said.contains("syntax error"), "{said}");
    let said = check(&"très long ".repeat(150)).unwrap_err().to_string();
    assert!(said.contains("makes texts of 10 segments; at most 4"), "{said}");
    for body in ["", "  \n", "{{ first_name }}", "{% for a in 'x' %}{% endfor %}"] {
        assert!(check(body).is_err(), "{body}");
    }
    assert_eq!(check("Bonjour {{ first_name }}.").unwrap().segments, 1);
}

#[test]
fn a_template_that_would_run_for_ever_runs_out_of_fuel() {
    let nested =
        "{% for a in first_name ~ '' %}{% for b in [1,2,3,4,5,6,7,8,9] %}".repeat(6) + &"{% endfor %}".repeat(12);
    assert!(Texts::check(&saved(Kind::ServiceCompleted, &nested), EncodingPolicy::Fit, 4).is_err());
    let loops = "{% for a in [1,2,3,4,5,6,7,8,9] %}".repeat(7) + "x" + &"{% endfor %}".repeat(7);
    let error = Texts::check(&saved(Kind::ServiceCompleted, &loops), EncodingPolicy::Fit, 4).unwrap_err();
    assert!(error.to_string().contains("fuel"), "{error}");
}

#[test]
fn several_cars_of_one_customer_are_named_in_one_text() {
    let (texts, _) = Texts::new(Vec::new());
    let others = [with(&with(&facts(), "car_make", "Peugeot"), "car_model", "208"), facts()];
    let made = texts.render(Kind::ServiceCompleted, "fr", &facts(), &others, &zone()).unwrap().body;
    assert!(made.starts_with("Bonjour Sami, votre service pour Kia Rio et Peugeot 208 est terminé."), "{made}");
    let many: Vec<_> = (0..50).map(|model| with(&facts(), "car_model", &model.to_string())).collect();
    let made = texts.render(Kind::ServiceCompleted, "en", &facts(), &many, &zone()).unwrap().body;
    assert_eq!(made.matches(" and Kia").count(), OTHERS_LIMIT);
}

#[test]
fn a_customer_without_a_first_name_gets_a_text_that_reads_well() {
    for name in [None, Some(""), Some("  \n ")] {
        let mut facts = facts();
        facts.values.remove("first_name");
        if let Some(name) = name {
            facts.values.insert("first_name".to_owned(), name.to_owned());
        }
        let text = text(Kind::ServiceCompleted, "fr", &facts).unwrap();
        assert!(text.starts_with("Bonjour, votre service"), "{text}");
    }
}

#[test]
fn midnight_in_tunis_is_a_date_without_a_time() {
    let facts = Facts { at: Some("2026-11-30T23:00:00Z".parse().unwrap()), ..facts() };
    let text = text(Kind::AppointmentReminder, "fr", &facts).unwrap();
    assert!(text.contains("le 01/12/2026. En cas"), "{text}");
}

#[test]
fn a_missing_fact_is_an_error_and_not_a_hole_in_the_text() {
    let mut facts = facts();
    facts.values.remove("car_model");
    let error = text(Kind::ServiceCompleted, "fr", &facts).unwrap_err();
    assert!(matches!(error, TemplateError::Failed { kind: "service_completed", .. }), "{error}");
}

#[test]
fn a_name_with_braces_stays_a_name() {
    let facts = with(&facts(), "first_name", "{{ 7*7 }}{% for x in y %}");
    let text = text(Kind::ServiceCompleted, "fr", &facts).unwrap();
    assert!(text.starts_with("Bonjour {{ 7*7 }}{% for x in y %}, votre"), "{text}");
}
