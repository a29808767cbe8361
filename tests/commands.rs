//! The command line as people and systemd meet it: what each command prints, its exit code, signals, logs, the doctor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use ecar_sms::gateway::{Gateway, Script};
use serde_json::Value;
use support::{Daemon, World, program, shown};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Panics unless the command ended with this code; returns what it said on standard error.
fn ended_with(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", shown(output));
    let said = stderr(output);
    assert!(code == 0 || !said.trim().is_empty(), "it failed without a word: {}", shown(output));
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Messages wait from now on, so that a test can look at them. Nothing is being claimed any more when this returns.
async fn pause(world: &World, daemon: &Daemon) {
    world.batch("SELECT sms_set('paused', 'true')").await;
    support::until("the daemon noticed", async || daemon.log().contains("paused by setting")).await;
}

async fn invoice(world: &World, number: i64, amount: &str) {
    world
        .batch(&format!(
            "INSERT INTO core_invoice (id, invoice_number, issued_date, due_date, status, final_amount, created_at, updated_at, service_id)
             VALUES ({number}, 'INV-{number:08}', now(), now(), 'pending', {amount}, now(), now(), {number})"
        ))
        .await;
}

async fn status_of(world: &World, id: i64) -> String {
    world.value(&format!("SELECT status FROM sms_message WHERE id = {id}")).await
}

// --- list, show, resend, cancel, release -------------------------------------------------------------------------------

#[tokio::test]
async fn list_shows_messages_newest_first_and_filters_them() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    assert_eq!(world.ok(["list"]).await, "no messages\n");
    let sent = world.enqueue("20 000 001", "Votre voiture est prête").await;
    world.status_becomes(sent, "sent").await;
    let skipped = world.enqueue("junk", "deux").await;
    world.status_becomes(skipped, "skipped").await;
    pause(&world, &daemon).await;
    let queued = world.enqueue("20 000 003", &"long ".repeat(60)).await;

    let table = world.ok(["list"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    for word in ["ID", "STATUS", "TO", "KIND", "TEXT"] {
        assert!(lines[0].contains(word), "{table}");
    }
    let ids: Vec<i64> =
        lines[1..].iter().map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, [queued, skipped, sent]);
    assert!(lines[3].contains("+21620000001") && lines[3].contains("Votre voiture est prête"), "{table}");
    assert!(lines[2].contains("invalid_phone"), "{table}");
    assert!(lines[1].contains("long...") || lines[1].contains("long ..."), "{table}");

    let ids = async |arguments: &[&str]| -> Vec<i64> {
        let mut all = vec!["list", "--json"];
        all.extend(arguments);
        let json: Value = serde_json::from_str(&world.ok(all).await).unwrap();
        json.as_array().unwrap().iter().map(|message| message["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&[]).await, [queued, skipped, sent]);
    assert_eq!(ids(&["--status", "sent"]).await, [sent]);
    assert_eq!(ids(&["--phone", "20 000 001"]).await, [sent]);
    assert_eq!(ids(&["--phone", "+216 20 000 001"]).await, [sent]);
    assert_eq!(ids(&["--kind", "custom", "--limit", "1"]).await, [queued]);
    assert!(ids(&["--kind", "campaign"]).await.is_empty());
    world.batch(&format!("UPDATE sms_outbox SET created_at = now() - interval '3 hours' WHERE id = {queued}")).await;
    assert_eq!(ids(&["--since", "2h"]).await, [skipped, sent]);

    let said = ended_with(&world.run(["list", "--status", "perhaps"]).await, 1);
    assert!(said.contains("delivered"), "it names what is allowed: {said}");
    assert!(ended_with(&world.run(["list", "--kind", "party"]).await, 1).contains("custom"));
    assert!(ended_with(&world.run(["list", "--since", "soon"]).await, 1).contains("2h"));
    ended_with(&world.run(["list", "--limit", "many"]).await, 2);
    ended_with(&world.run(["list", "--colour"]).await, 2);
    daemon.stop().await;
}

/// The positions of these words in the text, which must rise.
fn in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("no {word:?}, or not in this order, in\n{text}"));
        rest = &rest[at + word.len()..];
    }
}

#[tokio::test]
async fn show_tells_the_whole_story_in_order() {
    let world = World::with_script(
        "[[rule]]\nphone = \"+21620000002\"\ntimes = 1\nstatus = 429\nheaders = { \"Retry-After\" = \"1\" }\n",
    )
    .await;
    world.service(1, "20 000 005", "completed").await;
    world.batch("DELETE FROM sms_outbox; SELECT sms_set('invoice_created.settle', '0s')").await;
    invoice(&world, 1, "0.000").await;
    let daemon = world.daemon().await;

    let sent = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(sent, "sent").await;
    let text = world.ok(["show", &sent.to_string()]).await;
    in_order(
        &text,
        &[
            "custom",
            "sent",
            "+21620000001",
            "Bonjour",
            "1 segment, gsm7",
            "gateway, id sim-",
            "created",
            "sent",
            "gateway",
        ],
    );

    let retried = world.enqueue("20 000 002", "Bonjour").await;
    world.status_becomes(retried, "sent").await;
    in_order(
        &world.ok(["show", &retried.to_string()]).await,
        &["\n\n", "created", "attempt 1: throttled", "429", "sent"],
    );

    let skipped = world.enqueue("junk", "Bonjour").await;
    world.status_becomes(skipped, "skipped").await;
    let text = world.ok(["show", &skipped.to_string()]).await;
    in_order(
        &text,
        &["skipped: invalid_phone: the phone number is not valid", "\n\n", "created", "skipped: invalid_phone"],
    );

    let again: Value = serde_json::from_str(&world.ok(["resend", &sent.to_string(), "--json"]).await).unwrap();
    let again = again[0]["id"].as_i64().unwrap();
    world.status_becomes(again, "sent").await;
    in_order(
        &world.ok(["show", &sent.to_string()]).await,
        &["\n\n", "created", "sent", "resent by", &format!("as message {again}")],
    );
    let text = world.ok(["show", &again.to_string()]).await;
    in_order(&text, &[&format!("sent again for message {sent}"), "\n\n", "created by", "uid", "sent"]);

    let held = world.count("SELECT id FROM sms_message WHERE kind = 'invoice_created'").await;
    world.status_becomes(held, "held").await;
    let text = world.ok(["show", &held.to_string()]).await;
    in_order(
        &text,
        &["invoice_created 1", "held: no_amount", "\n\n", "created by an event in the garage", "held: no_amount"],
    );
    world.batch("UPDATE core_invoice SET final_amount = 12.500").await;
    world.ok(["release", &held.to_string()]).await;
    world.status_becomes(held, "sent").await;
    in_order(
        &world.ok(["show", &held.to_string()]).await,
        &["12.500 DT", "\n\n", "created", "held: no_amount", "released by", "sent"],
    );

    let json: Value = serde_json::from_str(&world.ok(["show", "--json", &held.to_string()]).await).unwrap();
    assert_eq!(json["id"], held);
    let steps: Vec<&str> =
        json["story"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap()).collect();
    assert_eq!(steps, ["created", "held", "released", "sent"]);

    assert!(ended_with(&world.run(["show", "4711"]).await, 1).contains("there is no message 4711"));
    ended_with(&world.run(["show", "abc"]).await, 2);
    ended_with(&world.run(["show"]).await, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn resend_cancel_and_release_take_several_ids_and_go_on_after_one_that_is_refused() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    pause(&world, &daemon).await;
    let one = world.enqueue("20 000 001", "un").await;
    let two = world.enqueue("20 000 002", "deux").await;
    let three = world.enqueue("20 000 003", "trois").await;
    let [a, b, c] = [one, two, three].map(|id| id.to_string());
    let output = world.run(["cancel", &a, "4711", &b]).await;
    assert!(ended_with(&output, 1).contains("cancel 4711: there is no message 4711"));
    assert_eq!(stdout(&output), format!("message {a} is now cancelled\nmessage {b} is now cancelled\n"));
    let output = world.run(["cancel", &a]).await;
    assert!(ended_with(&output, 1).contains("cancelled"));
    assert!(stdout(&output).is_empty());

    let output = world.run(["resend", &a, &c, &b]).await;
    assert!(ended_with(&output, 1).contains(&format!("resend {c}: message {c} is still queued")));
    in_order(
        &stdout(&output),
        &[&format!("message {a} is sent again as message "), &format!("message {b} is sent again as message ")],
    );
    assert_eq!(world.count(&format!("SELECT count(*) FROM sms_message WHERE resend_of IN ({a}, {b})")).await, 2);

    assert!(ended_with(&world.run(["release", &c]).await, 1).contains("not held"));
    world.batch(&format!("UPDATE sms_outbox SET state = 'held', reason = 'no_amount' WHERE id = {c}")).await;
    let output = world.run(["release", &c]).await;
    ended_with(&output, 0);
    assert_eq!(stdout(&output), format!("message {c} is now queued\n"));
    let json: Value = serde_json::from_str(&world.ok(["cancel", "--json", &c]).await).unwrap();
    assert_eq!(json[0]["status"], "cancelled");
    for command in ["resend", "cancel", "release"] {
        ended_with(&world.run([command]).await, 2);
        ended_with(&world.run([command, "x"]).await, 2);
    }
    daemon.stop().await;
}

// --- send --------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn send_by_hand_waits_for_the_result_when_told_to() {
    let world = World::with_script("[[rule]]\nphone = \"+21620000009\"\nstatus = 400\n").await;
    for number in [1, 2] {
        world.service(number, &format!("20 000 00{number}"), "scheduled").await;
    }
    invoice(&world, 1, "250.000").await;
    world
        .batch("DELETE FROM sms_outbox; UPDATE core_service SET scheduled_date = '2099-12-01 08:30+01' WHERE id = 2")
        .await;
    let daemon = world.daemon().await;
    for what in [["service", "1"], ["invoice", "1"], ["appointment", "2"]] {
        let output = world.run(["send", what[0], what[1], "--wait", "30s"]).await;
        ended_with(&output, 0);
        assert!(stdout(&output).trim().ends_with("is sent"), "{}", shown(&output));
    }
    let texts: Vec<String> = world.gateway.received().iter().map(|message| message.message.clone()).collect();
    assert!(texts[0].contains("est terminé"), "{texts:?}");
    assert!(texts[1].contains("250.000 DT"), "{texts:?}");
    assert!(texts[2].contains("rappel") && texts[2].contains("01/12/2099 à 08:30"), "{texts:?}");

    let output =
        world.run(["send", "text", "20 000 003", "Bonjour\nà vous", "--wait", "30s", "--lang", "fr", "--json"]).await;
    ended_with(&output, 0);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((json["status"].as_str(), json["lang"].as_str()), (Some("sent"), Some("fr")), "{json:#}");
    assert_eq!(world.received_by("+21620000003")[0].message, "Bonjour\nà vous");

    let output = world.run(["send", "text", "junk", "Bonjour", "--wait", "30s"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(stdout(&output).contains("skipped: invalid_phone"), "{}", shown(&output));
    let output = world.run(["send", "text", "20 000 009", "Bonjour", "--wait", "30s"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(stdout(&output).contains("failed: rejected"), "{}", shown(&output));
    let output = world.run(["send", "service", "4711", "--wait", "30s"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(stdout(&output).contains("source_gone"), "{}", shown(&output));
    let output = world.run(["send", "text", "20 000 004", "Bonjour", "--at", "2h", "--wait", "1s"]).await;
    assert_eq!(output.status.code(), Some(75), "{}", shown(&output));
    assert!(world.received_by("+21620000004").is_empty());
    daemon.stop().await;
}

#[tokio::test]
async fn send_at_a_time_keeps_the_message_until_then_and_refuses_what_is_no_time() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    for (at, expected) in [
        ("2099-12-01 08:00", "2099-12-01 07:00:00+00"),
        ("2099-12-01T08:00+02:00", "2099-12-01 06:00:00+00"),
        ("2099-12-01T08:00:00Z", "2099-12-01 08:00:00+00"),
    ] {
        let json: Value =
            serde_json::from_str(&world.ok(["send", "text", "20 000 001", "Bonjour", "--at", at, "--json"]).await)
                .unwrap();
        let id = json["id"].as_i64().unwrap();
        assert_eq!(status_of(&world, id).await, "queued");
        assert_eq!(
            world
                .value(&format!("SELECT not_before AT TIME ZONE 'UTC' || '+00' FROM sms_message WHERE id = {id}"))
                .await,
            expected
        );
    }
    let said = world.ok(["send", "--at", "2h", "text", "20 000 001", "Bonjour"]).await;
    assert!(said.starts_with("message ") && said.ends_with(" is queued\n"), "{said}");
    assert_eq!(world.count("SELECT count(*) FROM sms_message WHERE not_before BETWEEN now() + interval '1 hour' AND now() + interval '3 hours'").await, 1);
    let before = world.count("SELECT count(*) FROM sms_message").await;
    assert!(ended_with(&world.run(["send", "text", "20 000 001", "x", "--at", "soonish"]).await, 2).contains("18:30"));
    ended_with(&world.run(["send", "text", "20 000 001", "x", "--wait", "soon"]).await, 2);
    ended_with(&world.run(["send", "text", "20 000 001"]).await, 2);
    ended_with(&world.run(["send", "party", "1"]).await, 2);
    ended_with(&world.run(["send", "service", "one"]).await, 2);
    assert!(ended_with(&world.run(["send", "text", "20 000 001", "  "]).await, 1).contains("body"));
    assert!(
        ended_with(&world.run(["send", "text", "20 000 001", "x", "--lang", "FRANÇAIS"]).await, 1).contains("language")
    );
    assert!(ended_with(&world.run(["send", "text", "20 000 001", &"x".repeat(1_601)]).await, 1).contains("too long"));
    assert_eq!(world.count("SELECT count(*) FROM sms_message").await, before);
    assert_eq!(world.gateway.count(), 0);
    daemon.stop().await;
}

// --- setting, pause, status --------------------------------------------------------------------------------------------

#[tokio::test]
async fn settings_are_listed_and_set_and_bad_ones_refused_with_a_sentence() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let table = world.ok(["setting", "list"]).await;
    for name in ["stampede_limit", "service_completed.enabled", "invoice_created.delay", "campaign.validity"] {
        assert!(table.contains(name), "{table}");
    }
    assert_eq!(world.ok(["setting", "set", "custom.validity", "2 days"]).await, "custom.validity = 2 days\n");
    let json: Value = serde_json::from_str(&world.ok(["setting", "list", "--json"]).await).unwrap();
    let custom = json.as_array().unwrap().iter().find(|setting| setting["name"] == "custom.validity").unwrap();
    assert_eq!(custom["value"], "2 days");
    assert!(
        ended_with(&world.run(["setting", "set", "custom.validity", "soon"]).await, 1)
            .contains("Write for example 30s")
    );
    assert!(
        ended_with(&world.run(["setting", "set", "colour", "red"]).await, 1).contains("there is no setting \"colour\"")
    );
    assert!(ended_with(&world.run(["setting", "set", "../../status", "x"]).await, 1).contains("there is no setting"));
    assert!(ended_with(&world.run(["setting", "set", "stampede_limit", "-1"]).await, 2).contains("-1"));
    assert!(ended_with(&world.run(["setting", "set", "stampede_limit", "many"]).await, 1).contains("whole number"));
    ended_with(&world.run(["setting", "set", "paused"]).await, 2);
    assert_eq!(world.value("SELECT value FROM sms_setting WHERE name = 'custom.validity'").await, "2 days");

    // A setting is in force for the very next message.
    world.ok(["setting", "set", "service_completed.enabled", "false"]).await;
    world.service(1, "20 000 001", "completed").await;
    world.settled().await;
    assert_eq!(world.value("SELECT status || ' ' || reason FROM sms_message").await, "skipped disabled");
    assert_eq!(world.gateway.count(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn status_is_exit_0_when_well_and_1_when_not_and_pause_is_no_illness() {
    let mut world = World::new().await;
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    let text = world.ok(["status"]).await;
    in_order(
        &text,
        &[
            "well",
            &format!("pid {}", daemon.pid),
            "listening",
            "0 due",
            "1 sent (1 segments)",
            "gateway: takes messages",
        ],
    );
    let json: Value = serde_json::from_str(&world.ok(["status", "--json"]).await).unwrap();
    assert_eq!((json["healthy"].as_bool(), json["today"][0]["messages"].as_i64()), (Some(true), Some(1)));
    world.ok(["pause"]).await;
    support::until("paused", async || world.ok(["status"]).await.contains("paused by setting")).await;
    world.ok(["resume"]).await;
    support::until("resumed", async || world.ok(["status"]).await.contains("daemon     well;")).await;
    assert!(world.ok(["reload"]).await.contains("providers: gateway"));
    daemon.stop().await;

    world.set("SMS_API_KEY", "");
    let daemon = world.daemon().await;
    let output = world.run(["status"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    in_order(&stdout(&output), &["NOT WELL", "problem", "SMS_API_KEY"]);
    let output = world.run(["status", "--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert_eq!(serde_json::from_str::<Value>(&stdout(&output)).unwrap()["healthy"], false);
    daemon.stop().await;
}

// --- completions, man, gateway -----------------------------------------------------------------------------------------

#[tokio::test]
async fn completions_and_the_manual_need_no_daemon_and_no_configuration() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = program(["completions", shell]).output().await.unwrap();
        ended_with(&output, 0);
        assert!(stdout(&output).contains("ecar-sms") && stdout(&output).contains("doctor"), "{shell}");
    }
    ended_with(&program(["completions", "tcsh"]).output().await.unwrap(), 2);
    let output = program(["man"]).output().await.unwrap();
    ended_with(&output, 0);
    in_order(&stdout(&output), &[".TH ecar", "install", "resend"]);
    let output = program(["--version"]).output().await.unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), format!("ecar-sms {}\n", env!("CARGO_PKG_VERSION"))));
    let output = program(["--help"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    for command in [
        "run",
        "demo",
        "install",
        "uninstall",
        "doctor",
        "gateway",
        "status",
        "list",
        "show",
        "resend",
        "cancel",
        "release",
        "send",
        "setting",
        "completions",
        "man",
    ] {
        assert!(stdout(&output).contains(&format!("  {command} ")), "no {command} in the help");
    }
}

#[tokio::test]
async fn the_gateway_command_takes_messages_shows_them_and_ends_with_ctrl_c() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script.toml");
    std::fs::write(&script, "[[rule]]\nphone = \"+21620000002\"\nstatus = 503\n").unwrap();
    let mut child = program(["gateway", "--listen", "127.0.0.1:0", "--script"])
        .arg(&script)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let url = first
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .unwrap_or_else(|| panic!("{first}"))
        .to_owned();
    let curl = async |arguments: &[&str], url: &str| {
        let output =
            Command::new("curl").args(["-sS", "-w", "\n%{http_code}"]).args(arguments).arg(url).output().await.unwrap();
        let text = stdout(&output);
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_owned(), serde_json::from_str::<Value>(body).unwrap_or_default())
    };
    let message = |phone: &str| {
        format!(r#"{{"api_key":"k","sender_id":"ECAR","phone":"{phone}","message":"Bonjour \u001b[2J"}}"#)
    };
    let (status, answer) = curl(&["-d", &message("+21620000001")], &url).await;
    assert_eq!((status.as_str(), answer["status"].as_str()), ("200", Some("accepted")));
    assert_eq!(curl(&["-d", &message("+21620000002")], &url).await.0, "503");
    for (phone, status) in [("+21620000001", "200"), ("+21620000002", "503")] {
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.contains(phone) && line.contains(status) && !line.contains('\u{1b}'), "{line:?}");
    }
    let base = url.strip_suffix("/v1/messages").unwrap();
    let (status, received) = curl(&[], &format!("{base}/messages")).await;
    assert_eq!((status.as_str(), received.as_array().unwrap().len()), ("200", 2));
    assert_eq!(received[0]["phone"], "+21620000001");
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = tokio::time::timeout(support::PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_gateway_that_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script.toml");
    std::fs::write(&script, "seed = 1\n\nlatency = \"soon\"\n").unwrap();
    let output = program(["gateway", "--listen", "127.0.0.1:0", "--script"]).arg(&script).output().await.unwrap();
    let said = ended_with(&output, 64);
    assert!(said.contains("script.toml") && said.contains("line 3"), "{said}");
    let output = program(["gateway", "--script", "/no/such/script.toml"]).output().await.unwrap();
    assert!(!output.status.success() && stderr(&output).contains("/no/such/script.toml"), "{}", shown(&output));
    ended_with(&program(["gateway", "--listen", "nowhere"]).output().await.unwrap(), 2);
    let taken = Gateway::start(([127, 0, 0, 1], 0).into(), Script::default()).await.unwrap();
    let address = taken.addr().to_string();
    let output = program(["gateway", "--listen", &address]).output().await.unwrap();
    assert!(ended_with(&output, 1).contains(&address));
}

// --- exit codes --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn wrong_usage_is_exit_2() {
    for arguments in [
        &[][..],
        &["explode"],
        &["run", "--fast"],
        &["list", "--limit"],
        &["completions"],
        &["--log-format", "xml", "run"],
        &["setting"],
        &["send"],
    ] {
        let output = program(arguments).output().await.unwrap();
        ended_with(&output, 2);
    }
}

#[tokio::test]
async fn a_bad_configuration_is_exit_64_and_names_the_file_and_the_line() {
    let mut world = World::new().await;
    let config = world
        .configure("[sending]\nmax_segments = 5\n\n[gateway]\napi_kye = \"hunter2-hunter2\"\n")
        .display()
        .to_string();
    for command in ["run", "install", "uninstall"] {
        let said = ended_with(&world.run([command]).await, 64);
        assert!(said.contains(&config) && said.contains("line 5") && said.contains("api_kye"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let provider =
        |more: &str| format!("[[provider]]\nname = \"a\"\n[provider.generic]\nurl = \"http://127.0.0.1:1/\"\n{more}\n");
    for (toml, words) in [
        ("[sending]\npoll_interval = \"1ms\"\n".to_owned(), ["poll_interval", "100ms"]),
        ("[sending\n".to_owned(), ["line 1", "config.toml"]),
        ("[garage]\ntime_zone = \"Mars/Olympus\"\n".to_owned(), ["line 2", "Africa/Tunis"]),
        ("[[provider]]\nname = \"a\"\n".to_owned(), ["provider a", "provider.generic"]),
        (provider("colour = \"red\""), ["line 5", "colour"]),
        (provider("").replace("http://127.0.0.1:1/", "gopher://x"), ["provider a", "url"]),
        (format!("{0}{0}", provider("")), ["provider.name", "two providers"]),
        ("[log]\ndirectory = \"/proc/nowhere\"\n".to_owned(), ["log", "/proc/nowhere"]),
        ("[log]\nlevel = \"=====\"\n".to_owned(), ["log", "level"]),
    ] {
        world.configure(&toml);
        let said = ended_with(&world.run(["run"]).await, 64);
        for word in words {
            assert!(said.contains(word), "{toml}: {said}");
        }
    }
    world.configure("");
    for (name, value) in [
        ("SMS_GATEWAY_RATE", "fast"),
        ("SMS_GATEWAY_CONCURRENCY", "0"),
        ("SMS_GATEWAY_URL", "not a url"),
        ("SMS_GATEWAY_URL", "ftp://127.0.0.1/"),
        ("SMS_SENDER_ID", "MUCH TOO LONG A SENDER"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/x"),
        ("DATABASE_URL", ""),
    ] {
        let output = world.command(["run"]).env(name, value).output().await.unwrap();
        let said = ended_with(&output, 64);
        assert!(said.contains(name) || said.contains("provider gateway"), "{name}={value}: {said}");
        assert!(!said.contains("hunter2") && !said.contains(support::API_KEY), "{said}");
    }
    world.config = None;
    assert!(ended_with(&world.run(["--config", "/no/such/file.toml", "run"]).await, 64).contains("/no/such/file.toml"));
    assert!(!world.socket().exists(), "nothing was bound before the configuration was understood");
}

#[tokio::test]
async fn a_daemon_or_database_out_of_reach_is_exit_69_and_says_what_to_do() {
    let world = World::new().await;
    for arguments in [
        &["status"][..],
        &["list"],
        &["show", "1"],
        &["resend", "1"],
        &["cancel", "1"],
        &["release", "1"],
        &["send", "service", "1"],
        &["setting", "list"],
        &["setting", "set", "paused", "true"],
        &["pause"],
        &["reload"],
    ] {
        let said = ended_with(&world.run(arguments).await, 69);
        assert!(
            said.contains(&world.socket().display().to_string()) && said.contains("is the daemon running"),
            "{said}"
        );
    }
    for url in ["postgresql://u:hunter2@127.0.0.1:1/garage", "postgresql:///garage?host=/no/such/directory"] {
        for command in ["install", "uninstall"] {
            let output = world.command([command]).env("DATABASE_URL", url).output().await.unwrap();
            let said = ended_with(&output, 69);
            assert!(said.contains("out of reach") && !said.contains("hunter2"), "{said}");
        }
    }
    let output = world
        .command(["install"])
        .env("DATABASE_URL", support::server().url("no_such_database"))
        .output()
        .await
        .unwrap();
    assert!(ended_with(&output, 69).contains("no_such_database"));
    // The socket can be named in every way.
    let output = program(["status", "--socket", "/no/such/socket"]).output().await.unwrap();
    assert!(ended_with(&output, 69).contains("/no/such/socket"));
}

// --- what is printed ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn texts_that_would_drive_the_terminal_are_printed_harmless() {
    let world = World::with_script(
        "[[rule]]\nphone = \"+21620000002\"\nstatus = 400\nbody = \"no \\u001b]0;owned\\u0007 thanks \\u202e\"\n",
    )
    .await;
    let daemon = world.daemon().await;
    let sent = world.count("INSERT INTO sms_outbox (kind, recipient, body, requested_by) VALUES ('custom', '20 000 001', E'a\\x1b[2Jb\\x07\\u202ec\\u009bd', E'x\\x1b[31m') RETURNING id").await;
    let refused = world.enqueue("20 000 002", "Bonjour").await;
    let junk = world
        .count("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', E'\\x1b[2Jjunk', 'x') RETURNING id")
        .await;
    world.settled().await;
    let mut shown = world.ok(["list"]).await;
    for id in [sent, refused, junk] {
        shown.push_str(&world.ok(["show", &id.to_string()]).await);
    }
    shown.push_str(&world.ok(["list", "--json"]).await);
    shown.push_str(&stdout(&world.run(["send", "text", "20 000 002", "x", "--wait", "30s"]).await));
    let output = world.run(["setting", "set", "\u{1b}[2Jcolour", "\u{1b}[31mred"]).await;
    shown.push_str(&stderr(&output));
    assert_eq!(output.status.code(), Some(1));
    for bad in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'] {
        assert!(!shown.contains(bad), "{bad:?} in {shown:?}");
    }
    assert!(shown.contains("\\u{1b}[2J"), "shown escaped: {shown}");
    assert!(!daemon.log().contains('\u{1b}') && !daemon.log().contains('\u{7}'), "{:?}", daemon.log());
    daemon.stop().await;
}

#[tokio::test]
async fn a_reader_that_leaves_early_is_no_error() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    pause(&world, &daemon).await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 001', repeat('x', 1000) FROM generate_series(1, 1000)").await;
    for arguments in [
        "list --limit 1000",
        "list --limit 1000 --json",
        "completions bash",
        "man",
        "install --dry-run",
        "setting list",
    ] {
        let line = format!(
            "set -o pipefail; {} {arguments} | head -1; exit ${{PIPESTATUS[0]}}",
            env!("CARGO_BIN_EXE_ecar-sms")
        );
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &line])
            .env("ECAR_SMS_SOCKET", world.socket())
            .env("DATABASE_URL", &world.url)
            .kill_on_drop(true);
        let output = shell.output().await.unwrap();
        assert_eq!(stdout(&output).lines().count(), 1, "{arguments}: {}", shown(&output));
        assert!(output.stderr.is_empty(), "{arguments}: {}", shown(&output));
        assert!(output.status.success(), "{arguments}: {}", shown(&output));
    }
    daemon.stop().await;
}

// --- signals and service -----------------------------------------------------------------------------------------------

#[tokio::test]
async fn sigterm_and_sigint_let_what_is_being_sent_end_and_exit_0() {
    let world = World::with_script("latency = \"1s\"").await;
    for signal in ["TERM", "INT"] {
        world.gateway.clear();
        let id = world.enqueue("20 000 001", "Bonjour").await;
        let mut daemon = world.daemon().await;
        world.gateway_receives(1).await;
        daemon.signal(signal);
        let status = daemon.ended().await;
        assert_eq!(status.code(), Some(0), "SIG{signal}: {}", daemon.log());
        assert_eq!(status_of(&world, id).await, "sent", "SIG{signal}");
        assert_eq!(world.gateway.count(), 1);
        in_order(&daemon.log(), &["stopping", "has stopped"]);
    }
}

#[tokio::test]
async fn a_second_signal_hastens_and_the_message_is_in_doubt() {
    let world = World::with_script("[[rule]]\nfault = \"silence\"\n").await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    let mut daemon = world.daemon().await;
    world.gateway_receives(1).await;
    daemon.signal("TERM");
    support::until("it heard", async || daemon.log().contains("stopping: what is being sent")).await;
    assert!(daemon.is_running(), "it waits for the answer");
    assert_eq!(status_of(&world, id).await, "sending");
    let begun = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    // The gateway is silent for an hour, and the provider's own time-out is longer than this.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(status_of(&world, id).await, "unknown");
}

/// A daemon at this rate whose provider was just tried with a message, so that the one entered after it has been claimed and waits for its turn.
async fn waiting_for_its_turn(rate: &str) -> (World, Daemon, i64) {
    let mut world = World::new().await;
    world.set("SMS_GATEWAY_RATE", rate);
    let daemon = world.daemon().await;
    world.ok(["provider", "test", "gateway", "--to", "20 000 009"]).await;
    assert_eq!(world.gateway.count(), 1);
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sending").await;
    (world, daemon, id)
}

#[tokio::test]
async fn a_message_that_waits_for_its_turn_when_signals_come_is_known_to_be_unsent() {
    // One in ten seconds: none but the first leaves while this lasts.
    let (world, mut daemon, id) = waiting_for_its_turn("0.1").await;
    daemon.signal("TERM");
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert_eq!(world.gateway.count(), 1, "nothing has left");
    assert_eq!(status_of(&world, id).await, "queued");
    assert_eq!(world.count("SELECT count(*) FROM sms_attempt").await, 0);
    let daemon = world.daemon().await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
    assert_eq!(world.received_by("+21620000001").len(), 1);
    assert_eq!(world.count("SELECT count(*) FROM sms_message WHERE status = 'unknown'").await, 0);
}

#[tokio::test]
async fn a_message_whose_turn_is_far_away_goes_back_and_leaves_in_its_time() {
    let (world, daemon, id) = waiting_for_its_turn("0.25").await;
    world.status_becomes(id, "queued").await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
    let received = world.gateway.received();
    assert_eq!(received.len(), 2);
    let gap_us = received[1].at_us() - received[0].at_us();
    assert!(gap_us >= 4_000_000, "one in 4 s, and they came {gap_us} us apart");
}

#[tokio::test]
async fn a_daemon_waiting_for_its_database_stops_at_once() {
    let mut world = World::new().await;
    world.set("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/garage");
    let daemon = world.spawn_daemon();
    support::until("it complains", async || daemon.log().contains("cannot begin yet")).await;
    daemon.stop().await;
}

#[tokio::test]
async fn sighup_puts_a_good_configuration_in_force_and_refuses_a_bad_one() {
    let mut world = World::new().await;
    let other = Gateway::start(([127, 0, 0, 1], 0).into(), Script::default()).await.unwrap();
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    let toml = |url: &str| format!("[gateway]\nurl = \"{url}\"\napi_key = \"{}\"\n", support::API_KEY);
    world.configure(&toml(&world.gateway.url()));
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "un").await;
    world.status_becomes(id, "sent").await;
    assert_eq!((world.gateway.count(), other.count()), (1, 0));

    world.configure(&toml(&other.url()));
    daemon.signal("HUP");
    support::until("it is reloaded", async || daemon.log().contains("configuration reloaded; providers: gateway"))
        .await;
    let id = world.enqueue("20 000 001", "deux").await;
    world.status_becomes(id, "sent").await;
    assert_eq!((world.gateway.count(), other.count()), (1, 1));

    for bad in [
        "[gateway]\nurl = \"http://x/\"\napi_kye = \"hunter2\"\n",
        "[gateway]\nurl = \"nonsense\"\napi_key = \"hunter2\"\n",
    ] {
        let before = daemon.log().matches("the old one stays").count();
        world.configure(bad);
        daemon.signal("HUP");
        support::until("it is refused", async || daemon.log().matches("the old one stays").count() > before).await;
        let id = world.enqueue("20 000 001", "trois").await;
        world.status_becomes(id, "sent").await;
    }
    assert_eq!((world.gateway.count(), other.count()), (1, 3));
    let log = daemon.log();
    assert!(log.contains("line 3") && log.contains("api_kye") && !log.contains("hunter2"), "{log}");
    daemon.stop().await;
}

#[tokio::test]
async fn sigusr1_logs_a_summary_of_the_state() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    pause(&world, &daemon).await;
    world.enqueue("20 000 001", "Bonjour").await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body, not_before) VALUES ('custom', '20 000 002', 'x', now() + interval '1 day')").await;
    daemon.signal("USR1");
    support::until("a summary", async || daemon.log().contains("due=1")).await;
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("due=1")).unwrap();
    for word in ["state", "healthy=true", "scheduled=1", "sending=0", "held=0", "unknown=0", "wake=\"listening\""] {
        assert!(line.contains(word), "{line}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn systemd_is_told_ready_status_watchdog_and_stopping() {
    let mut world = World::new().await;
    let path = world.directory().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    world.set("NOTIFY_SOCKET", path.to_str().unwrap());
    world.set("WATCHDOG_USEC", "30000000");
    let daemon = world.daemon().await;
    let mut told = String::new();
    let mut hear = async |word: &str| {
        support::until(word, async || {
            let mut buffer = [0; 4_096];
            while let Ok(length) = socket.recv(&mut buffer) {
                told.push_str(&String::from_utf8_lossy(&buffer[..length]));
                told.push('\n');
            }
            told.contains(word)
        })
        .await;
        told.clone()
    };
    hear("READY=1\n").await;
    hear("WATCHDOG=1\n").await;
    let said = hear("STATUS=sending messages as they come\n").await;
    assert!(!said.contains("STOPPING"), "{said}");
    // Progress goes on, and so does the watchdog.
    support::until("it is told again", async || hear("WATCHDOG=1\n").await.matches("WATCHDOG=1").count() >= 2).await;
    daemon.stop().await;
    in_order(&hear("STOPPING=1\n").await, &["READY=1", "WATCHDOG=1", "STOPPING=1"]);
}

#[tokio::test]
async fn a_daemon_started_before_its_database_begins_by_itself_when_it_comes() {
    let mut world = World::new().await;
    let url = world.url.clone();
    let server = support::server().dir().to_owned();
    // The way to the server is a link, laid later.
    let way = world.directory().join("pg");
    std::fs::create_dir(&way).unwrap();
    let through = url.replace(server.to_str().unwrap(), way.to_str().unwrap());
    assert_ne!(through, url);
    world.set("DATABASE_URL", &through);
    let id = world.enqueue("20 000 001", "Bonjour").await;
    let daemon = world.spawn_daemon();
    support::until("it complains", async || daemon.log().contains("cannot begin yet")).await;
    assert!(daemon.log().contains("out of reach"), "{}", daemon.log());
    let (health, reason) = world.curl(&[], "/healthz").await;
    assert!(health == 503 && reason.contains("out of reach"), "{health} {reason}");
    assert_eq!(world.run(["status"]).await.status.code(), Some(1));
    for entry in std::fs::read_dir(&server).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".s.PGSQL") {
            std::os::unix::fs::symlink(entry.path(), way.join(entry.file_name())).unwrap();
        }
    }
    world.status_becomes(id, "sent").await;
    assert_eq!(world.curl(&[], "/healthz").await.0, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_on_a_database_without_our_tables_says_what_to_do_and_begins_after_install() {
    let world = World::from(support::BARE, Script::default()).await;
    let daemon = world.spawn_daemon();
    support::until("it says what to do", async || daemon.log().contains("ecar-sms install")).await;
    let (health, reason) = world.curl(&[], "/healthz").await;
    assert!(health == 503 && reason.contains("ecar-sms install"), "{health} {reason}");
    let output = world.run(["send", "service", "1"]).await;
    assert!(!output.status.success() && stderr(&output).contains("ecar-sms install"), "{}", shown(&output));
    world.ok(["install"]).await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
}

// --- logs --------------------------------------------------------------------------------------------------------------

/// The tail of every number that [`everything`] uses, in forms that a log might show it.
const NUMBERS: [&str; 8] =
    ["20000121", "20 000 121", "20000122", "20 000 122", "20000123", "20 000 123", "20000124", "20 000 124"];

/// A word of every text.
const WORD: &str = "confidentiel";

/// A message of each fate; the gateway repeats number and text in what it says.
async fn everything(world: &World) {
    world.service(1, "20 000 124", "in_progress").await;
    world.enqueue("20 000 121", &format!("{WORD} un")).await;
    world.enqueue("20 000 122", &format!("{WORD} deux")).await;
    world.enqueue("20 000 123", &format!("{WORD} trois")).await;
    world.enqueue("20 000 121 call me", &format!("{WORD} quatre")).await;
    world.enqueue("+1 20 000 121", &format!("{WORD} cinq")).await;
    world.batch("INSERT INTO sms_outbox (kind, source_id) VALUES ('invoice_created', 4711)").await;
    world.complete(1).await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state IN ('queued', 'sending')", "0").await;
}

const TALKATIVE: &str = r#"
[[rule]]
phone = "+21620000122"
status = 400
body = '{"error":"number +21620000122 is blocked, text: confidentiel deux"}'

[[rule]]
phone = "+21620000123"
status = 502
body = '{"error":"no idea about 21620000123: confidentiel trois"}'
"#;

fn hides_everything(log: &str) {
    for line in log.lines() {
        for number in NUMBERS {
            assert!(!line.contains(number), "a phone number in the log: {line}");
        }
        assert!(!line.contains(WORD), "a text in the log: {line}");
        assert!(!line.contains(support::API_KEY), "the key in the log: {line}");
    }
}

#[tokio::test]
async fn logs_hold_no_phone_number_and_no_text_however_much_is_logged() {
    for arguments in [&["-v", "run"][..], &["-vv", "run"]] {
        let world = World::with_script(TALKATIVE).await;
        let daemon = world.spawn_daemon_with(arguments);
        everything(&world).await;
        let log = daemon.log();
        in_order(&log, &["ecar-sms starts"]);
        for word in ["message sent", "message not sent", "message skipped", "may have been sent"] {
            assert!(log.contains(word), "no line \"{word}\" in\n{log}");
        }
        hides_everything(&log);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn json_logs_are_one_object_a_line_with_the_message_and_its_outcome() {
    let mut world = World::with_script(TALKATIVE).await;
    let files = world.directory().join("logs");
    world.configure(&format!("[log]\ndirectory = \"{}\"\nformat = \"json\"\n", files.display()));
    let daemon = world.daemon().await;
    everything(&world).await;
    let mut file = String::new();
    let log = daemon.log();
    daemon.stop().await;
    let objects: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(
        objects.iter().all(|object| object["timestamp"].is_string()
            && object["level"].is_string()
            && object["message"].is_string())
    );
    for outcome in ["accepted", "rejected", "unknown"] {
        let found = objects
            .iter()
            .find(|object| object["outcome"] == outcome)
            .unwrap_or_else(|| panic!("no outcome {outcome} in\n{log}"));
        assert!(found["msg.id"].as_i64().is_some() && found["provider.name"] == "gateway", "{found}");
        let to = found["to"].as_str().unwrap();
        assert!(to.starts_with("+*") && to.len() == 12, "{found}");
    }
    assert!(objects.iter().any(|object| object["reason"] == "invalid_phone" && object["msg.id"].is_i64()));
    hides_everything(&log);

    // The same in a file of the day.
    let names: Vec<_> = std::fs::read_dir(&files).unwrap().flatten().map(|entry| entry.path()).collect();
    for path in &names {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("ecar-sms.20") && name.ends_with(".log"), "{name}");
        file.push_str(&std::fs::read_to_string(path).unwrap());
    }
    assert!(names.len() == 1 || names.len() == 2, "midnight at most: {names:?}");
    in_order(&file, &["ecar-sms starts", "message sent", "has stopped"]);
    assert!(file.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    hides_everything(&file);
}

#[tokio::test]
async fn the_log_format_of_the_command_line_wins() {
    let mut world = World::new().await;
    world.configure("[log]\nformat = \"pretty\"\n");
    let daemon = world.spawn_daemon_with(&["--log-format", "json", "run"]);
    support::until("it begins", async || daemon.log().contains("listening for wake-ups")).await;
    assert!(daemon.log().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", daemon.log());
    daemon.stop().await;
}

// --- doctor ------------------------------------------------------------------------------------------------------------

/// The doctor's findings. Panics unless the exit code fits them and each that is not ok has a mend.
async fn doctor(world: &World) -> Vec<Value> {
    let output = world.run(["doctor", "--json"]).await;
    let findings: Vec<Value> =
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)));
    let errors = findings.iter().filter(|finding| finding["level"] == "error").count();
    assert_eq!(output.status.code(), Some(i32::from(errors > 0)), "{}", shown(&output));
    for finding in &findings {
        assert!(
            finding["area"].is_string() && finding["found"].as_str().is_some_and(|found| !found.is_empty()),
            "{finding}"
        );
        let mend = finding["mend"].as_str().unwrap_or_default();
        assert_eq!(finding["level"] == "ok", mend.is_empty(), "{finding}");
    }
    assert!(!stdout(&output).contains(support::API_KEY));
    findings
}

/// Panics unless the doctor found this: the level, the area, and words of the finding and of its mend.
fn found(findings: &[Value], level: &str, area: &str, words: &str, mend: &str) {
    let hit = findings.iter().any(|finding| {
        finding["level"] == level
            && finding["area"] == area
            && finding["found"].as_str().unwrap().contains(words)
            && finding["mend"].as_str().unwrap_or_default().contains(mend)
    });
    assert!(hit, "no {level} in {area} with {words:?} and the mend {mend:?} in {findings:#?}");
}

/// Findings that are not ok, leaving out the service, which the machine of the tests has no hand in.
fn ill(findings: &[Value]) -> Vec<&Value> {
    findings.iter().filter(|finding| finding["level"] != "ok" && finding["area"] != "service").collect()
}

#[tokio::test]
async fn the_doctor_finds_nothing_in_a_healthy_world() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let findings = doctor(&world).await;
    assert!(ill(&findings).is_empty(), "{findings:#?}");
    for area in [
        "configuration",
        "database",
        "installation",
        "triggers",
        "garage",
        "privileges",
        "identity",
        "clock",
        "queue",
        "provider",
        "socket",
        "daemon",
    ] {
        assert!(findings.iter().any(|finding| finding["area"] == area), "nothing about the {area}: {findings:#?}");
    }
    let text = world.ok(["doctor"]).await;
    assert!(text.lines().filter(|line| line.starts_with("ok ")).count() >= 12, "{text}");
    assert!(text.trim_end().ends_with("0 errors"), "{text}");
    daemon.stop().await;
}

#[tokio::test]
async fn the_doctor_names_disabled_and_missing_triggers_and_changed_tables() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    world.batch("ALTER TABLE core_service DISABLE TRIGGER sms_garage_service; DROP TRIGGER sms_garage_invoice ON core_invoice; ALTER TABLE core_customer RENAME COLUMN phone TO telephone").await;
    let findings = doctor(&world).await;
    found(&findings, "error", "triggers", "sms_garage_service on core_service is disabled", "ENABLE TRIGGER");
    found(&findings, "error", "triggers", "sms_garage_invoice is not on core_invoice", "ecar-sms install");
    found(&findings, "error", "garage", "core_customer.phone", "install");
    let output = world.run(["doctor"]).await;
    ended_with_findings(&output);
    // The mends mend.
    world.batch("ALTER TABLE core_service ENABLE TRIGGER sms_garage_service; ALTER TABLE core_customer RENAME COLUMN telephone TO phone").await;
    world.ok(["install"]).await;
    assert!(!doctor(&world).await.iter().any(|finding| finding["level"] == "error"));
    daemon.stop().await;
}

fn ended_with_findings(output: &Output) {
    assert_eq!(output.status.code(), Some(1), "{}", shown(output));
    in_order(&stdout(output), &["error", "->"]);
}

#[tokio::test]
async fn the_doctor_says_what_is_missing_without_install_daemon_database_or_gateway() {
    let mut world = World::from(support::BARE, Script::default()).await;
    let findings = doctor(&world).await;
    found(&findings, "error", "installation", "our tables are not in this database", "ecar-sms install");
    found(&findings, "error", "daemon", &world.socket().display().to_string(), "systemctl status ecar-sms");
    world.ok(["install"]).await;
    world.set("SMS_GATEWAY_URL", "http://127.0.0.1:1/v1/messages");
    let findings = doctor(&world).await;
    found(&findings, "error", "provider", "127.0.0.1:1", "firewall");
    found(&findings, "ok", "installation", "migration", "");
    world.set("SMS_API_KEY", "");
    found(&doctor(&world).await, "warning", "provider", "SMS_API_KEY is not set", "set SMS_API_KEY");
    world.set("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/garage");
    let findings = doctor(&world).await;
    found(&findings, "error", "database", "garage on 127.0.0.1", "is PostgreSQL running");
    assert!(!format!("{findings:?}").contains("hunter2"));
    world.set("DATABASE_URL", "");
    found(&doctor(&world).await, "error", "database", "not set", "DATABASE_URL");
    world.configure("[sendnig]\n");
    found(&doctor(&world).await, "error", "configuration", "line 1", "correct that line");
    std::fs::write(world.socket(), "").unwrap();
    found(&doctor(&world).await, "error", "socket", "no socket", "remove it");
}

#[tokio::test]
async fn the_doctor_warns_of_open_permissions_and_of_messages_that_wait_for_staff() {
    let mut world = World::new().await;
    let config = world.configure(&format!("[gateway]\napi_key = \"{}\"\n", support::API_KEY));
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = world.daemon().await;
    let findings = doctor(&world).await;
    assert!(
        !findings.iter().any(|finding| finding["area"] == "configuration" && finding["level"] != "ok"),
        "{findings:#?}"
    );
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(world.socket(), std::fs::Permissions::from_mode(0o666)).unwrap();
    pause(&world, &daemon).await;
    for _ in 0..4 {
        world.enqueue("20 000 001", "Bonjour").await;
    }
    world.batch("UPDATE sms_outbox SET state = 'held' WHERE id IN (SELECT min(id) FROM sms_outbox); UPDATE sms_outbox SET state = 'unknown' WHERE id IN (SELECT max(id) FROM sms_outbox); UPDATE sms_outbox SET created_at = now() - interval '1 hour' WHERE state = 'queued'").await;
    let findings = doctor(&world).await;
    found(
        &findings,
        "warning",
        "configuration",
        &format!("{} can be read by everybody", config.display()),
        "chmod o-r",
    );
    found(&findings, "error", "socket", "mode 0666", "chmod 0660");
    found(&findings, "warning", "queue", "1 messages are held for staff", "release or cancel");
    found(&findings, "warning", "queue", "1 messages may or may not have been sent", "resend or cancel");
    found(&findings, "warning", "queue", "2 messages are due, the oldest for 36", "ecar-sms status");
    daemon.stop().await;
}

#[tokio::test]
async fn the_doctor_names_the_rights_that_a_role_lacks() {
    let mut world = World::new().await;
    let role = format!("{}_poor", world.database);
    world
        .batch(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT ON sms_migration, sms_installation, sms_outbox TO {role}"
        ))
        .await;
    let url = world.url_as(&role);
    world.set("DATABASE_URL", &url);
    let findings = doctor(&world).await;
    found(&findings, "error", "privileges", "sms_outbox DELETE", "ecar-sms install --role");
    found(&findings, "error", "garage", "facts cannot be read", "ecar-sms install");
    let output = world.command(["install", "--role", &role]).env("DATABASE_URL", &world.url).output().await.unwrap();
    ended_with(&output, 0);
    let findings = doctor(&world).await;
    found(&findings, "ok", "privileges", "may do what the daemon needs", "");
    world.set("DATABASE_URL", "");
    world.batch(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
