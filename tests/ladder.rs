//! What may have been sent is cleared up, rung by rung: by a receipt, by a repetition that the provider recognises, by asking it, and
//! by what the process remembers when the database forgets. Kills and outages in numbers are the torture suite's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use support::{API_KEY, World, until};

/// A provider that is given our reference; with further lines of its own.
fn configure(world: &mut World, provider: &str, further: &str) {
    let url = world.gateway.url();
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    world.configure(&format!(
        r#"[sending]
poll_interval = "100ms"
retry_first = "100ms"
[[provider]]
name = "asked"
[provider.generic]
url = "{url}"
api_key = "{API_KEY}"
connect_timeout = "4s"
total_timeout = "4s"
{provider}
fields = [
    {{ name = "api_key", value = "{{{{ api_key }}}}" }},
    {{ name = "sender_id", value = "{{{{ sender_id }}}}" }},
    {{ name = "phone", value = "{{{{ phone }}}}" }},
    {{ name = "message", value = "{{{{ message }}}}" }},
    {{ name = "reference", value = "{{{{ reference }}}}" }},
]
{further}"#
    ));
}

/// How the simulated gateway is asked by recipient and time.
fn by_recipient(world: &World) -> String {
    let host = world.gateway.addr();
    format!(
        r#"[provider.generic.lookup]
by = "recipient"
url = "http://{host}/lookup?phone={{{{ phone }}}}&since={{{{ since }}}}"
items = "$.messages[*]"
text = "$.message"
absent_after = "0s"
"#
    )
}

/// The rows of a settled message stand in the outbox again as if it had never been claimed: what a promoted standby may make of it.
async fn forget(world: &World, id: i64) {
    world
        .batch(&format!(
            "INSERT INTO sms_outbox (id, kind, recipient, body, created_at) OVERRIDING SYSTEM VALUE
             SELECT id, kind, recipient, body, created_at FROM sms_history WHERE id = {id};
             DELETE FROM sms_history WHERE id = {id}"
        ))
        .await;
}

#[tokio::test]
async fn a_message_that_the_database_has_forgotten_is_not_sent_again() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    forget(&world, id).await;
    world.status_becomes(id, "sent").await;
    assert!(daemon.log().contains("the database has lost an attempt"), "{}", daemon.log());
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
    let record = format!("SELECT provider_message_id || ' ' || detail FROM sms_history WHERE id = {id}");
    assert!(world.value(&record).await.starts_with("sim-000001 it had been sent"), "{}", world.state().await);
}

#[tokio::test]
async fn after_a_kill_the_journal_remembers_what_the_database_has_forgotten() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    daemon.kill().await;
    forget(&world, id).await;
    // Another message with the same number of another time is none of it.
    let other = world.enqueue("20 000 002", "Bonsoir").await;
    let daemon = world.daemon().await;
    world.status_becomes(id, "sent").await;
    world.status_becomes(other, "sent").await;
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 2);
    assert_eq!(world.received_by("+21620000001").len(), 1);
}

#[tokio::test]
async fn a_delivery_receipt_settles_a_message_in_doubt() {
    let mut world = World::with_script("[[rule]]\nfault = 'reset_after_read'\ntimes = 1\n").await;
    configure(&mut world, "", "");
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "unknown").await;
    let reference = world.gateway.received()[0].reference.clone().unwrap();
    let strange = world.value("SELECT sms_receive('asked', 'x-1', 'delivered', 'ecar-1-1-0') IS NULL").await;
    assert_eq!(strange, "t", "a receipt of another message is kept as an orphan");
    let found = world.count(&format!("SELECT sms_receive('asked', 'x-2', 'delivered', '{reference}')")).await;
    assert_eq!(found, id);
    world.status_becomes(id, "delivered").await;
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn a_provider_that_deduplicates_is_told_again_under_the_same_reference() {
    let mut world = World::with_script("deduplicate = true\n[[rule]]\nfault = 'reset_after_read'\ntimes = 1\n").await;
    configure(&mut world, "deduplicates = true", "");
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
    let received = world.gateway.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].reference, received[1].reference);
    assert_eq!(received.iter().filter(|it| it.taken).count(), 1, "one text to the customer");
    assert_eq!(world.count(&format!("SELECT attempts FROM sms_history WHERE id = {id}")).await, 2);
}

#[tokio::test]
async fn asked_by_recipient_a_provider_clears_each_of_two_equal_texts_up_by_itself() {
    // The first is answered, the second is lost on its way back, the third never arrives: the same text to the same number each time.
    let mut world = World::with_script(
        "[[rule]]\nfrom = 1\ntimes = 1\nfault = 'reset_after_read'\n[[rule]]\nfrom = 1\ntimes = 1\nstatus = 500\n",
    )
    .await;
    let lookup = by_recipient(&world);
    configure(&mut world, "", &lookup);
    let daemon = world.daemon().await;
    let first = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(first, "sent").await;
    let second = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(second, "sent").await;
    let third = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(third, "sent").await;
    daemon.stop().await;
    // The third was answered 500, which the gateway did not take: it was asked, and sent again.
    assert_eq!(world.gateway.received().iter().filter(|it| it.taken).count(), 3);
    let ids = "SELECT count(DISTINCT provider_message_id) FROM sms_history WHERE status = 'sent'";
    assert_eq!(world.count(ids).await, 3, "{}", world.state().await);
    let story = format!("SELECT string_agg(what, ',') FROM sms_event WHERE message_id = {third}");
    assert_eq!(world.value(&story).await, "cleared");
}

#[tokio::test]
async fn a_message_in_doubt_that_grows_too_old_is_never_called_expired() {
    let world = World::with_script("[[rule]]\nfault = 'reset_after_read'\ntimes = 1\n").await;
    world.batch("SELECT sms_set('custom.unknown_policy', 'resend'); SELECT sms_set('unknown_wait', '1h')").await;
    let daemon = world.daemon().await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "unknown").await;
    world.batch("SELECT sms_set('unknown_wait', '0s')").await;
    until("the daemon knows it", async || daemon.log().contains("settings changed")).await;
    world.batch("UPDATE sms_outbox SET created_at = now() - interval '25 hours', next_at = now()").await;
    world
        .value_becomes(&format!("SELECT status || ' ' || reason FROM sms_history WHERE id = {id}"), "unknown too_old")
        .await;
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn what_a_killed_daemon_had_claimed_and_not_written_goes_out_at_once() {
    let mut world = World::new().await;
    world.set("ECAR_SMS_CRASH", "before_journal_begin");
    let id = world.enqueue("20 000 001", "Bonjour").await;
    let mut daemon = world.spawn_daemon();
    daemon.ended().await;
    assert_eq!(world.value(&format!("SELECT status FROM sms_message WHERE id = {id}")).await, "sending");
    assert_eq!(world.gateway.count(), 0);
    world.set("ECAR_SMS_CRASH", "");
    let daemon = world.daemon().await;
    world.status_becomes(id, "sent").await;
    // It was never in doubt, and nobody waited for its lease to run out.
    assert_eq!(world.count("SELECT count(*) FROM sms_attempt").await, 0);
    assert_eq!(world.count(&format!("SELECT attempts FROM sms_history WHERE id = {id}")).await, 1);
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn a_daemon_that_was_killed_is_counted_no_more_by_the_next_start_on_its_machine() {
    let world = World::new().await;
    world.daemon().await.kill().await;
    world.batch("UPDATE sms_owner SET floor = 7").await;
    let daemon = world.daemon().await;
    let dead = "SELECT (ended_at IS NOT NULL) || ' ' || floor FROM sms_owner ORDER BY owner LIMIT 1";
    assert_eq!(world.value(dead).await, "true 7", "{}", daemon.log());
    // Nobody has to see the new one before it sends.
    assert!(!daemon.log().contains("other daemons work on this database"), "{}", daemon.log());
    daemon.stop().await;
}

#[tokio::test]
async fn two_daemons_together_make_no_more_requests_at_once_than_one_may() {
    let mut world = World::with_script("latency = '30ms'\n").await;
    world.set("SMS_GATEWAY_CONCURRENCY", "3");
    let first = world.daemon().await;
    let other = world.directory().join("other");
    let mut command = world.command(["run"]);
    command.env("ECAR_SMS_SOCKET", world.directory().join("other.sock")).env("STATE_DIRECTORY", other);
    let second = world.spawn(command);
    until("both work", async || {
        second.log().contains("daemons=2") && second.log().contains("listening") && first.log().contains("daemons=2")
    })
    .await;
    world
        .batch(
            "INSERT INTO sms_outbox (kind, recipient, body)
             SELECT 'custom', '20 000 001', 'Bonjour ' || i FROM generate_series(1, 200) i",
        )
        .await;
    world.settled().await;
    let owners = world.count("SELECT count(DISTINCT lease_owner) FROM sms_history").await;
    assert_eq!(owners, 2, "each had its share");
    assert!(world.gateway.stats().max_in_flight <= 3, "{:?}", world.gateway.stats());
    assert_eq!(world.gateway.count(), 200);
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn without_the_first_daemon_its_hot_standby_sends() {
    let mut world = World::new().await;
    world.set("SMS_GATEWAY_CONCURRENCY", "1");
    let first = world.daemon().await;
    let mut command = world.command(["run"]);
    command
        .env("ECAR_SMS_SOCKET", world.directory().join("other.sock"))
        .env("STATE_DIRECTORY", world.directory().join("other"));
    let second = world.spawn(command);
    until("both work", async || first.log().contains("daemons=2") && second.log().contains("listening")).await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    assert_eq!(world.count(&format!("SELECT lease_owner FROM sms_history WHERE id = {id}")).await, 1);
    first.kill().await;
    let id = world.enqueue("20 000 001", "Bonsoir").await;
    world.status_becomes(id, "sent").await;
    assert_eq!(world.count(&format!("SELECT lease_owner FROM sms_history WHERE id = {id}")).await, 2);
    second.stop().await;
}
