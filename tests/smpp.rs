//! A message centre that speaks SMPP: everything arrives once, in whatever way long texts travel, and receipts come home;
//! what may have been sent is never sent again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use ecar_sms::gateway::Script;
use serde_json::Value;
use support::{World, until};
use tokio::process::{Child, Command};

/// The password of every centre here, which must appear nowhere.
const PASSWORD: &str = "pa55-x7q";

/// A garage whose only provider is a message centre, with this script and these lines of configuration.
async fn centre(script: &str, more: &str) -> (World, SocketAddr) {
    let script = format!("api_key = \"{PASSWORD}\"\n{script}");
    let mut world = World::with_script(&script).await;
    let address = world.gateway.listen_smpp(([127, 0, 0, 1], 0).into()).await.unwrap();
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    world.configure(&configuration(address, PASSWORD, more));
    (world, address)
}

fn configuration(address: SocketAddr, password: &str, more: &str) -> String {
    format!(
        "[[provider]]\nname = \"centre\"\n[provider.smpp]\nhost = \"127.0.0.1\"\nport = {}\nsystem_id = \"ecar\"\n\
         password = \"{password}\"\nsender_id = \"ECAR\"\n{more}\n",
        address.port()
    )
}

async fn enqueue_many(world: &World, messages: u32, text: &str) {
    world
        .batch(&format!(
            "INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', (21620000000 + i % 1000)::text, '{text} ' || i FROM generate_series(1, {messages}) i"
        ))
        .await;
}

/// Place, number of parts, text.
type Part = (u8, u8, String);

/// The texts as handsets show them, the parts of long ones joined; panics when a part came twice or is missing.
fn texts(world: &World) -> BTreeMap<String, usize> {
    let mut whole: BTreeMap<String, usize> = BTreeMap::new();
    let mut parts: BTreeMap<(String, String), Vec<Part>> = BTreeMap::new();
    for message in world.gateway.received().iter().filter(|message| message.taken) {
        match message.path.strip_prefix("/smpp?ref=") {
            None => *whole.entry(message.message.clone()).or_default() += 1,
            Some(query) => {
                let numbers: Vec<&str> = query.split(['&', '=']).collect();
                let part = (numbers[2].parse().unwrap(), numbers[4].parse().unwrap(), message.message.clone());
                parts.entry((message.phone.clone(), numbers[0].to_owned())).or_default().push(part);
            }
        }
    }
    for ((phone, reference), mut ones) in parts {
        ones.sort();
        let places: Vec<u8> = ones.iter().map(|(place, ..)| *place).collect();
        let expected: Vec<u8> = (1..=ones[0].1).collect();
        assert_eq!(places, expected, "parts of {reference} for {phone}");
        *whole.entry(ones.into_iter().map(|(.., text)| text).collect()).or_default() += 1;
    }
    whole
}

fn each_once(world: &World, messages: usize) {
    let texts = texts(world);
    let twice: Vec<_> = texts.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "sent more than once: {twice:?}");
    assert_eq!(texts.len(), messages, "messages lost");
}

#[tokio::test]
async fn a_thousand_messages_arrive_once_within_the_window_and_every_receipt_comes_home() {
    let script = "latency = \"2ms\"\n[smpp]\nsystem_id = \"ecar\"\nsubmit_ids = \"decimal\"\nreceipt_ids = \"hex\"\nreceipts = \"20ms\"";
    let (world, _) = centre(script, "window = 10").await;
    enqueue_many(&world, 1_000, "Bonjour").await;
    let daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_history WHERE status = 'sent'", "1000").await;
    world.value_becomes("SELECT count(DISTINCT message_id) FROM sms_receipt WHERE status = 'delivered'", "1000").await;
    each_once(&world, 1_000);
    assert_eq!(world.count("SELECT count(*) FROM sms_receipt WHERE message_id IS NULL").await, 0);
    let (stats, smpp) = (world.gateway.stats(), world.gateway.smpp_stats());
    assert!((2..=10).contains(&stats.max_in_flight), "{stats:?}");
    assert_eq!((smpp.binds, smpp.bound), (1, 1), "{smpp:?}");
    let first = &world.gateway.received()[0];
    assert_eq!((first.sender_id.as_str(), &first.phone[..8]), ("ECAR", "+2162000"));
    let log = daemon.log();
    daemon.stop().await;
    assert!(!log.contains(PASSWORD), "the password is in the log");
    until("the centre sees the link end", async || world.gateway.smpp_stats().bound == 0).await;
    let smpp = world.gateway.smpp_stats();
    assert_eq!(smpp.unbinds, 1, "it unbinds when it stops: {smpp:?}");
}

#[tokio::test]
async fn long_texts_arrive_whole_in_every_way_and_are_delivered_when_all_parts_are() {
    let long = "L\u{2019}huile est chang\u{e9}e. ".repeat(12);
    let septets = "Votre voiture [Kia] attend 1€ ~ ".repeat(15);
    for way in ["udh8", "udh16", "sar", "payload"] {
        let script = "[smpp]\nsubmit_ids = \"hex\"\nreceipt_ids = \"decimal\"\nreceipts = \"10ms\"";
        let (world, _) = centre(script, &format!("long_text = \"{way}\"")).await;
        let daemon = world.daemon().await;
        let (one, other) = (world.enqueue("+21620000001", &long).await, world.enqueue("+21620000002", &septets).await);
        for id in [one, other] {
            world.status_becomes(id, "delivered").await;
        }
        let bodies = [&one, &other].map(|id| format!("SELECT body FROM sms_history WHERE id = {id}"));
        for body in bodies {
            let sent = world.value(&body).await;
            assert_eq!(texts(&world).get(&sent), Some(&1), "{way}: {sent}");
        }
        let parts = world.gateway.received().iter().filter(|message| message.path != "/smpp").count();
        assert_eq!(parts == 0, way == "payload", "{way}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_throttling_centre_is_obeyed_and_nothing_is_lost_or_sent_twice() {
    let script = "[[rule]]\nfrom = 20\ntimes = 30\nstatus = 429\n[[rule]]\nfrom = 60\ntimes = 5\nstatus = 507";
    let (world, _) = centre(script, "window = 5").await;
    enqueue_many(&world, 200, "Bonjour").await;
    let daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_history WHERE status = 'sent'", "200").await;
    each_once(&world, 200);
    assert!(world.count("SELECT count(*) FROM sms_attempt WHERE outcome = 'throttled'").await > 0);
    assert_eq!(world.count("SELECT count(*) FROM sms_attempt WHERE outcome NOT IN ('throttled', 'accepted')").await, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_under_way_when_the_link_was_cut_is_unknown_and_the_rest_goes_on() {
    let (world, _) =
        centre("latency = \"20ms\"\n[[rule]]\nfrom = 50\ntimes = 1\nfault = \"close_after_read\"", "window = 10").await;
    enqueue_many(&world, 200, "Bonjour").await;
    let daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state IN ('queued', 'sending')", "0").await;
    let unknown = world.count("SELECT count(*) FROM sms_message WHERE status = 'unknown'").await;
    let sent = world.count("SELECT count(*) FROM sms_history WHERE status = 'sent'").await;
    assert!((1..=10).contains(&unknown), "{unknown} unknown\n{}", world.state().await);
    assert_eq!(sent + unknown, 200);
    // None twice. What the centre had not read yet when it cut the link is missing, and in doubt.
    let arrived = texts(&world);
    assert!(arrived.values().all(|times| *times == 1), "sent more than once");
    assert!((sent..=200).contains(&(arrived.len() as i64)), "{} arrived", arrived.len());
    let recorded = world.sql.texts("SELECT body FROM sms_history WHERE status = 'sent'").await.unwrap();
    let lost: Vec<_> = recorded.iter().filter(|row| !arrived.contains_key(row[0].as_deref().unwrap())).collect();
    assert!(lost.is_empty(), "recorded as sent, and never arrived: {lost:?}");
    assert_eq!(world.gateway.smpp_stats().binds, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn what_never_left_is_sent_once_when_the_centre_is_back() {
    let (world, _) = centre("[smpp]\nbinds = 0", "response_timeout = \"2s\"").await;
    let id = world.enqueue("+21620000001", "Bonjour").await;
    let daemon = world.daemon().await;
    world
        .value_becomes(
            &format!("SELECT count(*) > 0 FROM sms_attempt WHERE message_id = {id} AND outcome = 'temporary_failure'"),
            "t",
        )
        .await;
    world.gateway.set_script(Script::parse(&format!("api_key = \"{PASSWORD}\"")).unwrap());
    world.status_becomes(id, "sent").await;
    assert_eq!(world.gateway.count(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_wrong_password_stops_the_provider_and_a_reload_with_the_right_one_lets_everything_go() {
    let (mut world, address) = centre("", "").await;
    world.configure(&configuration(address, "wrong", ""));
    let id = world.enqueue("+21620000001", "Bonjour").await;
    let daemon = world.daemon().await;
    world
        .value_becomes(&format!("SELECT outcome FROM sms_attempt WHERE message_id = {id} LIMIT 1"), "misconfigured")
        .await;
    world.configure(&configuration(address, PASSWORD, ""));
    daemon.signal("HUP");
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_the_link_of_a_centre_that_stays_and_changes_that_of_one_that_does_not() {
    let (mut world, address) = centre("[smpp]\nbinds = 1", "").await;
    let daemon = world.daemon().await;
    until("it is bound", async || world.gateway.smpp_stats().bound == 1).await;
    daemon.signal("HUP");
    until("it is reloaded", async || daemon.log().contains("configuration reloaded")).await;
    let id = world.enqueue("+21620000001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    let stats = world.gateway.smpp_stats();
    assert_eq!((stats.binds, stats.refused_binds, stats.unbinds), (1, 0, 0), "{stats:?}");
    world.configure(&configuration(address, PASSWORD, "window = 3"));
    daemon.signal("HUP");
    until("the old link has ended and the new one is bound", async || {
        let stats = world.gateway.smpp_stats();
        (stats.binds, stats.unbinds, stats.bound) == (2, 1, 1)
    })
    .await;
    let id = world.enqueue("+21620000001", "Au revoir").await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_reply_is_entered_and_what_cannot_be_written_is_repeated_until_it_is() {
    let (world, _) = centre("[smpp]\nreceipts = \"0s\"", "").await;
    let daemon = world.daemon().await;
    until("it is bound", async || world.gateway.smpp_stats().bound == 1).await;
    world.batch("ALTER TABLE sms_receipt RENAME TO sms_receipt_gone").await;
    let id = world.enqueue("+21620000001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    until("the receipt is refused for now", async || world.gateway.smpp_stats().repeated > 0).await;
    assert_eq!(world.gateway.smpp_stats().taken, 0);
    world.batch("ALTER TABLE sms_receipt_gone RENAME TO sms_receipt").await;
    world.value_becomes(&format!("SELECT status FROM sms_receipt WHERE message_id = {id}"), "delivered").await;
    until("it is taken", async || world.gateway.smpp_stats().taken == 1).await;
    world.gateway.reply_smpp("+21620000001", "STOP");
    until("the reply is taken", async || world.gateway.smpp_stats().taken == 2).await;
    assert!(world.ok(["optout", "list"]).await.contains("20000001"), "{}", world.state().await);
    daemon.stop().await;
}

#[tokio::test]
async fn a_trial_says_whether_the_link_stands_and_a_wrong_password_is_said_everywhere() {
    let (mut world, address) = centre("[smpp]\nreceipts = \"0s\"", "").await;
    let daemon = world.daemon().await;
    until("it is bound", async || world.gateway.smpp_stats().bound == 1).await;
    let tried = world.ok(["provider", "test", "centre"]).await;
    assert!(tried.contains("the link stands") && tried.ends_with("ok\n"), "{tried}");
    let wrong = "wr0ng-q8";
    world.configure(&configuration(address, wrong, ""));
    world.ok(["reload"]).await;
    until("it is refused", async || daemon.log().contains("the message centre refuses us")).await;
    let output = world.run(["provider", "test", "centre"]).await;
    let said = support::shown(&output);
    assert!(!output.status.success() && said.contains("there is no link: bind: ") && !said.contains(wrong), "{said}");
    for command in ["status", "doctor"] {
        let output = world.run([command]).await;
        let said = support::shown(&output);
        assert!(!output.status.success() && said.contains("centre: bind: ") && !said.contains(wrong), "{said}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_text_whose_second_part_is_not_answered_is_in_doubt() {
    let script = "[[rule]]\nfrom = 1\ntimes = 1\nfault = \"silence\"";
    let (world, _) = centre(script, "response_timeout = \"2s\"").await;
    let daemon = world.daemon().await;
    let id = world.enqueue("+21620000001", &"Votre voiture attend. ".repeat(15)).await;
    world.status_becomes(id, "unknown").await;
    let detail = world.value(&format!("SELECT detail FROM sms_attempt WHERE message_id = {id}")).await;
    assert!(detail.contains("part 2 of 3"), "{detail}");
    assert_eq!(world.gateway.count(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn a_second_part_that_is_throttled_follows_a_moment_later() {
    let (world, _) = centre("[[rule]]\nfrom = 1\ntimes = 1\nstatus = 429", "").await;
    let daemon = world.daemon().await;
    let id = world.enqueue("+21620000001", &"Votre voiture attend. ".repeat(15)).await;
    world.status_becomes(id, "sent").await;
    each_once(&world, 1);
    assert_eq!(
        world
            .value(&format!(
                "SELECT array_length(string_to_array(provider_message_id, ' '), 1) FROM sms_history WHERE id = {id}"
            ))
            .await,
        "3"
    );
    daemon.stop().await;
}

/// The message centre of scripts/smpp-centre.js, which shares nothing with ours.
struct Foreign {
    control: u16,
    _child: Child,
}

impl Foreign {
    /// A garage whose only provider is such a centre.
    async fn start(options: &str, more: &str) -> (World, Foreign) {
        let (port, control) = (support::free_port(), support::free_port());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new("node")
            .arg(root.join("scripts/smpp-centre.js"))
            .args([port.to_string(), control.to_string(), options.to_owned()])
            .env("NODE_PATH", root.join("target/smpp-centre/node_modules"))
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed; see docs/providers/smpp.md");
        let foreign = Foreign { control, _child: child };
        until("the centre answers", async || foreign.try_ask().await.is_some()).await;
        let mut world = World::new().await;
        world.set("SMS_API_KEY", "");
        world.set("SMS_GATEWAY_URL", "");
        world.configure(&configuration(([127, 0, 0, 1], port).into(), PASSWORD, more));
        (world, foreign)
    }

    async fn try_ask(&self) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/", self.control);
        let output = Command::new("curl").args(["-sS", "--max-time", "30", &url]).output().await.unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// What it recorded.
    async fn ask(&self) -> Value {
        self.try_ask().await.expect("the centre answers")
    }

    /// The texts as handsets show them.
    async fn texts(&self) -> BTreeMap<String, usize> {
        let mut whole: BTreeMap<String, usize> = BTreeMap::new();
        let mut parts: BTreeMap<(String, u64), BTreeMap<u64, String>> = BTreeMap::new();
        for one in self.ask().await["taken"].as_array().unwrap() {
            let text = one["text"].as_str().unwrap().to_owned();
            match one["part"].as_array() {
                None => *whole.entry(text).or_default() += 1,
                Some(part) => {
                    let numbers: Vec<u64> = part.iter().map(|number| number.as_u64().unwrap()).collect();
                    let key = (one["to"].as_str().unwrap().to_owned(), numbers[0]);
                    let twice = parts.entry(key).or_default().insert(numbers[2], text);
                    assert!(twice.is_none(), "a part came twice: {one}");
                }
            }
        }
        for ones in parts.into_values() {
            *whole.entry(ones.into_values().collect()).or_default() += 1;
        }
        whole
    }

    async fn each_once(&self, messages: usize) {
        let texts = self.texts().await;
        assert!(texts.values().all(|times| *times == 1), "sent more than once");
        assert_eq!(texts.len(), messages, "messages lost");
    }
}

/// Waits for the receipts of all; ten thousand may take longer than one condition may.
async fn all_delivered(world: &World, messages: usize) {
    let sql = "SELECT count(*) FROM sms_message WHERE status = 'delivered'";
    let mut done = 0;
    while done < messages {
        let more = (done + 1_000).min(messages);
        let reached = format!("SELECT count(*) >= {more} FROM sms_message WHERE status = 'delivered'");
        world.value_becomes(&reached, "t").await;
        done = usize::try_from(world.count(sql).await).unwrap();
    }
    assert_eq!(done, messages);
}

#[tokio::test]
#[ignore = "needs node and a package of npm: make smpp"]
async fn a_foreign_centre_takes_ten_thousand_messages_once_and_its_receipts_come_home() {
    let (world, foreign) = Foreign::start(r#"{"submit":"dec","receipt":"hex"}"#, "window = 10").await;
    enqueue_many(&world, 10_000, "Bonjour").await;
    let daemon = world.daemon().await;
    all_delivered(&world, 10_000).await;
    foreign.each_once(10_000).await;
    let told = foreign.ask().await;
    assert!((2..=10).contains(&told["most"].as_u64().unwrap()), "{}", told["most"]);
    assert_eq!(told["taken"][0]["kind"], serde_json::json!([5, 0, 1, 1]));
    daemon.stop().await;
    let told = foreign.ask().await;
    assert_eq!((&told["binds"], &told["unbinds"]), (&Value::from(1), &Value::from(1)));
}

#[tokio::test]
#[ignore = "needs node and a package of npm: make smpp"]
async fn a_foreign_centre_that_throttles_is_obeyed_and_its_ids_are_matched_the_other_way_round() {
    let options = r#"{"submit":"hex","receipt":"dec","tlv":true,"throttle":100}"#;
    let (world, foreign) = Foreign::start(options, "").await;
    enqueue_many(&world, 1_000, "Bonjour").await;
    let daemon = world.daemon().await;
    all_delivered(&world, 1_000).await;
    foreign.each_once(1_000).await;
    let throttled = foreign.ask().await["throttled"].as_u64().unwrap();
    assert!((1..=500).contains(&throttled), "{throttled} throttled");
    daemon.stop().await;
}

#[tokio::test]
#[ignore = "needs node and a package of npm: make smpp"]
async fn a_foreign_centre_that_cuts_the_link_loses_nothing_and_gets_nothing_twice() {
    let (world, foreign) = Foreign::start(r#"{"cut":[300,700]}"#, "").await;
    enqueue_many(&world, 1_000, "Bonjour").await;
    let daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state IN ('queued', 'sending')", "0").await;
    let unknown = world.count("SELECT count(*) FROM sms_message WHERE status = 'unknown'").await;
    assert!((2..=20).contains(&unknown), "{unknown} in doubt");
    // Nothing twice; what is missing is in doubt, and nothing else.
    let texts = foreign.texts().await;
    assert!(texts.values().all(|times| *times == 1), "sent more than once");
    assert!(texts.len() as i64 >= 1_000 - unknown && texts.len() <= 1_000, "{} arrived", texts.len());
    assert_eq!(foreign.ask().await["cuts"], 2);
    daemon.stop().await;
}

#[tokio::test]
#[ignore = "needs node and a package of npm: make smpp"]
async fn a_foreign_centre_reads_long_texts_in_every_way() {
    // Its table of the alphabet is the library's own; it is asked for both encodings and both kinds of pairs.
    let gsm7 = "Votre voiture [Kia] attend 1\u{20AC} ~ ".repeat(15);
    let ucs2 = "L\u{2019}huile est chang\u{e9}e, \u{633}\u{64A}\u{627}\u{631}\u{629} \u{1F697}. ".repeat(8);
    for way in ["udh8", "udh16", "sar", "payload"] {
        let (world, foreign) = Foreign::start("{}", &format!("long_text = \"{way}\"")).await;
        let daemon = world.daemon().await;
        world.enqueue("+21620000001", &gsm7).await;
        world.enqueue("+21620000002", &ucs2).await;
        all_delivered(&world, 2).await;
        let texts = foreign.texts().await;
        assert_eq!(texts.len(), 2, "{way}: {texts:?}");
        for sent in [gsm7.trim_end(), ucs2.trim_end()] {
            assert!(texts.keys().any(|text| text.trim_end() == sent), "{way}: {sent}\n{texts:?}");
        }
        daemon.stop().await;
    }
}
