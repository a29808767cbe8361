//! The right person: opt-outs, consent, lists of other people's opt-outs, replies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fmt::Write as _;

use ecar_sms::message::phone::{Countries, normalise};
use serde_json::Value;
use support::World;

async fn outcome(world: &World, id: i64) -> String {
    world
        .value_becomes(&format!("SELECT status NOT IN ('queued', 'sending') FROM sms_message WHERE id = {id}"), "t")
        .await;
    world.value(&format!("SELECT concat_ws(' ', status, reason) FROM sms_message WHERE id = {id}")).await
}

async fn campaign(world: &World, phone: &str) -> i64 {
    world
        .count(&format!(
            "INSERT INTO sms_outbox (kind, recipient, body) VALUES ('campaign', '{phone}', 'Promotion') RETURNING id"
        ))
        .await
}

/// The same number, as people write it.
const WRITTEN: [&str; 6] =
    ["20 000 001", "+216 20 000 001", "00216 20000001", "21620000001", "٢٠٠٠٠٠٠١", "(20) 000-001"];

#[tokio::test]
async fn who_has_opted_out_of_all_gets_nothing_however_the_number_is_written() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    for out in WRITTEN {
        world.batch("TRUNCATE sms_contact").await;
        world.ok(["optout", "add", out, "--how", "au comptoir"]).await;
        for to in WRITTEN {
            let id = world.enqueue(to, "Bonjour").await;
            assert_eq!(outcome(&world, id).await, "skipped opted_out", "{out} {to}");
        }
    }
    world.service(1, "00216 20.000.001", "in_progress").await;
    world.complete(1).await;
    world.value_becomes("SELECT reason FROM sms_message WHERE source_id = 1", "opted_out").await;
    let campaign = campaign(&world, "20000001").await;
    assert_eq!(outcome(&world, campaign).await, "skipped opted_out");
    assert_eq!(world.gateway.count(), 0);
    // Whoever comes back gets messages again.
    world.ok(["optout", "remove", "20 000 001"]).await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    assert_eq!(outcome(&world, id).await, "sent");
}

#[tokio::test]
async fn an_opt_out_of_marketing_ends_marketing_alone() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    world.batch("SELECT sms_consent_give('20 000 001', 'formulaire signé', 'J''accepte'); SELECT sms_optout('20 000 001', 'marketing')").await;
    let marketing = campaign(&world, "+21620000001").await;
    assert_eq!(outcome(&world, marketing).await, "skipped opted_out");
    let text = world.enqueue("20 000 001", "Votre voiture est prête").await;
    assert_eq!(outcome(&world, text).await, "sent");
    // It does not narrow an opt-out of all.
    world.batch("SELECT sms_optout('20 000 001'); SELECT sms_optout('20 000 001', 'marketing')").await;
    let text = world.enqueue("20 000 001", "Votre voiture est prête").await;
    assert_eq!(outcome(&world, text).await, "skipped opted_out");
}

#[tokio::test]
async fn an_opt_out_between_the_order_and_the_sending_still_holds() {
    let world = World::new().await;
    world.batch("SELECT sms_consent_give('20 000 001', 'formulaire', 'oui')").await;
    world.batch("SELECT sms_set('paused', 'true')").await;
    let _daemon = world.daemon().await;
    let waiting = world.enqueue("20 000 001", "Bonjour").await;
    let marketing = campaign(&world, "20 000 001").await;
    let other = world.enqueue("20 000 002", "Bonjour").await;
    world.batch("SELECT sms_optout('+21620000001'); SELECT sms_set('paused', 'false')").await;
    assert_eq!(outcome(&world, waiting).await, "skipped opted_out");
    assert_eq!(outcome(&world, marketing).await, "skipped opted_out");
    assert_eq!(outcome(&world, other).await, "sent");
    assert!(world.received_by("+21620000001").is_empty());
}

#[tokio::test]
async fn without_consent_no_marketing_goes_out_and_the_ledger_tells_who_when_and_how() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    let none = campaign(&world, "20 000 001").await;
    assert_eq!(outcome(&world, none).await, "skipped no_consent");
    let bare = world.run(["contact", "set", "20 000 001", "--consent", "yes", "--how", "par téléphone"]).await;
    assert!(String::from_utf8_lossy(&bare.stderr).contains("wording"), "{}", support::shown(&bare));
    world
        .ok([
            "contact",
            "set",
            "20 000 001",
            "--consent",
            "yes",
            "--how",
            "formulaire signé",
            "--wording",
            "J'accepte la publicité",
            "--proof",
            "classeur 3",
        ])
        .await;
    let given = campaign(&world, "20 000 001").await;
    assert_eq!(outcome(&world, given).await, "sent");
    world.ok(["contact", "set", "20 000 001", "--consent", "no", "--how", "par lettre"]).await;
    let revoked = campaign(&world, "20 000 001").await;
    assert_eq!(outcome(&world, revoked).await, "skipped no_consent");
    world.batch("DELETE FROM sms_contact").await;

    let contact: Value = serde_json::from_str(&world.ok(["contact", "show", "20000001", "--json"]).await).unwrap();
    let ledger = contact["ledger"].as_array().unwrap();
    let told: Vec<String> =
        ledger.iter().map(|it| format!("{} {}", it["what"].as_str().unwrap(), it["how"].as_str().unwrap())).collect();
    assert_eq!(told, ["consented formulaire signé", "revoked par lettre"]);
    assert_eq!(ledger[0]["wording"], "J'accepte la publicité");
    assert_eq!(ledger[0]["proof"], "classeur 3");
    assert!(!ledger[0]["by"].as_str().unwrap().is_empty());
    let shown = world.ok(["contact", "show", "20000001"]).await;
    assert!(shown.contains("formulaire signé") && shown.contains("classeur 3"), "{shown}");
}

#[tokio::test]
async fn plain_sql_reads_numbers_as_the_daemon_does_and_refuses_what_is_none() {
    let world = World::new().await;
    let countries = Countries::everywhere();
    for text in WRITTEN.into_iter().chain([
        "20.000.002",
        "020000003",
        "+216 (0)20 000 004",
        "tel:+21620000005",
        "+21621620000006",
        "۲۰۰۰۰۰۰۷",
        "+33 6 12 34 56 78",
    ]) {
        let of_daemon = normalise(text, &countries).unwrap().number.as_str().to_owned();
        assert_eq!(world.value(&format!("SELECT sms_e164('{text}')")).await, of_daemon, "{text}");
    }
    for text in ["", "call me maybe", "2000000", "85300", "+216", "20 000 001x", "200000011"] {
        let error = world.sql.batch(&format!("SELECT sms_optout('{text}')")).await.unwrap_err().to_string();
        assert!(error.contains("is not a phone number"), "{text}: {error}");
    }
    for sql in [
        "INSERT INTO sms_contact (phone, opted_out) VALUES ('20 000 001', 'some')",
        "INSERT INTO sms_contact (phone, lang) VALUES ('20 000 001', 'french')",
        "INSERT INTO sms_contact (phone, consent_at) VALUES ('20 000 001', now())",
    ] {
        assert!(world.sql.batch(sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_list_of_a_hundred_thousand_is_taken_over_and_its_bad_lines_are_listed() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    // A thousand numbers of ours would be too few: the list repeats them in a hundred ways of writing.
    let mut list = String::from("Date;Numéro\n");
    for line in 0..100_000_u32 {
        let number = line % 1000;
        match line {
            7 => list.push_str("2026-11-26;call me maybe\n"),
            70_000 => list.push_str("2026-11-26;71 000 000\n"),
            _ if line % 3 == 0 => writeln!(list, "2026-11-26;+216 20 000 {number:03}").unwrap(),
            _ => writeln!(list, "2026-11-26;20000{number:03}").unwrap(),
        }
    }
    let file = world.directory().join("list.csv");
    std::fs::write(&file, list).unwrap();
    let path = file.to_str().unwrap();
    let imported: Value = serde_json::from_str(&world.ok(["optout", "import", path, "--json"]).await).unwrap();
    assert_eq!((&imported["entries"], &imported["added"]), (&100_000.into(), &1_000.into()));
    let bad: Vec<u64> = imported["bad"].as_array().unwrap().iter().map(|it| it["line"].as_u64().unwrap()).collect();
    assert_eq!(bad, [9, 70_002]);
    let output = world.run(["optout", "import", path]).await;
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("99998 numbers taken over, 0 of them new; 2 lines") && said.contains("line 9: "), "{said}");
    assert_eq!(world.value("SELECT count(*) || ' ' || min(opted_out) FROM sms_contact").await, "1000 marketing");
    assert_eq!(world.count("SELECT count(*) FROM sms_consent WHERE how = 'list 85300'").await, 1_000);
    let listed = world.ok(["optout", "list", "--limit", "5"]).await;
    assert_eq!(listed.lines().count(), 6, "{listed}");

    // Of the category alone: a text goes out.
    let text = world.enqueue("20 000 500", "Bonjour").await;
    assert_eq!(outcome(&world, text).await, "sent");
}

#[tokio::test]
async fn languages_of_many_numbers_are_taken_over_from_a_list() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    world.batch("SELECT sms_optout('20 000 003', 'marketing')").await;
    let file = world.directory().join("languages.csv");
    std::fs::write(
        &file,
        "Nom,Téléphone,Langue\nA,20 000 001,ar\nB,+216 20 000 002,en\nC,20000003,ar\nD,x,ar\nE,20 000 005,arabe\n",
    )
    .unwrap();
    let imported: Value =
        serde_json::from_str(&world.ok(["contact", "import", file.to_str().unwrap(), "--json"]).await).unwrap();
    assert_eq!((&imported["entries"], &imported["changed"]), (&5.into(), &3.into()));
    let bad: Vec<u64> = imported["bad"].as_array().unwrap().iter().map(|it| it["line"].as_u64().unwrap()).collect();
    assert_eq!(bad, [5, 6]);
    let stored = "SELECT string_agg(concat_ws(' ', phone, lang, opted_out), ', ' ORDER BY phone) FROM sms_contact";
    assert_eq!(world.value(stored).await, "+21620000001 ar, +21620000002 en, +21620000003 ar marketing");
    assert!(world.ok(["contact", "import", file.to_str().unwrap()]).await.starts_with("0 languages set, 2 lines"));
}

#[tokio::test]
async fn a_reply_of_stop_ends_the_messages_and_start_brings_them_back() {
    let world = World::new().await;
    let reply =
        async |text: &str| world.value(&format!("SELECT sms_receive_reply('20 000 001', '{text}', 'phone')")).await;
    let state = async || world.value("SELECT coalesce(opted_out, 'none') FROM sms_contact").await;
    for stop in ["STOP", "stop.", " Arrêt ", "ARRET", "قف", "Stop merci", "إيقاف"] {
        assert_eq!(reply(stop).await, "opted_out", "{stop}");
        assert_eq!(state().await, "all", "{stop}");
        assert_eq!(reply("start").await, "opted_in");
        assert_eq!(state().await, "none");
    }
    for other in ["", "Merci", "non stop", "STOPPER LE MOTEUR?", "à quelle heure?"] {
        assert_eq!(reply(other).await, "", "{other}");
        assert_eq!(state().await, "none", "{other}");
    }
    world.batch("SELECT sms_set('stop_scope', 'marketing')").await;
    reply("stop").await;
    assert_eq!(state().await, "marketing");
    reply("STOP ALL").await;
    assert_eq!(state().await, "all");
    assert_eq!(
        world.value("SELECT how || ' by ' || by FROM sms_consent ORDER BY id DESC LIMIT 1").await,
        "replied STOP by the customer"
    );
    assert_eq!(world.count("SELECT count(*) FROM sms_inbound WHERE action IS NULL").await, 5);
}

#[tokio::test]
async fn marketing_with_an_old_list_of_opt_outs_raises_the_alarm() {
    let world = World::new().await;
    let _daemon = world.daemon().await;
    let alarm = async || world.ok(["status"]).await.contains("list of opt-outs");
    assert!(!alarm().await, "no marketing is sent");
    world.batch("SELECT sms_consent_give('20 000 001', 'formulaire', 'oui')").await;
    let sent = campaign(&world, "20 000 001").await;
    assert_eq!(outcome(&world, sent).await, "sent");
    assert!(alarm().await, "no list was ever taken over");
    let doctor = world.run(["doctor"]).await;
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("list of opt-outs"), "{}", support::shown(&doctor));
    let file = world.directory().join("list.csv");
    std::fs::write(&file, "20 000 002\n").unwrap();
    world.ok(["optout", "import", file.to_str().unwrap()]).await;
    assert!(!alarm().await);
    world.batch("UPDATE sms_optout_import SET at = now() - interval '49 hours'").await;
    assert!(alarm().await);
    world.ok(["setting", "set", "optout_max_age", "0"]).await;
    assert!(!alarm().await);
}
