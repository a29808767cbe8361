//! The right text: languages, versions, bad templates, encodings that do not double the bill, previews on real rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use ecar_sms::message::fit::EncodingPolicy;
use ecar_sms::message::kind::Kind;
use ecar_sms::message::template::{Template, Texts};
use ecar_sms::message::variables;
use serde_json::Value;
use support::World;

async fn show(world: &World, id: i64) -> Value {
    serde_json::from_str(&world.ok(["show", &id.to_string(), "--json"]).await).unwrap()
}

async fn send(world: &World, arguments: &[&str]) -> i64 {
    let output = world.ok(["send", "--json"].iter().chain(arguments)).await;
    let answer: Value = serde_json::from_str(&output).unwrap();
    let id = answer["id"].as_i64().unwrap();
    world.value_becomes(&format!("SELECT status FROM sms_message WHERE id = {id}"), "sent").await;
    id
}

#[tokio::test]
async fn a_customer_gets_the_language_on_record_and_the_garages_where_there_is_none_of_it() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    for number in 1..=4 {
        world.service(number, &format!("20 000 00{number}"), "in_progress").await;
    }
    world.ok(["contact", "set", "+216 20 000 001", "--lang", "ar"]).await;
    world.batch("INSERT INTO sms_contact (phone, lang) VALUES ('20.000.002', 'de'); SELECT sms_contact_set('20000003', 'en')").await;
    for number in 1..=4 {
        world.complete(number).await;
    }
    world.gateway_receives(4).await;
    world.settled().await;
    let text = |phone: &str| world.received_by(phone).iter().map(|it| it.message.clone()).collect::<Vec<_>>().join("|");
    assert_eq!(text("+21620000001"), "مرحبا Sami، سيارتكم Kia Rio جاهزة. يرجى الاتصال بنا لاستلامها.");
    assert!(text("+21620000002").starts_with("Bonjour Sami, votre service"), "{}", text("+21620000002"));
    assert!(text("+21620000003").starts_with("Hello Sami, the service"), "{}", text("+21620000003"));
    assert!(text("+21620000004").starts_with("Bonjour"), "{}", text("+21620000004"));
    assert_eq!(world.value("SELECT string_agg(lang, ',' ORDER BY source_id) FROM sms_message").await, "ar,fr,en,fr");

    // Another language of the garage, and one asked for by hand.
    world.ok(["setting", "set", "default_lang", "en"]).await;
    let by_hand = send(&world, &["service", "4"]).await;
    assert_eq!(show(&world, by_hand).await["lang"], "en");
    let asked = send(&world, &["--lang", "fr", "service", "1"]).await;
    assert_eq!(show(&world, asked).await["lang"], "fr");
    // Sent again it speaks the language that is on record by then.
    world.ok(["contact", "set", "20000004", "--lang", "ar"]).await;
    world.ok(["resend", &by_hand.to_string()]).await;
    world
        .value_becomes(&format!("SELECT lang FROM sms_message WHERE resend_of = {by_hand} AND status = 'sent'"), "ar")
        .await;
}

#[tokio::test]
async fn a_new_version_is_in_force_at_once_and_changes_nothing_of_old_messages() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    world.service(1, "20 000 001", "completed").await;
    let built_in = send(&world, &["service", "1"]).await;
    world
        .ok(["template", "set", "service_completed", "fr", "{{ first_name }}, votre {{ car_model }} vous attend."])
        .await;
    let first = send(&world, &["service", "1"]).await;
    world.batch("SELECT sms_template_set('service_completed', 'fr', '{{ car_make }}: prêt.')").await;
    let second = send(&world, &["service", "1"]).await;
    world.batch("INSERT INTO sms_template (kind, lang, body) VALUES ('service_completed', 'fr', 'Venez.')").await;
    let third = send(&world, &["service", "1"]).await;
    world.ok(["template", "set", "service_completed", "fr", "--built-in"]).await;
    let fourth = send(&world, &["service", "1"]).await;

    for (id, version, text) in [
        (
            built_in,
            0,
            "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule.",
        ),
        (first, 1, "Sami, votre Rio vous attend."),
        (second, 2, "Kia: prêt."),
        (third, 3, "Venez."),
        (
            fourth,
            4,
            "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule.",
        ),
    ] {
        let message = show(&world, id).await;
        assert_eq!(message["body"], text);
        assert_eq!(message["template_version"], version);
    }
    let history: Value =
        serde_json::from_str(&world.ok(["template", "history", "service_completed", "--json"]).await).unwrap();
    let versions: Vec<i64> = history.as_array().unwrap().iter().map(|it| it["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [4, 3, 2, 1, 0]);
    assert_eq!(history[0]["in_force"], true);
    let shown = world.ok(["template", "show", "service_completed", "fr", "--version", "1"]).await;
    assert_eq!(shown.trim_end(), "{{ first_name }}, votre {{ car_model }} vous attend.");
    let refused = world.psql(&world.url, "UPDATE sms_template SET body = 'x'").await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("never changed"));
}

#[tokio::test]
async fn a_bad_template_is_refused_with_the_place_and_the_variables_however_it_is_written() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    let long = "Bonjour, ".repeat(170);
    for (body, place, said) in [
        ("Bonjour,\n votre {{ car_colour }}", "line 2, column 8", "unknown variable \"car_colour\""),
        ("{% if first_name %}Bonjour", "line 1, column 26", "\"if\" without \"endif\""),
        ("Bonjour {{ first_name", "line 1, column 9", "\"{{\" is not closed"),
        ("{% else %}", "line 1, column 1", "\"else\" without \"if\""),
        ("{% endif %}", "line 1, column 1", "\"endif\" without \"if\""),
        ("{% for x in first_name %}x{% endfor %}", "line 1, column 1", "is not allowed"),
        ("{% set x = 1 %}", "line 1, column 1", "is not allowed"),
        ("{{ first_name * 9 }}", "line 1, column 1", "unknown variable"),
        ("{{ first_name|safe }}", "line 1, column 1", "unknown variable"),
        (long.as_str(), "", "segments; at most 4"),
        ("  \n", "", "not only blanks"),
    ] {
        let output = world.run(["template", "set", "service_completed", "fr", body]).await;
        let by_command = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{body}: {by_command}");
        let quoted = body.replace('\'', "''");
        let output =
            world.psql(&world.url, &format!("SELECT sms_template_set('service_completed', 'fr', '{quoted}')")).await;
        let by_sql = String::from_utf8_lossy(&output.stderr).into_owned();
        let output = world
            .psql(
                &world.url,
                &format!("INSERT INTO sms_template (kind, lang, body) VALUES ('service_completed', 'fr', '{quoted}')"),
            )
            .await;
        let by_insert = String::from_utf8_lossy(&output.stderr).into_owned();
        for answer in [by_command, by_sql, by_insert] {
            assert!(answer.contains(place) && answer.contains(said), "{body}: {answer}");
            if !place.is_empty() {
                assert!(answer.contains("Variables: first_name, car_make, car_model"), "{body}: {answer}");
            }
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM sms_template").await, 0);
    for (kind, lang, said) in [
        ("custom", "fr", "no template"),
        ("service_completed", "french", "unknown language"),
        ("lunch", "fr", "unknown kind"),
    ] {
        let output = world.run(["template", "set", kind, lang, "x"]).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn what_the_database_takes_for_a_template_the_renderer_takes_too_and_both_know_the_same_variables() {
    let world = World::new().await;
    for kind in Kind::ALL {
        let sql = format!(
            "SELECT coalesce(string_agg(name || '=' || sample, ', '), '') FROM sms_template_variables('{kind}')"
        );
        let known: Vec<String> = variables::of(kind).map(|it| format!("{}={}", it.name, it.sample)).collect();
        let of_sql = world.value(&sql).await;
        let mut of_sql: Vec<&str> = of_sql.split(", ").filter(|it| !it.is_empty()).collect();
        of_sql.sort_unstable();
        let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
        known.sort_unstable();
        assert_eq!(of_sql, known, "{kind}");
    }
    // Pieces, in many orders: well and badly nested.
    let pieces = [
        "Bonjour ",
        "{{ first_name }}",
        "{{first_name}}",
        "{{-  time -}}",
        "{% if time %}",
        "{%- if not first_name -%}",
        "{% else %}",
        "{% endif %}",
        "{%endif%}",
        "{# remarque #}",
        "}}",
        "{",
        "% ",
        "ê\n",
        "{{ date }}",
        "{{ nope }}",
        "{% raw %}",
    ];
    let mut taken = 0;
    let mut seed = 7_u64;
    for _ in 0..600 {
        let mut body = String::from("x");
        for _ in 0..5 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            body.push_str(pieces[usize::try_from(seed >> 33).unwrap() % pieces.len()]);
        }
        let quoted = body.replace('\'', "''");
        let checked =
            world.sql.batch(&format!("SELECT sms_template_check('appointment_reminder', 'fr', '{quoted}')")).await;
        if checked.is_ok() {
            taken += 1;
            let template =
                Template { kind: Kind::AppointmentReminder, lang: "fr".to_owned(), version: 1, body, encoding: None };
            let rendered = Texts::check(&template, EncodingPolicy::Fit, 10);
            assert!(rendered.is_ok(), "{:?}: {rendered:?}", template.body);
        }
    }
    assert!(taken > 50, "{taken}");
}

#[tokio::test]
async fn the_reminder_costs_one_segment_and_with_keep_it_is_sent_to_the_letter() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    world.service(1, "20 000 001", "scheduled").await;
    world.batch("UPDATE core_service SET scheduled_date = now() + interval '3 days'").await;
    world.service(2, "20 000 002", "completed").await;
    world.batch("UPDATE auth_user SET first_name = 'François' WHERE id = 2; UPDATE core_car SET model = 'Rio Édition spéciale à toit ouvrant' WHERE id = 2").await;
    let cost = async |id: i64| {
        let message = show(&world, id).await;
        (
            message["encoding"].as_str().unwrap().to_owned(),
            message["segments"].as_i64().unwrap(),
            message["body"].as_str().unwrap().to_owned(),
        )
    };
    let (encoding, segments, body) = cost(send(&world, &["appointment", "1"]).await).await;
    assert_eq!((encoding.as_str(), segments), ("gsm7", 1));
    assert!(body.ends_with("En cas d'empechement, merci de nous contacter."), "{body}");
    world.ok(["setting", "set", "appointment_reminder.encoding", "keep"]).await;
    let (encoding, segments, body) = cost(send(&world, &["appointment", "1"]).await).await;
    assert_eq!((encoding.as_str(), segments), ("ucs2", 2));
    assert!(body.ends_with("En cas d'empêchement, merci de nous contacter."), "{body}");

    // One segment either way: it stays as it is.
    let prete = send(&world, &["text", "20 000 003", "Bonjour Sami, votre Kia Rio est prête."]).await;
    let (encoding, segments, body) = cost(prete).await;
    assert_eq!((encoding.as_str(), segments, body.as_str()), ("ucs2", 1, "Bonjour Sami, votre Kia Rio est prête."));

    // A name is changed where that saves a segment, unless the garage keeps names.
    let (encoding, _, body) = cost(send(&world, &["service", "2"]).await).await;
    assert!(encoding == "gsm7" && body.contains("Francois"), "{body}");
    world.ok(["setting", "set", "keep_names", "true"]).await;
    let (encoding, _, body) = cost(send(&world, &["service", "2"]).await).await;
    assert!(encoding == "ucs2" && body.contains("François"), "{body}");

    // A template's own policy goes before the setting; what cannot be forced is not sent.
    world
        .ok([
            "template",
            "set",
            "service_completed",
            "fr",
            "{{ first_name }}, votre {{ car_make }} est prête",
            "--encoding",
            "force",
        ])
        .await;
    let (encoding, _, body) = cost(send(&world, &["service", "2"]).await).await;
    assert_eq!((encoding.as_str(), body.as_str()), ("gsm7", "Francois, votre Kia est prete"));
    world.batch("UPDATE auth_user SET first_name = 'محمد' WHERE id = 2; INSERT INTO sms_outbox (kind, source_id) VALUES ('service_completed', 2)").await;
    world
        .value_becomes("SELECT status || ' ' || reason FROM sms_message ORDER BY id DESC LIMIT 1", "failed not_gsm7")
        .await;
}

#[tokio::test]
async fn a_name_with_template_signs_is_a_name() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    world.service(1, "20 000 001", "completed").await;
    world.batch("UPDATE auth_user SET first_name = '{{ 7*7 }}{% for x in y %}'").await;
    let id = send(&world, &["service", "1"]).await;
    let body = show(&world, id).await["body"].as_str().unwrap().to_owned();
    assert!(body.starts_with("Bonjour {{ 7*7 }}{% for x in y %}, votre"), "{body}");
}

#[tokio::test]
async fn a_preview_shows_text_encoding_segments_price_and_what_forces_ucs2_on_real_rows() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    world.ok(["setting", "set", "segment_price", "0.035"]).await;
    let empty = world.ok(["template", "preview", "service_completed"]).await;
    assert!(empty.contains("no row to try it on") && empty.contains("62 septets"), "{empty}");
    for number in 1..=5 {
        world.service(number, &format!("20 000 00{number}"), if number == 5 { "scheduled" } else { "completed" }).await;
    }
    world.batch("UPDATE auth_user SET first_name = 'محمد' WHERE id = 4; UPDATE core_service SET scheduled_date = '2026-12-01 08:30+00'").await;
    let preview: Value =
        serde_json::from_str(&world.ok(["template", "preview", "service_completed", "--json"]).await).unwrap();
    let ids: Vec<i64> =
        preview["texts"].as_array().unwrap().iter().map(|it| it["source_id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [4, 3, 2]);
    assert_eq!(preview["texts"][0]["encoding"], "ucs2");
    assert_eq!(preview["texts"][0]["segments"], 2);
    assert_eq!(preview["texts"][0]["forcing"][0]["place"], 9);
    assert_eq!(preview["texts"][1]["segments"], 1);
    assert_eq!(preview["texts"][1]["price"], 0.035);

    let draft = "Rappel\u{a0}: {{ car_make }} le {{ date_text }}, en cas d'empêchement appelez-nous, merci beaucoup à vous. À bientôt.";
    let shown = world.ok(["template", "preview", "appointment_reminder", "--text", draft, "--encoding", "keep"]).await;
    for part in [
        "Kia le mardi 1er décembre 2026",
        "UCS-2",
        "2 segments, 0.070 DT",
        "ê at ",
        "could be \"e\"",
        "1 segment as: Rappel : Kia le mardi",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(world.count("SELECT count(*) FROM sms_template").await, 0, "a preview saves nothing");
    let one = world.ok(["template", "preview", "service_completed", "--id", "99"]).await;
    assert!(one.contains("not sent: service_completed 99 is not there"), "{one}");
    let bad = world.run(["template", "preview", "service_completed", "--text", "{{ x }}"]).await;
    assert_eq!(bad.status.code(), Some(1));
}
