//! Every known provider from its description to the customer's handset: the real daemon, against a gateway that speaks the vendor's dialect and
//! was written from the vendor's documents by other hands. Texts go out once, receipts come twice, out of order, early and forged, replies are obeyed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use ecar_sms::gateway::{Gateway, Script};
use support::{World, until};

const TOKEN: &str = "b6Yw0Qm4Zs8Rk2Tn";
const KEY: &str = "k3y/of.the=vendor";
const SECRET: &str = "s1gnature-secret";

/// What differs between vendors: what stands in its section, and how what comes back comes.
struct Vendor {
    name: &'static str,
    section: &'static str,
    path: &'static str,
    /// Receipts are pushed; otherwise they are asked for, or there are none.
    receipts: Receipts,
    replies: bool,
    balance: bool,
}

#[derive(PartialEq)]
enum Receipts {
    Pushed,
    AskedFor,
    None,
}

const VENDORS: &[Vendor] = &[
    Vendor {
        name: "twilio",
        section: "account = 'AC00000000000000000000000000000000'",
        path: "",
        receipts: Receipts::Pushed,
        replies: true,
        balance: true,
    },
    Vendor {
        name: "vonage",
        section: "account = 'abcd1234'\nsignature_secret = 's1gnature-secret'",
        path: "",
        receipts: Receipts::Pushed,
        replies: true,
        balance: true,
    },
    Vendor { name: "infobip", section: "", path: "", receipts: Receipts::Pushed, replies: true, balance: true },
    Vendor {
        name: "orange",
        section: "account = 'client'",
        path: "",
        receipts: Receipts::Pushed,
        replies: true,
        balance: true,
    },
    Vendor {
        name: "capcom6",
        section: "account = 'user'\nsignature_secret = 's1gnature-secret'",
        path: "",
        receipts: Receipts::Pushed,
        replies: true,
        balance: false,
    },
    Vendor {
        name: "l2t",
        section: "",
        path: "/api/v1/sms",
        receipts: Receipts::AskedFor,
        replies: false,
        balance: true,
    },
    Vendor {
        name: "winsms",
        section: "",
        path: "/sms/sms/api",
        receipts: Receipts::None,
        replies: false,
        balance: true,
    },
];

async fn world(vendor: &Vendor, script: &str) -> (World, Gateway) {
    let mut world = World::new().await;
    let port = support::free_port();
    let name = vendor.name;
    let script = format!(
        "key = \"{KEY}\"\npush_url = \"http://127.0.0.1:{port}/receipts/main/{TOKEN}\"\n{}\n{script}",
        if ["vonage", "capcom6"].contains(&name) { format!("secret = \"{SECRET}\"") } else { String::new() }
    );
    let gateway = Gateway::start(([127, 0, 0, 1], 0).into(), Script::parse(&script).unwrap()).await.unwrap();
    let base = format!("http://{}/vendor/{name}{}", gateway.addr(), vendor.path);
    let token = if vendor.receipts == Receipts::Pushed { format!("push_token = \"{TOKEN}\"") } else { String::new() };
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    world.configure(&format!(
        "[receipts]\nlisten = \"127.0.0.1:{port}\"\n[sending]\npoll_interval = \"100ms\"\nretry_first = \"100ms\"\n[[provider]]\nname = \"main\"\n[provider.{name}]\nsender_id = \"ECAR\"\napi_key = \"{KEY}\"\nbase_url = \"{base}\"\n{token}\n{}\n",
        vendor.section
    ));
    (world, gateway)
}

/// Texts of each kind: plain, with characters that cost two septets, Arabic, and in three segments.
fn texts() -> [String; 4] {
    [
        "Votre Kia Rio vous attend. A&B=C+D?".to_owned(),
        "Total 12 € [TTC]".to_owned(),
        "سيارتكم جاهزة".to_owned(),
        "Bonjour, voici un texte long. ".repeat(12),
    ]
}

async fn ask(world: &World) {
    world.batch("UPDATE sms_awaited SET next_at = now() WHERE next_at > now() + interval '2 seconds'").await;
}

#[tokio::test]
async fn every_known_provider_carries_texts_of_every_kind_and_tells_what_became_of_them() {
    for vendor in VENDORS {
        let name = vendor.name;
        let (world, gateway) = world(vendor, "").await;
        let daemon = world.daemon().await;
        if vendor.receipts == Receipts::Pushed {
            until("receipts are taken", async || daemon.log().contains("receipts are taken")).await;
        }
        for text in texts() {
            let id = world.enqueue("20 000 001", &text).await;
            let status = if vendor.receipts == Receipts::None { "sent" } else { "delivered" };
            until("it has arrived", async || {
                ask(&world).await;
                world.value(&format!("SELECT status FROM sms_message WHERE id = {id}")).await == status
            })
            .await;
        }
        let received: Vec<String> = gateway.received().iter().map(|it| it.message.clone()).collect();
        assert_eq!(received, texts(), "{name}");
        assert!(gateway.received().iter().all(|it| it.phone == "+21620000001"), "{name}");
        assert_eq!(world.count("SELECT count(DISTINCT provider_message_id) FROM sms_message").await, 4, "{name}");
        if vendor.balance {
            until("the balance is known", async || world.ok(["provider", "list"]).await.contains("100")).await;
            let receipts = match vendor.receipts {
                Receipts::Pushed => "pushed",
                Receipts::AskedFor => "asked for",
                Receipts::None => "none",
            };
            assert!(world.ok(["provider", "list"]).await.contains(receipts), "{name}");
            let tried = world.ok(["provider", "test", "main"]).await;
            assert!(tried.contains("the balance is 100"), "{name}: {tried}");
        }
        // A trial is a message like any other: its receipt finds it.
        world.ok(["provider", "test", "main", "--to", "20 000 009"]).await;
        let trial = "SELECT status FROM sms_message WHERE recipient = '+21620000009'";
        until("the trial has arrived", async || {
            ask(&world).await;
            world.value(trial).await == if vendor.receipts == Receipts::None { "sent" } else { "delivered" }
        })
        .await;
        if vendor.replies {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let body = format!(r#"{{"provider":"{name}","from":"+21620000001","text":"STOP"}}"#);
            let answer = client.post(format!("http://{}/replies", gateway.addr())).body(body).send().await.unwrap();
            assert!(answer.status().is_success(), "{name}: {} {}", answer.status(), answer.text().await.unwrap());
            world.value_becomes("SELECT opted_out FROM sms_contact WHERE phone = '+21620000001'", "all").await;
            let id = world.enqueue("20 000 001", "Bonjour").await;
            world.status_becomes(id, "skipped").await;
        }
        let log = daemon.log();
        daemon.stop().await;
        for secret in [KEY, "k3y%2Fof.the%3Dvendor", SECRET, TOKEN] {
            assert!(!log.contains(secret), "{name} shows {secret}\n{log}");
            let stored = format!(
                "SELECT (SELECT count(*) FROM sms_attempt a WHERE a::text LIKE '%{secret}%') + (SELECT count(*) FROM sms_receipt r WHERE r::text LIKE '%{secret}%') + (SELECT count(*) FROM sms_event e WHERE e::text LIKE '%{secret}%')"
            );
            assert_eq!(world.count(&stored).await, 0, "{name}");
        }
    }
}

#[tokio::test]
async fn receipts_that_come_twice_in_disorder_early_and_forged_count_once_at_every_vendor_that_pushes() {
    const TEXTS: i64 = 60;
    for vendor in VENDORS.iter().filter(|vendor| vendor.receipts == Receipts::Pushed) {
        let name = vendor.name;
        let script = "[receipts]\ntwice = 0.2\ndisorder = 0.3\nearly = 0.2\nforged = 0.3\nundelivered = 0.2\n";
        let (world, gateway) = world(vendor, script).await;
        let daemon = world.daemon().await;
        until("receipts are taken", async || daemon.log().contains("receipts are taken")).await;
        world
            .batch(&format!("INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', (21620000000 + i)::text, 'Bonjour ' || i FROM generate_series(1, {TEXTS}) i"))
            .await;
        world
            .value_becomes(
                "SELECT count(*) FROM sms_message WHERE status IN ('delivered', 'undelivered')",
                &TEXTS.to_string(),
            )
            .await;
        assert_eq!(gateway.count(), 60, "{name}");
        let undelivered = world.count("SELECT count(*) FROM sms_message WHERE status = 'undelivered'").await;
        assert!((1..=30).contains(&undelivered), "{name}: {undelivered}");
        assert_eq!(world.count("SELECT count(*) FROM (SELECT message_id FROM sms_receipt WHERE said <> 'pending' AND message_id IS NOT NULL GROUP BY message_id HAVING count(DISTINCT said) > 1) AS both_ways").await, 0, "{name}: a forged one was believed");
        drop(daemon);
    }
}

#[tokio::test]
async fn a_vendors_refusals_lead_to_what_its_page_says() {
    for (name, code, status, reason) in [
        ("twilio", "21610", "failed", "rejected"),
        ("vonage", "9", "queued", "no_credit"),
        ("infobip", "12", "queued", "no_credit"),
        ("orange", "\"POL0001\"", "queued", "misconfigured"),
        ("l2t", "441", "failed", "rejected"),
        ("winsms", "102", "queued", "misconfigured"),
    ] {
        let vendor = VENDORS.iter().find(|vendor| vendor.name == name).unwrap();
        let (world, gateway) = world(vendor, &format!("[[rule]]\ntimes = 1\ncode = {code}\n")).await;
        let daemon = world.daemon().await;
        let id = world.enqueue("20 000 001", "Bonjour").await;
        world.value_becomes(&format!("SELECT coalesce((SELECT outcome FROM sms_attempt WHERE message_id = {id} LIMIT 1), (SELECT reason FROM sms_message WHERE id = {id} AND status = 'failed'))"), reason).await;
        if status == "failed" {
            world.status_becomes(id, "failed").await;
            assert_eq!(gateway.count(), 1, "{name}");
        }
        drop(daemon);
    }
}
