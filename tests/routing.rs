//! Who carries a message: by conditions, weight, cost, quota and health, and what happens when one fails. Two real gateways, the real daemon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use ecar_sms::gateway::{Gateway, Script};
use support::{API_KEY, Daemon, World, until};

const QUICK: &str = "[sending]\npoll_interval = \"100ms\"\nretry_first = \"100ms\"\nretry_longest = \"100ms\"\n";

/// A `[[provider]]` that asks this gateway, with further keys and tables.
fn provider(name: &str, gateway: &Gateway, more: &str) -> String {
    let url = gateway.url();
    format!(
        r#"[[provider]]
name = "{name}"
[provider.generic]
url = "{url}"
api_key = "{API_KEY}"
total_timeout = "30s"
fields = [
  {{ name = "api_key", value = "{{{{ api_key }}}}" }}, {{ name = "sender_id", value = "{{{{ sender_id }}}}" }},
  {{ name = "phone", value = "{{{{ phone }}}}" }}, {{ name = "message", value = "{{{{ message }}}}" }},
]
{more}
"#
    )
}

async fn gateway(script: &str) -> Gateway {
    Gateway::start(([127, 0, 0, 1], 0).into(), Script::parse(script).unwrap()).await.unwrap()
}

/// A world with this configuration and no provider of the environment.
async fn world(toml: &str) -> World {
    let mut world = World::new().await;
    world.set("SMS_API_KEY", "");
    world.set("SMS_GATEWAY_URL", "");
    world.configure(&format!("{QUICK}{toml}"));
    world
}

async fn texts(world: &World, messages: usize) {
    world
        .batch(&format!(
            "INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 001', 'Bonjour ' || i FROM generate_series(1, {messages}) i"
        ))
        .await;
}

async fn by_provider(world: &World) -> String {
    let sums = "SELECT string_agg(provider || ' ' || n, ', ' ORDER BY provider) FROM (SELECT provider, count(*) AS n FROM sms_history WHERE status = 'sent' GROUP BY 1) sums";
    world.value(sums).await
}

/// A second daemon on the same database.
fn another(world: &World) -> Daemon {
    let state = world.directory().join("other");
    std::fs::create_dir(&state).unwrap();
    let mut command = world.command(["-v", "run"]);
    command.env("ECAR_SMS_SOCKET", world.directory().join("other.sock")).env("STATE_DIRECTORY", state);
    world.spawn(command)
}

#[tokio::test]
async fn two_providers_at_80_and_20_carry_four_fifths_and_one() {
    let (one, other) = (gateway("").await, gateway("").await);
    let toml = provider("one", &one, "[provider.route]\nweight = 80")
        + &provider("other", &other, "[provider.route]\nweight = 20")
        + &provider("third", &other, "");
    let world = world(&toml).await;
    let _daemon = world.daemon().await;
    texts(&world, 2_000).await;
    world.value_becomes("SELECT count(*) FROM sms_history", "2000").await;
    assert!((1_560..=1_640).contains(&one.count()), "{}", one.count());
    assert_eq!(one.count() + other.count(), 2_000);
    assert!(!by_provider(&world).await.contains("third"));
}

#[tokio::test]
async fn a_message_goes_to_the_first_provider_whose_conditions_it_meets() {
    let (orange, abroad, campaigns) = (gateway("").await, gateway("").await, gateway("").await);
    let toml = provider("campaigns", &campaigns, "[provider.route]\ncategories = [\"marketing\"]")
        + &provider("orange", &orange, "[provider.route]\nprefixes = [\"+216200001\"]\nlanguages = [\"fr\"]")
        + &provider("arabic", &abroad, "[provider.route]\nlanguages = [\"ar\"]")
        + &provider("rest", &abroad, "[provider.route]\nprefixes = [\"+2162000\"]\nlanguages = [\"fr\", \"en\"]");
    let world = world(&toml).await;
    world.batch("SELECT sms_set(c || s, '00:00-24:00') FROM unnest(ARRAY['marketing']) c, unnest(ARRAY['.hours', '.ramadan_hours']) s; SELECT sms_set('marketing.days', 'mon-sun'), sms_set('holidays', '')").await;
    world.batch("SELECT sms_consent_give('20 000 900', 'formulaire', 'oui')").await;
    let _daemon = world.daemon().await;
    let went = async |sql: &str, status: &str| {
        let id = world.count(&format!("INSERT INTO sms_outbox {sql} RETURNING id")).await;
        world.status_becomes(id, status).await;
        world.value(&format!("SELECT coalesce(provider, reason) FROM sms_message WHERE id = {id}")).await
    };
    assert_eq!(went("(kind, recipient, body) VALUES ('custom', '20 000 100', 'a')", "sent").await, "orange");
    assert_eq!(went("(kind, recipient, body) VALUES ('custom', '20 000 200', 'b')", "sent").await, "rest");
    assert_eq!(
        went("(kind, recipient, body, lang) VALUES ('custom', '20 000 101', 'c', 'ar')", "sent").await,
        "arabic"
    );
    assert_eq!(went("(kind, recipient, body, lang) VALUES ('custom', '20 000 102', 'd', 'en')", "sent").await, "rest");
    assert_eq!(went("(kind, recipient, body) VALUES ('campaign', '20 000 900', 'e')", "sent").await, "campaigns");
    assert_eq!(
        went("(kind, recipient, body, lang) VALUES ('custom', '20 000 103', 'f', 'it')", "held").await,
        "no_provider"
    );
    assert_eq!((orange.count(), abroad.count(), campaigns.count()), (1, 3, 1));
}

#[tokio::test]
async fn by_cost_the_cheapest_carries_what_it_can() {
    let (dear, cheap) = (gateway("").await, gateway("").await);
    let toml = "[routing]\nby = \"cost\"\n".to_owned()
        + &provider("dear", &dear, "[provider.route]\nprice = 0.040")
        + &provider("cheap", &cheap, "[provider.route]\nprice = 0.025\nlanguages = [\"fr\"]");
    let world = world(&toml).await;
    let _daemon = world.daemon().await;
    texts(&world, 20).await;
    world
        .batch("INSERT INTO sms_outbox (kind, recipient, body, lang) VALUES ('custom', '20 000 001', 'hello', 'en')")
        .await;
    world.settled().await;
    assert_eq!(by_provider(&world).await, "cheap 20, dear 1");
}

#[tokio::test]
async fn a_provider_that_hangs_loses_its_traffic_and_gets_it_back_and_what_it_may_have_sent_stays_its_own() {
    let (main, spare) = (gateway("[[rule]]\nfault = 'silence'\ntimes = 2\n").await, gateway("").await);
    let toml = provider("main", &main, "concurrency = 2") + &provider("spare", &spare, "");
    let world = world(&toml.replace("30s", "10s")).await;
    world.batch("SELECT sms_set('unknown_wait', '1h')").await;
    let daemon = world.daemon().await;
    texts(&world, 20).await;
    until("the rest goes to the spare one", async || spare.count() == 18).await;
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'sent'", "18").await;
    // While the first two were still being waited for.
    assert!(!daemon.log().contains("provider.name=\"main\""), "{}", daemon.log());
    world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'unknown'", "2").await;
    until("it is said of whom", async || daemon.log().contains("provider.name=\"main\"")).await;
    assert_eq!((main.count(), spare.count()), (2, 18));
    // It answers again: it is the first one again.
    until("the traffic is back", async || {
        texts(&world, 1).await;
        world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state <> 'unknown'", "0").await;
        main.count() > 2
    })
    .await;
    assert_eq!(world.count("SELECT count(*) FROM sms_message WHERE status = 'unknown'").await, 2);
}

#[tokio::test]
async fn refused_credentials_an_empty_account_and_errors_move_the_traffic_and_say_why() {
    for (script, word) in [
        ("[[rule]]\nstatus = 401\n", "misconfigured"),
        ("[[rule]]\nstatus = 402\n", "no_credit"),
        ("[[rule]]\nstatus = 500\ntimes = 5\n", "unknown"),
    ] {
        let (main, spare) = (gateway(script).await, gateway("").await);
        let toml = provider("main", &main, "concurrency = 1\n[provider.route]\nweight = 50")
            + &provider("spare", &spare, "[provider.route]\nweight = 50");
        let world = world(&toml).await;
        world.batch("SELECT sms_set('unknown_wait', '1h')").await;
        let _daemon = world.daemon().await;
        texts(&world, 60).await;
        let doubtful = if word == "unknown" { 5 } else { 0 };
        world
            .value_becomes("SELECT count(*) FROM sms_history WHERE status = 'sent'", &(60 - doubtful).to_string())
            .await;
        world.value_becomes("SELECT count(*) FROM sms_message WHERE status = 'unknown'", &doubtful.to_string()).await;
        let mut texts: Vec<String> = main
            .received()
            .iter()
            .chain(&spare.received())
            .filter(|it| it.accepted || word == "unknown")
            .map(|it| it.message.clone())
            .collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 60, "{word}");
        assert!(spare.count() >= 55, "{word}: {}", spare.count());
        let status = world.ok(["status"]).await;
        assert!(status.contains(word), "{status}");
        main.set_script(Script::default());
        // It is tried again, and carries its part.
        world.batch("INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 002', 'Encore ' || i FROM generate_series(1, 5) i").await;
        let before = main.count();
        until("the first provider carries messages again", async || {
            world.enqueue("20 000 003", "Bonjour").await;
            world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state IN ('queued', 'sending')", "0").await;
            main.count() > before + 1
        })
        .await;
    }
}

#[tokio::test]
async fn messages_of_a_provider_that_is_full_do_not_hold_up_those_of_another() {
    let (slow, spare) = (gateway("").await, gateway("").await);
    let toml = provider("slow", &slow, "rate = 10.0\nconcurrency = 2\n[provider.route]\nprefixes = [\"+216200000\"]")
        + &provider("spare", &spare, "[provider.route]\nprefixes = [\"+216200009\"]");
    let world = world(&toml).await;
    let _daemon = world.daemon().await;
    texts(&world, 1_000).await;
    until("the slow one is at work", async || slow.count() >= 10).await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 900', 'Bonjour ' || i FROM generate_series(1, 50) i").await;
    until("the other messages are out", async || spare.count() == 50).await;
    assert!(slow.count() < 500, "{}", slow.count());
    // And what waits is not claimed over and over: some hundred looks a second, not some ten thousand.
    let looks = async || world.count("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sms_outbox'").await;
    let (before, sent) = (looks().await, slow.count());
    until("it goes on", async || slow.count() >= sent + 20).await;
    world.batch("SELECT pg_stat_force_next_flush()").await;
    let made = looks().await - before;
    assert!(made < 6_000, "{made} row versions for 20 messages");
}

#[tokio::test]
async fn a_quota_of_the_day_holds_to_the_message_for_two_daemons_together() {
    // Some are refused for the moment: what was not sent does not count.
    let (main, spare) = (gateway("[[rule]]\nfrom = 10\ntimes = 15\nstatus = 429\n").await, gateway("").await);
    let toml = provider("main", &main, "[provider.route]\ndaily_quota = 200")
        + &provider("spare", &spare, "[provider.route]\nprefixes = [\"+216\"]");
    let world = world(&toml).await;
    let one = world.daemon().await;
    let two = another(&world);
    until("both work", async || {
        two.log().contains("daemons=2") && two.log().contains("listening") && one.log().contains("daemons=2")
    })
    .await;
    texts(&world, 400).await;
    world.value_becomes("SELECT count(*) FROM sms_history WHERE status = 'sent'", "400").await;
    // While the first was throttled the spare one carried; the rest of the quota is there to be used.
    until("the first takes messages again", async || {
        world.enqueue("20 000 002", "Bonjour").await;
        world.settled().await;
        main.received().iter().filter(|it| it.accepted).count() >= 200
    })
    .await;
    texts(&world, 50).await;
    world.settled().await;
    assert_eq!(main.received().iter().filter(|it| it.accepted).count(), 200);
    assert_eq!(world.value("SELECT used FROM sms_quota WHERE provider = 'main'").await, "200");
    // Without another one they wait, and say why.
    drop((one, two));
}

#[tokio::test]
async fn a_rate_holds_for_two_daemons_together() {
    let main = gateway("").await;
    let world = world(&provider("main", &main, "rate = 20.0\n[provider.route]\nweight = 1")).await;
    let one = world.daemon().await;
    let two = another(&world);
    until("both work", async || {
        two.log().contains("daemons=2") && two.log().contains("listening") && one.log().contains("daemons=2")
    })
    .await;
    texts(&world, 100).await;
    until("all are out", async || main.count() == 100).await;
    let received = main.received();
    let took_us = received.last().unwrap().at_us() - received.first().unwrap().at_us();
    // 99 gaps of 50 ms for both together; never faster, a slow machine may be slower.
    assert!(took_us >= 4_700_000, "100 messages in {took_us} us");
    let by_owner = "SELECT count(DISTINCT lease_owner) FROM sms_history";
    world.value_becomes(by_owner, "2").await;
}

#[tokio::test]
async fn when_every_quota_is_used_up_messages_wait_and_say_why() {
    let main = gateway("").await;
    let world = world(&provider("main", &main, "[provider.route]\ndaily_quota = 3")).await;
    let _daemon = world.daemon().await;
    texts(&world, 5).await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE reason = 'no_provider' AND state = 'queued' AND next_at > now() + interval '1 minute'", "2").await;
    world.value_becomes("SELECT count(*) FROM sms_history", "3").await;
    assert_eq!(main.count(), 3);
    let id = world.value("SELECT min(id) FROM sms_outbox").await;
    let shown = world.ok(["show", &id]).await;
    assert!(shown.contains("quota of the day"), "{shown}");
    // On the next day.
    world.batch("UPDATE sms_quota SET day = day - 1; UPDATE sms_outbox SET next_at = now()").await;
    world.settled().await;
    assert_eq!(main.count(), 5);
}

#[tokio::test]
async fn a_provider_whose_messages_do_not_arrive_loses_weight_and_gets_it_back() {
    let (slow, good) = (gateway("").await, gateway("").await);
    let pushed = "push_token = \"b6Yw0Qm4Zs8Rk2Tn\"\nreceipts = { id = \"$.id\", status = \"$.status\", delivered = [\"delivered\"], undelivered = [] }";
    let route = "[provider.route]\nweight = 50\nslow_after = \"3s\"";
    let toml = provider("slow", &slow, &format!("{pushed}\n{route}"))
        + &provider("good", &good, &format!("{pushed}\n{route}"));
    let world = world(&toml).await;
    let _daemon = world.daemon().await;
    texts(&world, 100).await;
    world.value_becomes("SELECT count(*) FROM sms_history", "100").await;
    assert_eq!((slow.count(), good.count()), (50, 50));
    // One tells at once, the other not at all.
    world
        .batch("SELECT sms_receive('good', provider_message_id, 'delivered') FROM sms_history WHERE provider = 'good'")
        .await;
    until("its weight has fallen", async || {
        let before = (slow.count(), good.count());
        texts(&world, 40).await;
        world.settled().await;
        world
            .batch(
                "SELECT sms_receive('good', provider_message_id, 'delivered') FROM sms_awaited WHERE provider = 'good'",
            )
            .await;
        slow.count() - before.0 <= 4 && good.count() - before.1 >= 36
    })
    .await;
    // As if the last ten minutes had passed.
    world.batch("UPDATE sms_awaited SET sent_at = sent_at - interval '11 minutes'; UPDATE sms_receipt SET received_at = received_at - interval '11 minutes'").await;
    until("it has recovered", async || {
        let before = (slow.count(), good.count());
        texts(&world, 10).await;
        world.settled().await;
        world.batch("DELETE FROM sms_awaited").await;
        slow.count() - before.0 >= 4 && good.count() - before.1 >= 4
    })
    .await;
}

#[tokio::test]
async fn provider_list_and_test_say_how_a_provider_is_without_and_with_a_message() {
    let balance = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(120));
    let told = std::sync::Arc::clone(&balance);
    let answer = async move |headers: axum::http::HeaderMap| {
        let known = headers.get("authorization").is_some_and(|value| value == format!("Bearer {API_KEY}").as_str());
        let left = told.load(std::sync::atomic::Ordering::Relaxed);
        if known {
            (axum::http::StatusCode::OK, format!(r#"{{"left":"{left}"}}"#))
        } else {
            (axum::http::StatusCode::UNAUTHORIZED, API_KEY.to_owned())
        }
    };
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let router = axum::Router::new().route("/balance", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(server, router).await });
    let main = gateway("").await;
    let with_balance = |auth: &str| {
        provider(
            "main",
            &main,
            &format!(
                "auth = {{ type = \"{auth}\" }}\nbalance = {{ url = \"http://{address}/balance\", value = {{ json = \"$.left\" }}, unit = \"SMS\", low = 100.0, every = \"1min\" }}\n[provider.route]\nweight = 7\nprefixes = [\"+216\"]"
            ),
        )
    };
    let mut world = world(&(with_balance("bearer") + &provider("plain", &main, ""))).await;
    let daemon = world.daemon().await;
    let listed = async |world: &World| world.ok(["provider", "list"]).await;
    until("the balance is known", async || listed(&world).await.contains("120 SMS")).await;
    let shown = listed(&world).await;
    assert!(
        shown.contains("weight 7, +216") && shown.contains("all messages") && shown.contains("not known"),
        "{shown}"
    );
    let tried = world.ok(["provider", "test", "main"]).await;
    assert!(tried.contains("the credentials are taken; the balance is 120 SMS") && tried.ends_with("ok\n"), "{tried}");
    assert_eq!(main.count(), 0);
    let examined = support::shown(&world.run(["doctor"]).await);
    assert!(examined.contains("main: 120 SMS left"), "{examined}");
    world.batch("SELECT sms_optout('20 000 006', 'all', 'au comptoir')").await;
    let refused = support::shown(&world.run(["provider", "test", "plain", "--to", "20 000 006"]).await);
    assert!(refused.contains("+21620000006 has opted out of all messages") && main.count() == 0, "{refused}");
    let sent = world.ok(["provider", "test", "plain", "--to", "20 000 005"]).await;
    assert!(sent.contains("accepted") && main.count() == 1, "{sent}");
    assert_eq!(
        world.value("SELECT recipient || ' ' || status || ' ' || provider FROM sms_message").await,
        "+21620000005 sent plain"
    );
    for (arguments, words) in [
        (vec!["provider", "test", "nobody"], "no such provider"),
        (vec!["provider", "test", "plain", "--to", "85300"], "short number"),
    ] {
        let output = world.run(&arguments).await;
        assert!(!output.status.success() && support::shown(&output).contains(words), "{}", support::shown(&output));
    }
    // A key that is refused, and an account that is empty.
    world.configure(&format!("{QUICK}{}{}", with_balance("none"), provider("plain", &main, "")));
    world.ok(["reload"]).await;
    let output = world.run(["provider", "test", "main"]).await;
    let said = support::shown(&output);
    assert!(!output.status.success() && said.contains("401") && !said.contains(API_KEY), "{said}");
    let examined = support::shown(&world.run(["doctor"]).await);
    assert!(examined.contains("the balance cannot be read") && !examined.contains(API_KEY), "{examined}");
    balance.store(0, std::sync::atomic::Ordering::Relaxed);
    world.configure(&format!("{QUICK}{}{}", with_balance("bearer"), provider("plain", &main, "")));
    world.ok(["reload"]).await;
    until("the account is seen to be empty", async || listed(&world).await.contains("no_credit")).await;
    let id = world.enqueue("20 000 001", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    assert_eq!(world.value(&format!("SELECT provider FROM sms_message WHERE id = {id}")).await, "plain");
    let output = world.run(["status"]).await;
    assert!(support::shown(&output).contains("credit of provider main is low"), "{}", support::shown(&output));
    assert!(!daemon.log().contains(API_KEY));
}
