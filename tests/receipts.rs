//! Delivery receipts and replies: what is pushed to the listener, what is asked for, what comes too early, twice, forged, or for nobody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ecar_sms::gateway::Script;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sha2::Sha256;
use support::{API_KEY, World, until};

const TOKEN: &str = "b6Yw0Qm4Zs8Rk2Tn";
const SECRET: &str = "the signature's secret";

/// A world whose one provider pushes receipts, with what else its section holds. Returns where they come.
async fn world(more: &str) -> (World, String) {
    let mut world = World::new().await;
    let port = support::free_port();
    let gateway = world.gateway.url();
    world.configure(&format!(
        r#"
        [receipts]
        listen = "127.0.0.1:{port}"
        [[provider]]
        name = "main"
        [provider.generic]
        url = "{gateway}"
        api_key = "{API_KEY}"
        push_token = "{TOKEN}"
        fields = [
          {{ name = "api_key", value = "{{{{ api_key }}}}" }}, {{ name = "sender_id", value = "{{{{ sender_id }}}}" }},
          {{ name = "phone", value = "{{{{ phone }}}}" }}, {{ name = "message", value = "{{{{ message }}}}" }},
          {{ name = "reference", value = "{{{{ reference }}}}" }},
        ]
        receipts = {{ items = "$.results[*]", id = "$.id", reference = "$.reference", status = "$.status", delivered = ["DELIVRD"], undelivered = ["UNDELIV", "EXPIRED"], error = "$.error", at = "$.at" }}
        replies = {{ items = "$.replies[*]", from = "$.from", text = "$.text" }}
        {more}
        "#
    ));
    world.set("SMS_API_KEY", "");
    (world, format!("http://127.0.0.1:{port}/receipts/main/{TOKEN}"))
}

/// Signed as `type = "hmac"` wants it.
fn signed(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn push(url: &str, body: String) -> u16 {
    let signature = signed(&body);
    push_with(url, body, &signature).await
}

async fn push_with(url: &str, body: String, signature: &str) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.post(url).header("content-type", "application/json");
    if !signature.is_empty() {
        request = request.header("x-signature", signature);
    }
    request.body(body).send().await.unwrap().status().as_u16()
}

fn receipt(id: &str, status: &str) -> String {
    format!(r#"{{"results":[{{"id":"{id}","status":"{status}"}}]}}"#)
}

async fn listening(daemon: &support::Daemon) {
    until("receipts are taken", async || daemon.log().contains("receipts are taken")).await;
}

/// Sends some texts; returns the provider's ids by the number of the message.
async fn sent(world: &World, texts: usize) -> BTreeMap<i64, String> {
    world
        .batch(&format!(
            "INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 001', 'Bonjour ' || i FROM generate_series(1, {texts}) i"
        ))
        .await;
    world.gateway_receives(texts).await;
    world.settled().await;
    let rows = world.value("SELECT string_agg(id || ' ' || provider_message_id, ',') FROM sms_history").await;
    rows.split(',')
        .map(|row| row.split_once(' ').unwrap())
        .map(|(id, theirs)| (id.parse().unwrap(), theirs.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_pushed_receipt_says_what_became_of_its_message_forward_only_and_once() {
    let (world, url) = world("").await;
    let daemon = world.daemon().await;
    listening(&daemon).await;
    let ids = sent(&world, 4).await;
    let (mine, theirs): (Vec<i64>, Vec<&str>) = ids.iter().map(|(id, theirs)| (*id, theirs.as_str())).unzip();
    assert_eq!(push(&url, receipt(theirs[0], "DELIVRD")).await, 200);
    assert_eq!(push(&url, receipt(theirs[1], "undeliv")).await, 200);
    // A word that nobody knows ends nothing.
    assert_eq!(push(&url, receipt(theirs[2], "BUFFERED")).await, 200);
    // In another form, and with its time and its error.
    let odd = format!(
        r#"{{"results":[{{"id":"00{}","status":"UNDELIV","error":"000a","at":"2026-01-02T03:04:05Z"}}]}}"#,
        theirs[3].to_uppercase()
    );
    assert_eq!(push(&url, odd).await, 200);
    let status = async |id: i64| world.value(&format!("SELECT status FROM sms_message WHERE id = {id}")).await;
    assert_eq!(status(mine[0]).await, "delivered");
    assert_eq!(status(mine[1]).await, "undelivered");
    assert_eq!(status(mine[2]).await, "sent");
    assert_eq!(status(mine[3]).await, "undelivered");
    assert_eq!(
        world.value(&format!("SELECT raw FROM sms_receipt WHERE message_id = {}", mine[3])).await,
        "UNDELIV 000a"
    );
    // Late, out of order, and twice: delivered stays, undelivered may still become delivered.
    for (id, word) in [(theirs[0], "EXPIRED"), (theirs[0], "BUFFERED"), (theirs[0], "DELIVRD"), (theirs[1], "DELIVRD")]
    {
        assert_eq!(push(&url, receipt(id, word)).await, 200);
    }
    assert_eq!(status(mine[0]).await, "delivered");
    assert_eq!(status(mine[1]).await, "delivered");
    assert_eq!(
        world
            .count(&format!("SELECT count(*) FROM sms_receipt WHERE message_id = {} AND said = 'delivered'", mine[0]))
            .await,
        1
    );
    assert_eq!(world.count("SELECT count(*) FROM sms_receipt WHERE message_id IS NULL").await, 0);
    let shown = world.ok(["show", &mine[0].to_string()]).await;
    assert!(shown.contains("delivered"), "{shown}");
}

#[tokio::test]
async fn what_is_not_a_providers_push_is_refused_and_changes_nothing() {
    let (world, url) =
        world(&format!("signature = {{ type = 'hmac', header = 'X-Signature', secret = \"{SECRET}\" }}")).await;
    let daemon = world.daemon().await;
    listening(&daemon).await;
    let ids = sent(&world, 1).await;
    let theirs = ids.values().next().unwrap();
    let body = receipt(theirs, "DELIVRD");
    assert_eq!(push_with(&url, body.clone(), "").await, 403);
    assert_eq!(push_with(&url, body.clone(), &signed("another body")).await, 403);
    assert_eq!(push(&url.replace(TOKEN, "b6Yw0Qm4Zs8Rk2Tx"), body.clone()).await, 404);
    assert_eq!(push(&url.replace("/main/", "/other/"), body.clone()).await, 404);
    assert_eq!(push(&url.replace("/receipts/", "/"), body.clone()).await, 404);
    assert_eq!(push(&url, "{".to_owned()).await, 400);
    assert_eq!(push(&url, format!("[{}]", "1,".repeat(600_000))).await, 413);
    // What is no receipt is taken and says nothing.
    for nothing in
        ["null", "[]", "{}", r#"{"results":7}"#, r#"{"results":[null,{"status":"DELIVRD"},{"id":[],"status":{}}]}"#]
    {
        assert_eq!(push(&url, nothing.to_owned()).await, 200, "{nothing}");
    }
    assert_eq!(world.count("SELECT count(*) FROM sms_receipt").await, 0);
    assert_eq!(push(&url, body).await, 200);
    assert_eq!(world.value("SELECT status FROM sms_message").await, "delivered");
    let log = daemon.log();
    assert!(log.contains("signature is wrong") && log.contains("signature is missing"), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn a_receipt_waits_for_the_answer_it_came_before() {
    let (world, url) = world("").await;
    let daemon = world.daemon().await;
    listening(&daemon).await;
    // By the id that the gateway will give.
    let first = sent(&world, 1).await;
    let known = first.values().next().unwrap();
    assert_eq!(known, "sim-000001");
    let next = "sim-000002".to_owned();
    assert_eq!(push(&url, receipt(&next, "DELIVRD")).await, 200);
    assert_eq!(world.count("SELECT count(*) FROM sms_receipt WHERE message_id IS NULL").await, 1);
    let id = world.enqueue("20 000 002", "Bonjour").await;
    world.status_becomes(id, "delivered").await;
    assert_eq!(world.value(&format!("SELECT provider_message_id FROM sms_message WHERE id = {id}")).await, next);
    assert_eq!(world.count("SELECT count(*) FROM sms_receipt WHERE message_id IS NULL").await, 0);
}

#[tokio::test]
async fn a_message_in_doubt_is_settled_by_a_receipt_that_repeats_our_reference() {
    let (world, url) = world("").await;
    world.gateway.set_script(Script::parse("[[rule]]\nfault = 'reset_after_read'\n").unwrap());
    let daemon = world.daemon().await;
    listening(&daemon).await;
    world.batch("SELECT sms_set('unknown_wait', '1h')").await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "unknown").await;
    let reference = world.gateway.received()[0].reference.clone().unwrap();
    let body = format!(r#"{{"results":[{{"reference":"{reference}","status":"DELIVRD"}}]}}"#);
    assert_eq!(push(&url, body).await, 200);
    world.status_becomes(id, "delivered").await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn ten_thousand_receipts_in_any_order_twice_early_strange_and_forged_count_once_each() {
    const MESSAGES: usize = 10_000;
    let (world, url) =
        world(&format!("signature = {{ type = 'hmac', header = 'X-Signature', secret = \"{SECRET}\" }}")).await;
    let daemon = world.daemon().await;
    listening(&daemon).await;
    sent(&world, 1).await;
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    // The gateway numbers its messages: 2 to 10,001 are those that come. One in ten is undelivered.
    let mut pushes: Vec<(String, bool)> = Vec::new();
    let mut early: Vec<(String, bool)> = Vec::new();
    for number in 2..MESSAGES + 2 {
        let id = format!("sim-{number:06}");
        let word = if number % 10 == 0 { "UNDELIV" } else { "DELIVRD" };
        let honest = (receipt(&id, word), true);
        if random.random_bool(0.1) {
            pushes.push(honest.clone());
        }
        if random.random_bool(0.05) {
            early.push(honest)
        } else {
            pushes.push(honest)
        }
        if random.random_bool(0.05) {
            pushes.push((receipt(&format!("sim-9{number:06}"), "DELIVRD"), true));
        }
        if random.random_bool(0.01) {
            // The other way round, and not signed as it should be.
            pushes.push((receipt(&id, if word == "DELIVRD" { "UNDELIV" } else { "DELIVRD" }), false));
        }
    }
    pushes.shuffle(&mut random);
    let post = async |pushes: Vec<(String, bool)>| {
        let refused = Arc::new(AtomicUsize::new(0));
        let mut hands = tokio::task::JoinSet::new();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for share in pushes.chunks(pushes.len().div_ceil(16).max(1)) {
            let (share, url, refused, client) = (share.to_vec(), url.clone(), Arc::clone(&refused), client.clone());
            hands.spawn(async move {
                for (body, honest) in share {
                    let signature = signed(if honest { &body } else { "not this" });
                    loop {
                        let request = client.post(&url).header("content-type", "application/json");
                        let answer = request.header("x-signature", &signature).body(body.clone()).send().await.unwrap();
                        match answer.status().as_u16() {
                            200 => break assert!(honest, "a forged receipt was taken"),
                            403 => {
                                refused.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            // Too fast: as a vendor does, again.
                            429 | 503 => tokio::task::yield_now().await,
                            other => panic!("{other}"),
                        }
                    }
                }
            });
        }
        while let Some(ended) = hands.join_next().await {
            ended.unwrap();
        }
        refused.load(Ordering::Relaxed)
    };
    let forged = pushes.iter().filter(|(_, honest)| !honest).count();
    assert!(early.len() > 300 && forged > 50);
    post(early).await;
    world
        .batch(&format!("INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 001', 'Bonjour ' || i FROM generate_series(1, {MESSAGES}) i"))
        .await;
    world.gateway_receives(MESSAGES + 1).await;
    world.settled().await;
    assert_eq!(post(pushes).await, forged);
    let expected = MESSAGES - MESSAGES / 10;
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'delivered'", &expected.to_string()).await;
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'undelivered'", "1000").await;
    let wrong = "SELECT count(*) FROM sms_message WHERE (right(provider_message_id, 1) = '0') <> (status = 'undelivered') AND status <> 'sent'";
    assert_eq!(world.count(wrong).await, 0);
    // Each counts once, and those of others are kept apart.
    assert_eq!(world.count("SELECT count(*) FROM sms_receipt WHERE message_id IS NOT NULL").await, 10_000);
    assert!(world.count("SELECT count(*) FROM sms_receipt WHERE message_id IS NULL").await > 300);
    assert_eq!(world.count("SELECT count(*) FROM sms_awaited WHERE status IS NULL").await, 1);
}

#[tokio::test]
async fn a_provider_that_pushes_nothing_is_asked_in_batches_and_until_it_knows() {
    // Knows nothing at the first question, and all at the second but for one message.
    let asked: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&asked);
    let answer = async move |axum::extract::RawQuery(query): axum::extract::RawQuery| {
        let query = query.unwrap_or_default();
        let ids = query.split("msg_id=").nth(1).unwrap().to_owned();
        let known = {
            let mut told = told.lock().unwrap();
            told.push(query);
            told.len() > 2
        };
        let word = |id: &str| if known && id != "sim-000003" { "DELIVRD" } else { "ENROUTE" };
        let items: Vec<String> =
            ids.split("%3B").map(|id| format!(r#"{{"msg":"{id}","dlr":{{"state":"{}"}}}}"#, word(id))).collect();
        format!(r#"{{"data":[{}]}}"#, items.join(","))
    };
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let router = axum::Router::new().route("/dlr", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(server, router).await });
    let (world, _) = world(&format!(
        r#"
        [provider.generic.poll]
        url = "http://{address}/dlr"
        query = [{{ name = "key", value = "{{{{ api_key }}}}" }}, {{ name = "msg_id", value = "{{{{ ids }}}}" }}]
        batch = 2
        separator = ";"
        receipts = {{ items = "$.data[*]", id = "$.msg", status = "$.dlr.state", delivered = ["DELIVRD"], undelivered = ["UNDELIV"] }}
        "#
    ))
    .await;
    let daemon = world.daemon().await;
    sent(&world, 3).await;
    assert_eq!(world.count("SELECT count(*) FROM sms_awaited WHERE next_at > now()").await, 3);
    // As if time had passed.
    let hurry = "UPDATE sms_awaited SET next_at = now() WHERE next_at > now() + interval '5 seconds'";
    until("all but one are delivered", async || {
        world.batch(hurry).await;
        world.count("SELECT count(*) FROM sms_message WHERE status = 'delivered'").await == 2
    })
    .await;
    assert_eq!(world.value("SELECT provider_message_id FROM sms_message WHERE status = 'sent'").await, "sim-000003");
    assert!(world.count("SELECT min(looks) FROM sms_awaited").await >= 1);
    let asked = asked.lock().unwrap().clone();
    let pair = format!("key={API_KEY}&msg_id=sim-00000");
    assert!(asked.iter().any(|query| query.starts_with(&pair) && query.matches("sim-").count() == 2), "{asked:?}");
    // After three days nobody asks any more.
    world.batch("UPDATE sms_awaited SET sent_at = now() - interval '73 hours'").await;
    daemon.stop().await;
    let _daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_awaited", "0").await;
    assert_eq!(world.count("SELECT count(*) FROM sms_message WHERE status = 'sent'").await, 1);
}

#[tokio::test]
async fn the_parts_of_a_long_text_add_up() {
    let world = World::new().await;
    world
        .batch(
            "INSERT INTO sms_history (id, kind, recipient, body, status, provider, provider_message_id, attempts, created_at)
             SELECT i, 'custom', '+21620000001', 'long', 'sent', 'smpp', '0a' || i || ' 0b' || i || ' 0c' || i, 1, now() FROM generate_series(1, 3) i;
             INSERT INTO sms_awaited (message_id, part, provider, provider_message_id, forms)
             SELECT h.id, p.part, 'smpp', p.id, sms_id_forms(p.id) FROM sms_history h CROSS JOIN LATERAL string_to_table(h.provider_message_id, ' ') WITH ORDINALITY AS p (id, part)",
        )
        .await;
    let tell = async |id: &str, word: &str| {
        world.batch(&format!("SELECT sms_receive('smpp', '{id}', '{word}')")).await;
        let message = id.trim_start_matches('0').get(1..2).unwrap().to_owned();
        world.value(&format!("SELECT status FROM sms_message WHERE id = {message}")).await
    };
    assert_eq!(tell("0A1", "delivered").await, "sent");
    assert_eq!(tell("0a1", "delivered").await, "sent");
    assert_eq!(tell("C1", "delivered").await, "sent");
    assert_eq!(tell("0b1", "delivered").await, "delivered");
    assert_eq!(tell("0a2", "delivered").await, "sent");
    assert_eq!(tell("0b2", "undelivered").await, "undelivered");
    assert_eq!(tell("0c2", "delivered").await, "undelivered");
    assert_eq!(world.count("SELECT count(*) FROM sms_awaited WHERE message_id = 1").await, 0);
    // Numbers that are written the other way round find theirs, the exact one first.
    world
        .batch(
            "INSERT INTO sms_history (id, kind, recipient, body, status, provider, provider_message_id, attempts, created_at)
             SELECT 10 + i, 'custom', '+21620000001', 'short', 'sent', 'smpp', v, 1, now() FROM (VALUES (1, '305419896'), (2, '12345678'), (3, '0DEADBEE'), (4, '16')) AS t (i, v);
             INSERT INTO sms_awaited (message_id, part, provider, provider_message_id, forms)
             SELECT h.id, 1, 'smpp', h.provider_message_id, sms_id_forms(h.provider_message_id) FROM sms_history h WHERE h.id > 10",
        )
        .await;
    let found = async |id: &str| {
        world.value(&format!("SELECT coalesce(sms_receive('smpp', '{id}', 'delivered')::text, 'none')")).await
    };
    assert_eq!(found("12345678").await, "12");
    assert_eq!(found("0012345678").await, "11");
    assert_eq!(found("233495534").await, "13");
    assert_eq!(found("10").await, "none");
    assert_eq!(found("0016").await, "14");
}

#[tokio::test]
async fn stop_that_a_customer_sends_back_ends_his_messages() {
    let (world, url) = world("").await;
    let daemon = world.daemon().await;
    listening(&daemon).await;
    let reply = |text: &str| {
        format!(r#"{{"replies":[{{"from":"21620000007","text":"{text}"}},{{"from":"nobody","text":"STOP"}}]}}"#)
    };
    assert_eq!(push(&url, reply("Arrêt svp")).await, 200);
    let id = world.enqueue("20 000 007", "Bonjour").await;
    world.status_becomes(id, "skipped").await;
    assert_eq!(push(&url, reply("START")).await, 200);
    let id = world.enqueue("20 000 007", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    assert_eq!(world.count("SELECT count(*) FROM sms_inbound").await, 2);
}

#[tokio::test]
async fn what_cannot_be_written_is_the_providers_to_repeat() {
    let (world, url) = world("").await;
    let daemon = world.daemon().await;
    listening(&daemon).await;
    let ids = sent(&world, 1).await;
    let theirs = ids.values().next().unwrap();
    world.batch("ALTER TABLE sms_receipt RENAME TO sms_receipt_away").await;
    assert_eq!(push(&url, receipt(theirs, "DELIVRD")).await, 503);
    world.batch("ALTER TABLE sms_receipt_away RENAME TO sms_receipt").await;
    assert_eq!(push(&url, receipt(theirs, "DELIVRD")).await, 200);
    assert_eq!(world.value("SELECT status FROM sms_message").await, "delivered");
}
