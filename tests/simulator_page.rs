//! What docs/SIMULATOR.md tells a newcomer to paste works as it stands there, and what it says is to be seen is seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use ecar_sms::gateway::{Gateway, Script};
use support::{Daemon, World, until};

/// What no command and no log may show.
const SECRETS: [&str; 5] =
    ["test-key", "testpass", "test-signature-secret", "test-signing-key", "5f0c2b7e9a1d43868be1c7a24d90f3b6"];

/// The part of the page for all vendors.
fn part() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SIMULATOR.md")).unwrap();
    let begin = page.find("## Any of them, from nothing").unwrap();
    let end = begin + page[begin..].find("## Twilio, with receipts and replies").unwrap();
    page[begin..end].to_owned()
}

fn blocks(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A block of the page at work: its addresses are these instead of the page's.
struct Trial {
    world: World,
    gateway: Gateway,
    daemon: Daemon,
    name: String,
    vendor: String,
    script: String,
}

async fn trial(block: &str, script: &str) -> Trial {
    let push = free_port();
    let script = script.replace("127.0.0.1:8026", &format!("127.0.0.1:{push}"));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let gateway = Gateway::start(any, Script::parse(&script).unwrap()).await.unwrap();
    let smpp = gateway.listen_smpp(any).await.unwrap();
    let mut world = World::new().await;
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    let quick = "[sending]\npoll_interval = \"100ms\"\nretry_first = \"100ms\"\n";
    let config = block
        .replace("127.0.0.1:8025", &gateway.addr().to_string())
        .replace("127.0.0.1:8026", &format!("127.0.0.1:{push}"))
        .replace("port = 2775", &format!("port = {}", smpp.port()));
    world.configure(&(config + quick));
    let word = |before: &str, after: &str| block.split(before).nth(1).unwrap().split(after).next().unwrap().to_owned();
    let (name, vendor) = (word("name = \"", "\""), word("[provider.", "]"));
    let daemon = world.daemon().await;
    if block.contains("[receipts]") {
        until("receipts are taken", async || daemon.log().contains("receipts are taken")).await;
    }
    Trial { world, gateway, daemon, name, vendor, script }
}

fn check(trial: &Trial, shown: &str) {
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{}: {secret} in\n{shown}", trial.vendor);
    }
}

#[tokio::test]
async fn every_block_of_the_page_carries_a_text_and_shows_what_the_page_says() {
    let page = part();
    let (script, configurations) = blocks(&page).split_first().map(|(one, rest)| (*one, rest.to_vec())).unwrap();
    assert_eq!(configurations.len(), 7, "every vendor but the one that has a part of its own");
    for block in configurations {
        let it = trial(block, script).await;
        let Trial { world, name, vendor, .. } = &it;
        if vendor == "smpp" {
            until("the link stands", async || world.run(["provider", "test", name]).await.status.success()).await;
        }
        let tried = world.ok(["provider", "test", name]).await;
        let asks = ["the credentials are taken", "only tried by sending"][usize::from(vendor == "capcom6")];
        assert!(tried.contains(asks), "{vendor}: {tried}");
        check(&it, &tried);
        check(&it, &world.ok(["provider", "test", name, "--to", "+21620000001"]).await);
        let id = world.enqueue("+21620000001", "Votre voiture est prête.").await;
        let end = if vendor == "winsms" { "sent" } else { "delivered" };
        until("both have arrived", async || {
            world.batch("UPDATE sms_awaited SET next_at = now() WHERE next_at > now() + interval '2 seconds'").await;
            world.count(&format!("SELECT count(*) FROM sms_message WHERE status = '{end}'")).await == 2
        })
        .await;
        assert_eq!(world.value(&format!("SELECT provider FROM sms_message WHERE id = {id}")).await, *name);
        let row =
            page.lines().find(|line| line.starts_with('|') && line.to_lowercase().contains(&shown(vendor))).unwrap();
        let replies = row.split('|').nth(3).unwrap().trim() == "yes";
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let body = format!(r#"{{"provider":"{vendor}","from":"+21620000001","text":"STOP"}}"#);
        let answer = client.post(format!("http://{}/replies", it.gateway.addr())).body(body).send().await.unwrap();
        assert_eq!(answer.status().is_success(), replies, "{vendor}: {}", answer.status());
        if replies {
            until("the customer has opted out", async || world.ok(["optout", "list"]).await.contains("replied STOP"))
                .await;
        }
        for command in [vec!["provider", "list"], vec!["status"], vec!["doctor"], vec!["list"], vec!["show", "1"]] {
            let output = world.run(&command).await;
            assert!(output.status.success(), "{vendor}: {}", support::shown(&output));
            check(&it, &support::shown(&output));
        }
        check(&it, &it.daemon.log());
    }
}

/// How the page calls it.
fn shown(vendor: &str) -> String {
    vendor.to_lowercase()
}

#[tokio::test]
async fn an_empty_account_keeps_messages_waiting_and_every_command_says_so() {
    let page = part();
    let (script, configurations) = blocks(&page).split_first().map(|(one, rest)| (*one, rest.to_vec())).unwrap();
    let orange = page.lines().find(|line| line.starts_with("| Orange | `[[rule]]`")).unwrap();
    let body = orange.split("`body = ").nth(1).unwrap().split('`').next().unwrap();
    assert!(page.contains("`code = 20005`, `9`, `12`, `402`, `105`"), "the codes of the page");
    for (vendor, rule) in [
        ("vonage", "code = 9".to_owned()),
        ("infobip", "code = 12".to_owned()),
        ("l2t", "code = 402".to_owned()),
        ("winsms", "code = 105".to_owned()),
        ("orange", format!("status = 403\nbody = {body}")),
    ] {
        let block = configurations.iter().find(|block| block.contains(&format!("[provider.{vendor}]"))).unwrap();
        let balance = format!("[vendor.{vendor}]");
        let told = format!("{balance}\nbalance = 0");
        let script =
            if script.contains(&balance) { script.replace(&balance, &told) } else { format!("{script}\n{told}\n") };
        let it = trial(block, &script).await;
        it.gateway.set_script(Script::parse(&format!("{}\n[[rule]]\n{rule}\n", it.script)).unwrap());
        let id = it.world.enqueue("+21620000001", "Bonjour").await;
        let outcome = format!("SELECT outcome FROM sms_attempt WHERE message_id = {id} ORDER BY attempt LIMIT 1");
        it.world.value_becomes(&outcome, "no_credit").await;
        let tried = it.world.run(["provider", "test", &it.name]).await;
        let said = support::shown(&tried);
        assert!(!tried.status.success() && said.contains("the account is empty"), "{vendor}: {said}");
        for (command, words) in [("status", "no_credit"), ("doctor", "fill the account")] {
            let output = it.world.run([command]).await;
            let said = support::shown(&output);
            assert!(!output.status.success() && said.contains(words), "{vendor}: {said}");
            check(&it, &said);
        }
        assert!(it.world.ok(["provider", "list"]).await.lines().all(|line| line.chars().count() < 200), "{vendor}");
        it.gateway.set_script(Script::parse(&it.script).unwrap());
        it.world
            .value_becomes(&format!("SELECT status IN ('sent', 'delivered') FROM sms_message WHERE id = {id}"), "t")
            .await;
    }
}
