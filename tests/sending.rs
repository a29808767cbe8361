//! The main job, whatever the load: everything arrives once, soon, and in order of urgency.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use support::World;

async fn enqueue_many(world: &World, kind: &str, messages: u32) {
    world
        .batch(&format!(
            "INSERT INTO sms_outbox (kind, recipient, body) SELECT '{kind}', (21620000000 + i % 1000)::text, 'Bonjour ' || i FROM generate_series(1, {messages}) i"
        ))
        .await;
}

/// Panics unless the gateway received each text once.
fn each_once(world: &World, messages: usize) {
    let mut texts: HashMap<String, usize> = HashMap::new();
    for message in world.gateway.received() {
        *texts.entry(message.message.clone()).or_default() += 1;
    }
    let twice: Vec<_> = texts.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "sent more than once: {twice:?}");
    assert_eq!(texts.len(), messages, "messages lost");
}

#[tokio::test]
async fn a_completed_service_becomes_one_message_in_the_seeds_words() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    world.service(1, "20 000 001", "in_progress").await;
    world.complete(1).await;
    world.gateway_receives(1).await;
    world.settled().await;
    let received = world.gateway.received();
    assert_eq!(
        serde_json::to_value(received[0].body()).unwrap()["message"],
        "Bonjour Sami, votre service pour Kia Rio est terminé. Merci de nous contacter pour récupérer votre véhicule."
    );
    assert_eq!(received[0].phone, "+21620000001");
    assert_eq!(received[0].sender_id, "ECAR");
    let body = received[0].body();
    let mut keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["api_key", "message", "phone", "sender_id"]);
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn ten_thousand_messages_survive_three_stops_each_sent_once_in_little_memory() {
    let world = World::with_script("latency = \"5ms\"").await;
    enqueue_many(&world, "custom", 10_000).await;
    for stop_at in [500, 3_000, 6_000] {
        let daemon = world.daemon().await;
        world.gateway_receives(stop_at).await;
        let resident = daemon.resident_kib();
        assert!(resident < 64 * 1024, "{resident} KiB resident");
        daemon.stop().await;
        assert_eq!(
            world.count("SELECT count(*) FROM sms_outbox WHERE state <> 'queued'").await,
            0,
            "{}",
            world.state().await
        );
    }
    let daemon = world.daemon().await;
    world.gateway_receives(10_000).await;
    world.settled().await;
    daemon.stop().await;
    each_once(&world, 10_000);
    assert_eq!(world.count("SELECT count(*) FROM sms_history WHERE status = 'sent'").await, 10_000);
}

#[tokio::test]
async fn one_bad_row_of_each_sort_delays_none_of_a_thousand() {
    let world = World::new().await;
    world.service(1, "call me maybe", "completed").await;
    // The customer of service 2 has lost the car: its facts are gone. Service 3 has a model that no text can hold.
    world.service(2, "20 000 002", "completed").await;
    world.batch("DELETE FROM sms_outbox; INSERT INTO sms_outbox (kind, source_id) VALUES ('service_completed', 1), ('service_completed', 999), ('invoice_created', 999)").await;
    enqueue_many(&world, "custom", 1_000).await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', 'junk', 'Bonjour')").await;
    let daemon = world.daemon().await;
    world.gateway_receives(1_000).await;
    world.settled().await;
    daemon.stop().await;
    each_once(&world, 1_000);
    let reasons =
        world.value("SELECT string_agg(reason, ',' ORDER BY reason) FROM sms_message WHERE status = 'skipped'").await;
    assert_eq!(reasons, "invalid_phone,invalid_phone,source_gone,source_gone");
}

#[tokio::test]
async fn a_flood_of_campaign_texts_does_not_hold_a_service_message_up() {
    let mut world = World::new().await;
    world.set("SMS_GATEWAY_RATE", "10");
    // No advertising: nobody has agreed to any.
    world.batch("SELECT sms_set('campaign.category', 'service')").await;
    enqueue_many(&world, "campaign", 10_000).await;
    world.service(1, "20 000 777", "in_progress").await;
    let daemon = world.daemon().await;
    world.gateway_receives(5).await;
    world.complete(1).await;
    let before = world.gateway.count();
    let place = || world.gateway.received().iter().position(|message| message.message.contains("terminé"));
    support::until("the service message arrives", async || place().is_some()).await;
    // At 10 messages a second, a second is ten messages; the flood would be ten thousand.
    let passed = place().unwrap().saturating_sub(before);
    assert!(passed <= 10, "{passed} bulk messages went first");
    daemon.stop().await;
}

#[tokio::test]
async fn a_message_that_is_due_again_comes_forward_while_fresh_ones_fill_every_claim() {
    let mut world = World::new().await;
    world.set("SMS_GATEWAY_RATE", "20");
    enqueue_many(&world, "custom", 300).await;
    let daemon = world.daemon().await;
    world.gateway_receives(5).await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body, not_before) VALUES ('custom', '20 000 777', 'Il est temps', now() - interval '1 second')").await;
    let before = world.gateway.count();
    let place = || world.gateway.received().iter().position(|message| message.message == "Il est temps");
    support::until("the message that is due arrives", async || place().is_some()).await;
    let passed = place().unwrap().saturating_sub(before);
    assert!(passed <= 20, "{passed} fresh messages went first");
    daemon.stop().await;
}

#[tokio::test]
async fn without_a_key_messages_wait_and_go_out_when_the_key_is_there() {
    let mut world = World::new().await;
    world.set("SMS_API_KEY", "");
    let waiting = world.enqueue("20 000 001", "Bonjour").await;
    let too_old = world.enqueue("20 000 002", "Bonjour").await;
    world.batch(&format!("UPDATE sms_outbox SET created_at = now() - interval '25 hours' WHERE id = {too_old}")).await;
    let daemon = world.daemon().await;
    support::until("a warning", async || daemon.log().contains("SMS_API_KEY is not set")).await;
    assert_eq!(world.value(&format!("SELECT status FROM sms_message WHERE id = {waiting}")).await, "queued");
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 0);

    world.set("SMS_API_KEY", support::API_KEY);
    let daemon = world.daemon().await;
    world.status_becomes(waiting, "sent").await;
    world.status_becomes(too_old, "expired").await;
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn a_message_is_found_by_the_poll_when_no_notification_arrives() {
    let mut world = World::new().await;
    world.configure("[database]\nlisten = false\n[sending]\npoll_interval = \"200ms\"\n");
    let daemon = world.spawn_daemon();
    support::until("the daemon polls", async || daemon.log().contains("ecar-sms starts")).await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_scheduled_message_waits_for_its_time() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let later = world.count("INSERT INTO sms_outbox (kind, recipient, body, not_before) VALUES ('custom', '20 000 001', 'tard', now() + interval '1 hour') RETURNING id").await;
    let soon = world.count("INSERT INTO sms_outbox (kind, recipient, body, not_before) VALUES ('custom', '20 000 002', 'bientot', now() + interval '2 seconds') RETURNING id").await;
    world.status_becomes(soon, "sent").await;
    assert_eq!(world.value(&format!("SELECT sent_at >= not_before FROM sms_message WHERE id = {soon}")).await, "t");
    assert_eq!(world.value(&format!("SELECT status FROM sms_message WHERE id = {later}")).await, "queued");
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn a_rate_is_kept() {
    let mut world = World::new().await;
    world.set("SMS_GATEWAY_RATE", "50");
    enqueue_many(&world, "custom", 100).await;
    let daemon = world.daemon().await;
    world.gateway_receives(100).await;
    daemon.stop().await;
    let received = world.gateway.received();
    let first = received.first().unwrap().at_us();
    let last = received.last().unwrap().at_us();
    let took = Duration::from_micros(u64::try_from(last - first).unwrap());
    // 99 gaps of 20 ms; never faster, a slow machine may be slower.
    assert!(took >= Duration::from_millis(1_900), "100 messages in {took:?}");
}

#[tokio::test]
async fn a_row_committed_late_behind_later_ones_is_sent() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let late = support::session(&world.url).await;
    late.batch("BEGIN; INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 000 500', 'en retard')")
        .await
        .unwrap();
    enqueue_many(&world, "custom", 2_000).await;
    world.gateway_receives(2_000).await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 000 501', 'encore')").await;
    world.gateway_receives(2_001).await;
    late.batch("COMMIT").await.unwrap();
    world.gateway_receives(2_002).await;
    assert_eq!(world.received_by("+21620000500").iter().filter(|message| message.message == "en retard").count(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn the_first_start_begins_at_the_first_row_and_later_ones_where_the_last_one_was() {
    let world = World::new().await;
    let late = support::session(&world.url).await;
    late.batch("BEGIN; INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 000 500', 'en retard')")
        .await
        .unwrap();
    enqueue_many(&world, "custom", 20).await;
    let daemon = world.daemon().await;
    world.gateway_receives(20).await;
    let beats = async |beats: usize| {
        for _ in 0..beats {
            let seen = world.value("SELECT max(seen_at) FROM sms_owner").await;
            support::until("it beats", async || world.value("SELECT max(seen_at) FROM sms_owner").await != seen).await;
        }
    };
    // Nothing may be taken for looked at while the transaction is open.
    beats(2).await;
    assert_eq!(world.count("SELECT max(floor) FROM sms_owner").await, 0);
    late.batch("COMMIT").await.unwrap();
    world.gateway_receives(21).await;
    world.value_becomes("SELECT max(floor) FROM sms_owner", "21").await;
    daemon.stop().await;
    let daemon = world.daemon().await;
    beats(1).await;
    assert_eq!(world.count("SELECT floor FROM sms_owner ORDER BY owner DESC LIMIT 1").await, 21);
    // What was entered below it meanwhile is found all the same, behind more than are looked at in one piece.
    daemon.stop().await;
    world
        .batch(
            "INSERT INTO sms_outbox (id, kind, recipient, body, not_before) OVERRIDING SYSTEM VALUE
             SELECT -i, 'custom', '20 000 502', 'demain', now() + interval '1 day' FROM generate_series(1, 12000) i",
        )
        .await;
    world.batch("INSERT INTO sms_outbox (id, kind, recipient, body) OVERRIDING SYSTEM VALUE VALUES (5, 'custom', '20 000 501', 'plus bas')").await;
    let _daemon = world.daemon().await;
    world.gateway_receives(22).await;
}

#[tokio::test]
async fn rows_of_a_killed_daemon_are_in_doubt_and_not_simply_sent_again() {
    let world = World::with_script("[[rule]]\nfault = \"silence\"\ntimes = 1\n").await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    let daemon = world.daemon().await;
    world.gateway_receives(1).await;
    daemon.kill().await;
    // The lease is over at once, so that the test need not wait for it.
    world.batch("UPDATE sms_outbox SET lease_until = now() - interval '1 second'").await;
    let daemon = world.daemon().await;
    world.status_becomes(id, "unknown").await;
    assert_eq!(world.value(&format!("SELECT outcome FROM sms_attempt WHERE message_id = {id}")).await, "unknown");
    assert_eq!(world.gateway.count(), 1);
    // The policy of free texts is to leave it to staff; staff send it again.
    world.batch("SELECT sms_set('unknown_wait', '0s')").await;
    support::until("the daemon knows it", async || daemon.log().contains("settings changed")).await;
    world.batch("UPDATE sms_outbox SET next_at = now()").await;
    world.value_becomes("SELECT next_at IS NULL FROM sms_outbox", "t").await;
    let again = world.count(&format!("SELECT sms_resend({id})")).await;
    world.status_becomes(again, "sent").await;
    assert_eq!(
        world.value(&format!("SELECT status || ' ' || reason FROM sms_message WHERE id = {id}")).await,
        "unknown superseded"
    );
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 2);
}
