//! Whatever a gateway answers, or does not: what may have been sent is never sent blindly again, and what was certainly
//! not sent goes out when the fault is over. The same when the database goes away, or the daemon is told to stop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;

use ecar_sms::demo::server::{Options, Throwaway};
use ecar_sms::gateway::{Gateway, Script};
use support::{API_KEY, World, until};

/// The fields of the garage's own gateway protocol.
const FIELDS: &str = r#"fields = [
  { name = "api_key", value = "{{ api_key }}" }, { name = "sender_id", value = "{{ sender_id }}" },
  { name = "phone", value = "{{ phone }}" }, { name = "message", value = "{{ message }}" },
]"#;

/// Looks often and tries again soon, so that tests need not wait.
const QUICK: &str = "[sending]\npoll_interval = \"100ms\"\nretry_first = \"100ms\"\nretry_longest = \"100ms\"\n";

/// A `[[provider]]` that asks this gateway and gives up after three seconds.
fn provider(name: &str, url: &str, more: &str) -> String {
    format!(
        "[[provider]]\nname = \"{name}\"\n[provider.generic]\nurl = \"{url}\"\napi_key = \"{API_KEY}\"\n\
         connect_timeout = \"2s\"\ntotal_timeout = \"3s\"\n{FIELDS}\n{more}\n"
    )
}

/// Only the providers of this configuration, none from the environment.
fn configure(world: &mut World, toml: &str) {
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    world.configure(toml);
}

fn phone(number: usize) -> String {
    format!("+21620000{number:03}")
}

async fn enqueue_many(world: &World, messages: usize) {
    world
        .batch(&format!(
            "INSERT INTO sms_outbox (kind, recipient, body)
             SELECT 'custom', (21620000000 + i % 1000)::text, 'Bonjour ' || i FROM generate_series(1, {messages}) i"
        ))
        .await;
}

/// Panics unless each text was received exactly once.
fn each_once(gateway: &Gateway, messages: usize) {
    let mut texts: HashMap<String, usize> = HashMap::new();
    for message in gateway.received() {
        *texts.entry(message.message.clone()).or_default() += 1;
    }
    let twice: Vec<_> = texts.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "sent more than once: {twice:?}");
    assert_eq!(texts.len(), messages, "messages lost");
}

/// The outcome of a message's first attempt, however it is recorded.
async fn first_outcome(world: &World, id: i64) -> String {
    world
        .value(&format!(
            "SELECT outcome FROM sms_attempt WHERE message_id = {id} AND attempt = 1
             UNION ALL SELECT CASE status WHEN 'sent' THEN 'accepted' ELSE reason END FROM sms_history WHERE id = {id} AND attempts = 1"
        ))
        .await
}

async fn status_of(world: &World, id: i64) -> String {
    world.value(&format!("SELECT status FROM sms_message WHERE id = {id}")).await
}

/// What the socket's health check says.
async fn health(world: &World) -> (u16, String) {
    world.curl(&[], "/healthz").await
}

#[tokio::test]
async fn every_answer_has_its_outcome_and_nothing_is_texted_twice_nor_stuck() {
    // The rule, the outcome of the first attempt, the status in the end, and how many requests that took.
    let cases = [
        ("status = 200\nbody = '{}'", "accepted", "sent", 1),
        ("status = 202", "accepted", "sent", 1),
        ("status = 500", "unknown", "unknown", 1),
        ("status = 502", "unknown", "unknown", 1),
        ("status = 504", "unknown", "unknown", 1),
        ("status = 503", "unknown", "unknown", 1),
        ("status = 503\nheaders = { Retry-After = '1' }", "throttled", "sent", 2),
        ("status = 429\nheaders = { Retry-After = '1' }", "throttled", "sent", 2),
        ("status = 429", "throttled", "sent", 2),
        ("status = 400", "rejected", "failed", 1),
        ("status = 422", "rejected", "failed", 1),
        ("status = 401", "misconfigured", "sent", 2),
        ("status = 403", "misconfigured", "sent", 2),
        ("status = 404", "misconfigured", "sent", 2),
        ("status = 402", "no_credit", "sent", 2),
        ("fault = 'redirect'", "misconfigured", "sent", 2),
        ("status = 301\nheaders = { Location = '/elsewhere' }", "misconfigured", "sent", 2),
        ("status = 303\nheaders = { Location = '/elsewhere' }", "unknown", "unknown", 1),
        ("fault = 'no_json'", "unknown", "unknown", 1),
        ("status = 200\nbody = ''", "unknown", "unknown", 1),
        ("status = 204", "unknown", "unknown", 1),
        ("status = 408", "unknown", "unknown", 1),
        ("fault = 'truncated'", "unknown", "unknown", 1),
        ("fault = 'huge'", "unknown", "unknown", 1),
        ("fault = 'endless'", "unknown", "unknown", 1),
        ("fault = 'silence'", "unknown", "unknown", 1),
        ("fault = 'garbage'", "unknown", "unknown", 1),
        ("fault = 'reset_after_read'", "unknown", "unknown", 1),
        ("fault = 'close_after_read'", "unknown", "unknown", 1),
    ];
    let script: String = cases
        .iter()
        .enumerate()
        .map(|(at, case)| format!("[[rule]]\nphone = '{}'\ntimes = 1\n{}\n", phone(at), case.0))
        .collect();
    let mut world = World::with_script(&script).await;
    let toml = QUICK.to_owned() + &provider("main", &world.gateway.url(), "");
    configure(&mut world, &toml);
    let daemon = world.daemon().await;
    let mut ids = Vec::new();
    for (at, (rule, outcome, ..)) in cases.iter().enumerate() {
        let id = world.enqueue(&phone(at), &format!("Bonjour {at}")).await;
        until(&format!("{rule} gives {outcome}"), async || !first_outcome(&world, id).await.is_empty()).await;
        assert_eq!(first_outcome(&world, id).await, *outcome, "{rule}\n{}", world.state().await);
        ids.push(id);
        // Closes the circuit, so that the next case is asked at once and not after a pause.
        world.ok(["reload"]).await;
    }
    world.settled().await;

    // Reset before the request was read: whether anything arrived is not known either. It knows no phone, so it comes last.
    world.gateway.set_script(Script::parse("[[rule]]\nfault = 'reset_before_read'\ntimes = 1\n").unwrap());
    let unread = world.enqueue(&phone(900), "Bonjour unread").await;
    world.status_becomes(unread, "unknown").await;
    let after = world.enqueue(&phone(901), "Bonjour after").await;
    world.status_becomes(after, "sent").await;

    for (at, (rule, _, status, requests)) in cases.iter().enumerate() {
        assert_eq!(status_of(&world, ids[at]).await, *status, "{rule}");
        let received = world.received_by(&phone(at));
        assert_eq!(received.len(), *requests, "{rule}");
        assert!(received.iter().filter(|message| message.accepted).count() <= 1, "{rule}");
        assert!(received.iter().all(|message| message.path == "/v1/messages"), "{rule}: followed elsewhere");
        let attempts = world.count(&format!("SELECT attempts FROM sms_message WHERE id = {}", ids[at])).await;
        assert_eq!(usize::try_from(attempts).unwrap(), *requests, "{rule}");
    }
    assert_eq!(world.received_by(&phone(900)).len(), 0);

    // What is in doubt is in sight of staff.
    let doubtful = cases.iter().filter(|case| case.2 == "unknown").count() + 1;
    let listed: serde_json::Value =
        serde_json::from_str(&world.ok(["list", "--status", "unknown", "--limit", "100", "--json"]).await).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), doubtful);
    let status: serde_json::Value = serde_json::from_str(&world.curl(&[], "/v1/status").await.1).unwrap();
    assert_eq!(status["queue"]["unknown"], doubtful);
    let shown = world.ok(["show", &unread.to_string()]).await;
    assert!(shown.contains("unknown"), "{shown}");
    daemon.stop().await;
}

#[tokio::test]
async fn while_a_gateway_is_not_there_messages_wait_without_being_given_up_and_go_out_when_it_is() {
    let mut world = World::new().await;
    let address = SocketAddr::from(([127, 0, 0, 1], support::free_port()));
    // Five failures open the circuit; the sixth would be one too many, if an outage counted.
    configure(
        &mut world,
        &format!("{QUICK}max_failures = 6\n{}", provider("main", &format!("http://{address}/v1/messages"), "")),
    );
    let daemon = world.daemon().await;
    let first = world.enqueue("20 000 001", "Bonjour 1").await;
    world
        .value_becomes(
            &format!("SELECT outcome FROM sms_attempt WHERE message_id = {first} AND attempt = 1"),
            "temporary_failure",
        )
        .await;
    until("health says why", async || {
        let (code, why) = health(&world).await;
        code == 503 && why.contains("temporary_failure") && why.contains("main")
    })
    .await;
    // The circuit lets a message try now and then. It is not given up for that, however long it takes.
    let attempts = format!("SELECT attempts FROM sms_message WHERE id = {first}");
    until("a try after the circuit opened", async || world.count(&attempts).await >= 6).await;
    world.status_becomes(first, "queued").await;
    for number in 2..=20 {
        world.enqueue(&phone(number), &format!("Bonjour {number}")).await;
    }
    world.daemon_asks("sms_setting").await;
    let burnt = world.count("SELECT count(*) FROM sms_attempt").await;
    assert!(burnt <= 8, "{burnt} attempts, although the circuit is open");

    let gateway = Gateway::start(address, Script::default()).await.unwrap();
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'sent'", "20").await;
    each_once(&gateway, 20);
    assert_eq!(health(&world).await, (200, "ok\n".to_owned()));
    daemon.stop().await;
}

#[tokio::test]
async fn an_answer_that_asks_for_another_try_is_retried_until_the_limit_and_then_given_up() {
    let mut world = World::with_script("[[rule]]\nphone = '+21620000001'\nstatus = 500\n").await;
    let busy = "otherwise = \"status\"\n[[provider.generic.match]]\noutcome = \"temporary\"\nstatus = 500\n";
    let toml = format!("{QUICK}max_failures = 3\n{}", provider("main", &world.gateway.url(), busy));
    configure(&mut world, &toml);
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "failed").await;
    let why = world.value(&format!("SELECT reason || ' ' || attempts FROM sms_message WHERE id = {id}")).await;
    assert_eq!(why, "too_many_attempts 3");
    assert_eq!(world.gateway.count(), 3);
    // It kept nobody else from being sent.
    let other = world.enqueue("20 000 002", "Bonjour").await;
    world.status_becomes(other, "sent").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_gateway_that_asks_for_a_pause_gets_it_for_all_messages_and_no_attempt_is_counted() {
    // Long enough for what is looked at during the pause, on a slow machine.
    let script = "[[rule]]\ntimes = 1\nstatus = 429\nheaders = { Retry-After = '6' }\n";
    let mut world = World::with_script(script).await;
    world.configure(QUICK);
    let daemon = world.daemon().await;
    let first = world.enqueue("20 000 001", "Bonjour 1").await;
    world.value_becomes(&format!("SELECT outcome FROM sms_attempt WHERE message_id = {first}"), "throttled").await;
    let second = world.enqueue("20 000 002", "Bonjour 2").await;
    assert!(health(&world).await.1.contains("throttled"));
    assert_eq!(world.value(&format!("SELECT failures FROM sms_outbox WHERE id = {first}")).await, "0");
    world.status_becomes(first, "sent").await;
    world.status_becomes(second, "sent").await;
    let received = world.gateway.received();
    assert_eq!(received.len(), 3);
    for later in &received[1..] {
        let waited = later.at_us() - received[0].at_us();
        assert!(waited >= 6_000_000, "asked again after {waited} us");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_message_that_grows_too_old_while_it_waits_expires_instead_of_being_sent() {
    let mut world = World::with_script("[[rule]]\nstatus = 429\ntimes = 1\nheaders = { Retry-After = '60' }\n").await;
    world.configure(QUICK);
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.value_becomes(&format!("SELECT outcome FROM sms_attempt WHERE message_id = {id}"), "throttled").await;
    world.batch("SELECT sms_set('custom.validity', '1h')").await;
    world.batch("UPDATE sms_outbox SET created_at = now() - interval '61 minutes', next_at = now()").await;
    world.ok(["reload"]).await;
    world.status_becomes(id, "expired").await;
    assert_eq!(world.value(&format!("SELECT reason FROM sms_message WHERE id = {id}")).await, "too_old");
    assert_eq!(world.gateway.count(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn after_a_refused_key_other_messages_wait_unasked_and_a_reload_sends_them_at_once() {
    let mut world = World::with_script("[[rule]]\nstatus = 401\n").await;
    world.configure(QUICK);
    let daemon = world.daemon().await;
    let first = world.enqueue("20 000 001", "Bonjour").await;
    world.value_becomes(&format!("SELECT outcome FROM sms_attempt WHERE message_id = {first}"), "misconfigured").await;
    enqueue_many(&world, 20).await;
    world.daemon_asks("sms_setting").await;
    world.daemon_asks("sms_setting").await;
    assert_eq!(world.gateway.count(), 1, "messages are asked for while the key is refused");
    assert_eq!(world.count("SELECT sum(attempt) FROM sms_outbox").await, 1);

    // Everybody who asks is told why.
    let (code, why) = health(&world).await;
    assert_eq!(code, 503);
    assert!(why.contains("misconfigured") && why.contains("401"), "{why}");
    let status = world.run(["status"]).await;
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1), "{shown}");
    assert!(shown.contains("NOT WELL") && shown.contains("401"), "{shown}");
    let status: serde_json::Value = serde_json::from_str(&world.curl(&[], "/v1/status").await.1).unwrap();
    assert_eq!(status["providers"][0]["circuit"], "open");

    world.gateway.set_script(Script::default());
    world.ok(["reload"]).await;
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'sent'", "21").await;
    assert_eq!(world.gateway.count(), 22);
    let attempts = world
        .value("SELECT string_agg(DISTINCT attempts::text, ',') FROM sms_message WHERE body LIKE 'Bonjour %'")
        .await;
    assert_eq!(attempts, "1");
    assert_eq!(health(&world).await.0, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn an_empty_account_that_is_filled_again_is_noticed_without_anybodys_help() {
    let mut world = World::with_script("[[rule]]\nstatus = 402\ntimes = 1\n").await;
    world.configure(QUICK);
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.value_becomes(&format!("SELECT outcome FROM sms_attempt WHERE message_id = {id}"), "no_credit").await;
    let (code, why) = health(&world).await;
    assert!(code == 503 && why.contains("no_credit"), "{code} {why}");
    world.status_becomes(id, "sent").await;
    let received = world.gateway.received();
    assert_eq!(received.len(), 2);
    assert!(received[1].at_us() - received[0].at_us() >= 9_000_000, "an empty account is asked too often");
    daemon.stop().await;
}

#[tokio::test]
async fn another_provider_takes_only_what_was_certainly_not_sent() {
    let script = "[[rule]]\nphone = '+21620000001'\nstatus = 500\n[[rule]]\nphone = '+21620000002'\nstatus = 401\n";
    let mut world = World::with_script(script).await;
    let spare = Gateway::start(([127, 0, 0, 1], 0).into(), Script::default()).await.unwrap();
    let toml = QUICK.to_owned() + &provider("main", &world.gateway.url(), "") + &provider("spare", &spare.url(), "");
    configure(&mut world, &toml);
    let daemon = world.daemon().await;
    let doubtful = world.enqueue("20 000 001", "en doute").await;
    world.status_becomes(doubtful, "unknown").await;
    let refused = world.enqueue("20 000 002", "refus").await;
    world.status_becomes(refused, "sent").await;
    assert_eq!(world.value(&format!("SELECT provider FROM sms_message WHERE id = {refused}")).await, "spare");
    // The first is not asked for a while; the daemon is well all the same, since messages go out.
    let next = world.enqueue("20 000 003", "suite").await;
    world.status_becomes(next, "sent").await;
    assert_eq!(world.value(&format!("SELECT provider FROM sms_message WHERE id = {next}")).await, "spare");
    assert_eq!(health(&world).await.0, 200);
    assert_eq!(status_of(&world, doubtful).await, "unknown");
    assert_eq!(world.gateway.count(), 2);
    let taken: Vec<_> = spare.received().iter().map(|message| message.message.clone()).collect();
    assert_eq!(taken, ["refus", "suite"]);
    daemon.stop().await;
}

#[tokio::test]
async fn in_doubt_a_service_message_is_sent_once_more_and_never_a_third_time() {
    // The first is answered 500 for ever, the second only once.
    let script =
        "[[rule]]\nphone = '+21620000001'\nstatus = 500\n[[rule]]\nphone = '+21620000002'\nstatus = 500\ntimes = 1\n";
    let mut world = World::with_script(script).await;
    world.configure(QUICK);
    world.batch("SELECT sms_set('unknown_wait', '200ms')").await;
    let daemon = world.daemon().await;
    world.service(1, "20 000 001", "in_progress").await;
    world.service(2, "20 000 002", "in_progress").await;
    world.complete(1).await;
    world.complete(2).await;
    let first = world.count("SELECT id FROM sms_message WHERE source_id = 1").await;
    let second = world.count("SELECT id FROM sms_message WHERE source_id = 2").await;
    world.status_becomes(second, "sent").await;
    let left = format!("SELECT count(*) FROM sms_event WHERE message_id = {first} AND what = 'left_to_staff'");
    world.value_becomes(&left, "1").await;
    // Even when it is looked at again.
    world.batch(&format!("UPDATE sms_outbox SET next_at = now() WHERE id = {first}")).await;
    world.value_becomes(&left, "2").await;
    assert_eq!(status_of(&world, first).await, "unknown");
    assert_eq!(world.received_by("+21620000001").len(), 2);
    assert_eq!(world.received_by("+21620000002").len(), 2);
    let attempts =
        world.value(&format!("SELECT string_agg(outcome, ',') FROM sms_attempt WHERE message_id = {first}")).await;
    assert_eq!(attempts, "unknown,unknown");
    daemon.stop().await;
}

#[tokio::test]
async fn in_doubt_a_free_text_is_left_to_staff_who_cancel_it_or_send_it_again() {
    let mut world = World::with_script("[[rule]]\nstatus = 500\ntimes = 2\n").await;
    world.configure(QUICK);
    world.batch("SELECT sms_set('unknown_wait', '200ms')").await;
    let daemon = world.daemon().await;
    let (one, two) = (world.enqueue("20 000 001", "un").await, world.enqueue("20 000 002", "deux").await);
    world.value_becomes("SELECT count(*) FROM sms_event WHERE what = 'left_to_staff'", "2").await;
    assert_eq!(world.gateway.count(), 2);

    world.ok(["cancel", &one.to_string()]).await;
    world.ok(["resend", &two.to_string()]).await;
    let again = world.count(&format!("SELECT id FROM sms_message WHERE resend_of = {two}")).await;
    world.status_becomes(again, "sent").await;
    // It may have arrived: the record does not say that it did not.
    let ends = "SELECT string_agg(status || ' ' || reason, ', ' ORDER BY id) FROM sms_message WHERE resend_of IS NULL";
    assert_eq!(world.value(ends).await, "unknown cancelled_by_staff, unknown superseded");
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 0);
    // Neither comes back.
    let refused = world.run(["cancel", &one.to_string()]).await;
    assert!(!refused.status.success());
    daemon.stop().await;
    assert_eq!(world.received_by("+21620000001").len(), 1);
    assert_eq!(world.received_by("+21620000002").len(), 2);
}

#[tokio::test]
async fn an_answer_that_comes_after_the_message_was_taken_for_lost_still_settles_it() {
    // The daemon must be stopped before the answer is there.
    let mut world = World::with_script("latency = '5s'\n").await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    let slow = world.daemon().await;
    world.gateway_receives(1).await;
    slow.signal("STOP");
    // The lease is over at once, so that the test need not wait for it.
    world.batch("UPDATE sms_outbox SET lease_until = now() - interval '1 second'").await;
    let socket = world.directory().join("other.sock").display().to_string();
    world.set("ECAR_SMS_SOCKET", &socket);
    let other = world.daemon().await;
    world.status_becomes(id, "unknown").await;
    slow.signal("CONT");
    world.status_becomes(id, "sent").await;
    assert_eq!(
        world.value(&format!("SELECT provider_message_id FROM sms_message WHERE id = {id}")).await,
        "sim-000001"
    );
    slow.stop().await;
    other.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn while_paused_nothing_is_sent_what_was_under_way_ends_and_resume_sends_the_rest() {
    let mut world = World::with_script("latency = '300ms'\n").await;
    world.configure(QUICK);
    let daemon = world.daemon().await;
    let under_way = world.enqueue("20 000 001", "Bonjour").await;
    world.gateway_receives(1).await;
    world.ok(["pause"]).await;
    until("the daemon knows", async || daemon.log().contains("paused by setting")).await;
    world.status_becomes(under_way, "sent").await;
    enqueue_many(&world, 10).await;
    world.daemon_asks("sms_setting").await;
    world.daemon_asks("sms_setting").await;
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox WHERE state = 'queued' AND attempt = 0").await, 10);
    assert_eq!(world.gateway.count(), 1);
    let status: serde_json::Value = serde_json::from_str(&world.curl(&[], "/v1/status").await.1).unwrap();
    assert_eq!(status["paused"], true);
    world.ok(["resume"]).await;
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'sent'", "11").await;
    daemon.stop().await;
    each_once(&world.gateway, 11);
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_and_a_second_one_leaves_the_message_in_doubt() {
    let world =
        World::with_script("[[rule]]\nphone = '+21620000001'\nlatency = '1s'\n[[rule]]\nfault = 'silence'\n").await;
    let answered = world.enqueue("20 000 001", "Bonjour").await;
    let daemon = world.daemon().await;
    world.gateway_receives(1).await;
    daemon.stop().await;
    assert_eq!(status_of(&world, answered).await, "sent");

    let silent = world.enqueue("20 000 002", "Bonjour").await;
    let mut daemon = world.daemon().await;
    world.gateway_receives(2).await;
    daemon.signal("TERM");
    until("the first signal is noticed", async || daemon.log().contains("what is being sent is finished first")).await;
    assert!(daemon.is_running());
    daemon.signal("TERM");
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    assert_eq!(status_of(&world, silent).await, "unknown");
    // Not because the gateway's time was up.
    let why = world.value(&format!("SELECT detail FROM sms_attempt WHERE message_id = {silent}")).await;
    assert!(why.contains("told to stop at once"), "{why}");
    assert_eq!(world.gateway.count(), 2);
}

#[tokio::test]
async fn results_that_cannot_be_written_stop_the_claims_and_are_written_when_they_can() {
    let mut world = World::with_script("latency = '300ms'\n").await;
    world.configure(QUICK);
    world.set("SMS_GATEWAY_CONCURRENCY", "2");
    enqueue_many(&world, 40).await;
    let daemon = world.daemon().await;
    world.gateway_receives(2).await;
    world.batch("ALTER TABLE sms_history RENAME TO sms_history_away").await;
    let before = world.gateway.count();
    until("health says so", async || health(&world).await.1.contains("results cannot be written")).await;
    until("what was claimed before is sent and answered", async || {
        let status: serde_json::Value = serde_json::from_str(&world.curl(&[], "/v1/status").await.1).unwrap();
        let claimed = "SELECT (SELECT count(*) FROM sms_outbox WHERE state = 'sending') + (SELECT count(*) FROM sms_history_away)";
        status["providers"][0]["in_flight"] == 0 && world.count(claimed).await == world.gateway.count() as i64
    })
    .await;
    let received = world.gateway.count();
    // It goes on trying to write, and claims nothing meanwhile.
    world.daemon_asks("outbox/settle ").await;
    world.daemon_asks("outbox/settle ").await;
    assert_eq!(world.gateway.count(), received);
    let further = received - before;
    assert!(further <= 6, "{further} messages were sent although results could not be written");
    world.batch("ALTER TABLE sms_history_away RENAME TO sms_history").await;
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'sent'", "40").await;
    daemon.stop().await;
    each_once(&world.gateway, 40);
}

#[tokio::test]
async fn connections_that_are_cut_again_and_again_lose_nothing_and_send_nothing_twice() {
    let mut world = World::with_script("latency = '10ms'\njitter = '10ms'\n").await;
    world.set("SMS_GATEWAY_CONCURRENCY", "8");
    enqueue_many(&world, 1_500).await;
    let daemon = world.daemon().await;
    for received in [100, 300, 500, 700, 900, 1_100, 1_300] {
        world.gateway_receives(received).await;
        world.batch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await;
    }
    world.value_becomes("SELECT count(*) FROM sms_history WHERE status = 'sent'", "1500").await;
    daemon.stop().await;
    each_once(&world.gateway, 1_500);
}

#[tokio::test]
async fn a_server_that_crashes_while_messages_are_sent_loses_nothing_and_nothing_is_sent_twice() {
    let (mut world, mut server) =
        World::on_its_own_server(Options::default(), "latency = '10ms'\njitter = '10ms'\n").await;
    world.set("SMS_GATEWAY_CONCURRENCY", "8");
    enqueue_many(&world, 1_000).await;
    let daemon = world.daemon().await;
    for received in [200, 600] {
        world.gateway_receives(received).await;
        server.stop_immediate().await.unwrap();
        until("health says so", async || health(&world).await.0 == 503).await;
        server.start_again().await.unwrap();
    }
    world.sql = support::session(&world.url).await;
    world.value_becomes("SELECT count(*) FROM sms_history WHERE status = 'sent'", "1000").await;
    until("the daemon is well", async || health(&world).await.0 == 200).await;
    daemon.stop().await;
    each_once(&world.gateway, 1_000);
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_waited_for_and_a_stop_meanwhile_is_obeyed() {
    let (mut world, mut server) = World::on_its_own_server(Options::default(), "").await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    server.stop_immediate().await.unwrap();
    let daemon = world.spawn_daemon();
    until("it says so", async || daemon.log().contains("out of reach")).await;
    until("health says so", async || health(&world).await.0 == 503).await;
    daemon.stop().await;

    let daemon = world.spawn_daemon();
    until("it says so", async || daemon.log().contains("out of reach")).await;
    server.start_again().await.unwrap();
    world.sql = support::session(&world.url).await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

/// How long a gateway takes so that the database is away before the first answer.
const SLOW: &str = "latency = '4s'\n";

/// Stops a daemon that has four answers and no database, starts the next one, and says what became of the messages.
async fn stopped_while_the_database_is_away(mut world: World, mut server: Throwaway, expected: &str) {
    world.set("SMS_GATEWAY_CONCURRENCY", "4");
    enqueue_many(&world, 10).await;
    let mut daemon = world.daemon().await;
    world.gateway_receives(4).await;
    server.stop_immediate().await.unwrap();
    daemon.signal("TERM");
    let status = daemon.ended().await;
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("4 results could not be written"), "{}", daemon.log());
    assert_eq!(world.gateway.count(), 4);

    world.gateway.set_script(Script::default());
    server.start_again().await.unwrap();
    world.sql = support::session(&world.url).await;
    // The leases are over at once, so that the test need not wait for them.
    world.batch("UPDATE sms_outbox SET lease_until = now() - interval '1 second' WHERE state = 'sending'").await;
    let daemon = world.daemon().await;
    world.value_becomes("SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM sms_message GROUP BY 1) s", expected).await;
    daemon.stop().await;
    each_once(&world.gateway, 10);
}

#[tokio::test]
async fn after_a_stop_while_the_database_is_away_the_journal_tells_what_was_sent() {
    let (world, server) = World::on_its_own_server(Options::default(), SLOW).await;
    stopped_while_the_database_is_away(world, server, "sent 10").await;
}

#[tokio::test]
async fn after_a_stop_while_the_database_is_away_what_was_under_way_is_in_doubt_without_a_journal() {
    let (mut world, server) = World::on_its_own_server(Options::default(), SLOW).await;
    world.set("STATE_DIRECTORY", "/proc/nothing/can/be/made/here");
    stopped_while_the_database_is_away(world, server, "sent 6, unknown 4").await;
}

#[tokio::test]
async fn rows_of_a_claim_whose_answer_was_lost_are_freed_and_no_newer_claims() {
    let world = World::new().await;
    enqueue_many(&world, 3).await;
    world.batch("UPDATE sms_outbox SET state = 'sending', attempt = 1, lease_owner = 1, lease_token = id, lease_until = now() + interval '1 minute'").await;
    // As the daemon calls it: owner 1, token 2 is live, token 3 was begun after the list was made.
    let unclaim =
        include_str!("../sql/outbox/unclaim.sql").replace("$1", "1").replace("$2", "'{2}'").replace("$3", "2");
    world.batch(&unclaim).await;
    let states =
        world.value("SELECT string_agg(id || ' ' || state || ' ' || attempt, ', ' ORDER BY id) FROM sms_outbox").await;
    assert_eq!(states, "1 queued 0, 2 sending 1, 3 sending 1");
}

#[tokio::test]
async fn a_message_that_nobody_holds_is_found_behind_many_that_are_scheduled() {
    let world = World::new().await;
    // More than are looked at in one piece.
    world
        .batch(
            "INSERT INTO sms_outbox (kind, recipient, body, not_before)
             SELECT 'custom', '20 000 001', 'Bonjour', now() + interval '1 day' FROM generate_series(1, 15000)",
        )
        .await;
    let id = world.enqueue("20 000 002", "Bonjour").await;
    world
        .batch(&format!(
            "UPDATE sms_outbox SET state = 'sending', attempt = 1, lease_owner = 99, lease_token = 1, lease_until = now() - interval '1 second'
             WHERE id = {id}"
        ))
        .await;
    let daemon = world.daemon().await;
    world.status_becomes(id, "unknown").await;
    assert!(daemon.log().contains("the daemon that was sending this message is gone"), "{}", daemon.log());
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 0);
}

#[tokio::test]
async fn what_a_clock_gone_back_while_no_daemon_looked_would_make_wait_goes_out() {
    let world = World::new().await;
    // Put back by a daemon at 10:20 for a minute; then it ended, and the clock went back to 10:00.
    let retried = world.enqueue("20 000 001", "Bonjour").await;
    world
        .batch(&format!(
            "UPDATE sms_outbox SET attempt = 1, claimed_at = now() + interval '20 minutes', next_at = now() + interval '21 minutes', reason = 'temporary_failure'
             WHERE id = {retried}"
        ))
        .await;
    // A campaign of that time, and one that is meant to wait.
    world
        .batch(
            "SELECT sms_consent_give('20 000 003', 'formulaire', 'oui'), sms_set('marketing.hours', '00:00-24:00');
             INSERT INTO sms_outbox (kind, recipient, body, created_at) VALUES ('campaign', '20 000 003', 'Promotion', now() + interval '20 minutes');
             UPDATE sms_outbox SET next_at = created_at WHERE kind = 'campaign';
             INSERT INTO sms_outbox (kind, recipient, body, not_before) VALUES ('custom', '20 000 002', 'Bonjour', now() + interval '1 hour')",
        )
        .await;
    // One entered with a time of the future, and put back by the clock as it is: it waits as it was told.
    let entered = world.enqueue("20 000 004", "Bonjour").await;
    world
        .batch(&format!(
            "UPDATE sms_outbox SET created_at = now() + interval '1 day', attempt = 1, claimed_at = now(), next_at = now() + interval '1 hour', reason = 'temporary_failure'
             WHERE id = {entered}"
        ))
        .await;
    let daemon = world.daemon().await;
    world.gateway_receives(2).await;
    world.value_becomes("SELECT count(*) FROM sms_history WHERE status = 'sent'", "2").await;
    daemon.stop().await;
    let waiting = "SELECT string_agg(recipient || ' ' || (next_at > now() + interval '50 minutes'), ', ' ORDER BY recipient) FROM sms_outbox";
    assert_eq!(world.value(waiting).await, "20 000 002 true, 20 000 004 true");
    assert_eq!(world.gateway.count(), 2);
}
