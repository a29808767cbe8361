//! What must not text anybody: a copy of the database, a restored dump, a flood of events; what the triggers missed; and the
//! commands with which staff and operators decide about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use serde_json::Value;
use support::{BARE, World, shown, until};

/// Services and invoices beyond these make a flood or a history.
const MANY: i64 = 20_000;

/// Waits until the daemon of a copy has come round often enough to have sent what it would send.
async fn looked_at_least(world: &World, looks: usize) {
    for _ in 0..looks {
        // In a copy each look begins with this question.
        world.daemon_asks("daemon/identity").await;
    }
}

async fn doctor(world: &World) -> Vec<Value> {
    let output = world.run(["doctor", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", shown(&output)))
}

fn has(findings: &[Value], level: &str, area: &str, found: &str, mend: &str) -> bool {
    findings.iter().any(|finding| {
        finding["level"] == level
            && finding["area"] == area
            && finding["found"].as_str().unwrap().contains(found)
            && finding["mend"].as_str().unwrap_or_default().contains(mend)
    })
}

/// Services of one car, completed or not, last written at this SQL time.
fn services(from: i64, to: i64, status: &str, updated_at: &str) -> String {
    format!(
        "INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
         SELECT i, 'Vidange', '', '{status}', now(), now(), {updated_at}, 1, false FROM generate_series({from}, {to}) i"
    )
}

/// What a copy must look like from all sides.
async fn is_seen_as_a_copy(world: &World, why: &str) {
    let (status, body) = world.curl(&[], "/healthz").await;
    assert_eq!(status, 503, "{body}");
    assert!(
        body.contains("this database is a copy") && body.contains(why) && body.contains("ecar-sms adopt"),
        "{body}"
    );
    let output = world.run(["status"]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("this database is a copy"), "{}", shown(&output));
    let findings = doctor(world).await;
    assert!(has(&findings, "error", "identity", why, "ecar-sms adopt"), "{findings:#?}");
    assert!(has(&findings, "error", "identity", "nothing is sent", "test_recipients"), "{findings:#?}");
}

#[tokio::test]
async fn a_dump_restored_into_another_database_texts_nobody_until_it_is_adopted_and_released() {
    let original = World::new().await;
    for number in 1..=3 {
        original.enqueue(&format!("20 000 00{number}"), "Bonjour").await;
    }
    let doubt = original.enqueue("20 000 004", "Bonjour").await;
    original.batch(&format!("UPDATE sms_outbox SET state = 'unknown', reason = 'unknown', attempt = 1, next_at = now() WHERE id = {doubt}")).await;
    let dump = original.directory().join("dump");
    original
        .postgres_program("pg_dump", &["--format=custom", "--file", dump.to_str().unwrap(), "--dbname", &original.url])
        .await;

    let copy = World::empty().await;
    copy.postgres_program("pg_restore", &["--dbname", &copy.url, dump.to_str().unwrap()]).await;
    let daemon = copy.daemon().await;
    is_seen_as_a_copy(&copy, "restored from a dump").await;
    // Installing again is no adoption.
    assert!(copy.ok(["install"]).await.contains("this database is a copy"));
    looked_at_least(&copy, 3).await;
    is_seen_as_a_copy(&copy, "it is named").await;
    assert_eq!(copy.gateway.count(), 0);
    assert_eq!(daemon.log().matches("this database is a copy: ").count(), 1, "said once:\n{}", daemon.log());

    let said = copy.ok(["adopt"]).await;
    assert!(said.contains("4 messages waited") && said.contains("release --reason restored"), "{said}");
    assert_eq!(
        copy.value("SELECT string_agg(DISTINCT state || ' ' || reason, ',') FROM sms_outbox").await,
        "held restored"
    );
    until("the daemon is well", async || copy.curl(&[], "/healthz").await.0 == 200).await;
    assert_eq!(copy.gateway.count(), 0);
    let again = copy.ok(["adopt"]).await;
    assert!(again.contains("nothing to do"), "{again}");

    let released = copy.ok(["release", "--reason", "restored"]).await;
    assert!(released.contains("4 messages released"), "{released}");
    copy.gateway_receives(4).await;
    copy.settled().await;
    assert_eq!(copy.gateway.count(), 4);
    daemon.stop().await;
    assert_eq!(original.gateway.count(), 0);
}

#[tokio::test]
async fn a_dump_restored_over_the_same_database_under_a_running_daemon_sends_nothing_again() {
    let world = World::new().await;
    for number in 1..=3 {
        world.enqueue(&format!("20 000 00{number}"), "Bonjour").await;
    }
    let dump = world.directory().join("dump");
    let dump = dump.to_str().unwrap();
    world.postgres_program("pg_dump", &["--format=custom", "--file", dump, "--dbname", &world.url]).await;
    let daemon = world.daemon().await;
    world.gateway_receives(3).await;
    world.settled().await;
    world.postgres_program("pg_restore", &["--clean", "--if-exists", "--dbname", &world.url, dump]).await;
    until("the copy is noticed", async || daemon.log().contains("this database is a copy")).await;
    is_seen_as_a_copy(&world, "restored from a dump").await;
    looked_at_least(&world, 3).await;
    assert_eq!(world.gateway.count(), 3);
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state = 'queued'", "3").await;
    world.ok(["adopt"]).await;
    world.ok(["cancel", "--reason", "restored"]).await;
    // What comes now is sent.
    until("the daemon is well", async || world.curl(&[], "/healthz").await.0 == 200).await;
    let id = world.enqueue("20 000 005", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    assert_eq!(world.gateway.count(), 4);
    daemon.stop().await;
}

#[tokio::test]
async fn another_server_is_a_copy_and_one_that_does_not_tell_its_identifier_is_not() {
    let world = World::new().await;
    world.batch("CREATE ROLE guards_reader; GRANT SELECT ON sms_installation, sms_outbox TO guards_reader; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").await;
    world.batch("UPDATE sms_installation SET system_identifier = 1").await;
    assert!(world.value("SELECT sms_identity()").await.contains("another server"));
    let reader = support::session(&world.url).await;
    reader.batch("SET ROLE guards_reader").await.unwrap();
    assert_eq!(reader.texts("SELECT sms_identity()").await.unwrap()[0][0], None);
    reader.batch("RESET ROLE").await.unwrap();
    assert!(world.ok(["adopt"]).await.contains("is now the database"));
    assert_eq!(world.value("SELECT sms_identity()").await, "");
}

#[tokio::test]
async fn the_daemons_role_cannot_adopt() {
    let world = World::new().await;
    let role = format!("{}_daemon", world.database);
    world.batch(&format!("CREATE ROLE {role} LOGIN; UPDATE sms_installation SET database_name = 'production'")).await;
    world.ok(["install", "--role", &role]).await;
    let output = world.command(["adopt"]).env("DATABASE_URL", world.url_as(&role)).output().await.unwrap();
    assert!(!output.status.success() && shown(&output).contains("sudo -u postgres"), "{}", shown(&output));
    assert!(world.value("SELECT sms_identity()").await.contains("production"));
    // It may ask, which it must before every first claim.
    let daemon = support::session(&world.url_as(&role)).await;
    assert!(daemon.texts("SELECT sms_identity()").await.unwrap()[0][0].as_ref().unwrap().contains("production"));
    drop(daemon);
    world.batch(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn an_installation_of_before_is_the_original_in_its_own_database_and_a_copy_elsewhere() {
    for (name, copy) in [("current_database()", false), ("'production'", true)] {
        let world = World::from(BARE, ecar_sms::gateway::Script::default()).await;
        world.batch("CREATE TABLE sms_migration (number int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())").await;
        for (number, text) in [
            (1, include_str!("../sql/migrations/0001_outbox.sql")),
            (2, include_str!("../sql/migrations/0002_settings.sql")),
            (3, include_str!("../sql/migrations/0003_staff.sql")),
        ] {
            world.batch(&format!("{text}\nINSERT INTO sms_migration (number, name) VALUES ({number}, 'before')")).await;
        }
        world.batch(&format!("INSERT INTO sms_installation (system_identifier, database_name, version) SELECT system_identifier, {name}, 'before' FROM pg_control_system()")).await;
        assert_eq!(world.ok(["install"]).await.contains("this database is a copy"), copy);
        assert_eq!(!world.value("SELECT sms_identity()").await.is_empty(), copy);
        assert_eq!(world.value("SELECT value FROM sms_setting WHERE name = 'stampede_limit'").await, "500");
    }
}

#[tokio::test]
async fn a_look_at_the_neighbours_reads_no_more_than_its_bound() {
    let world = World::new().await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 001', 'x' FROM generate_series(1, 100000)").await;
    let text = ecar_sms::db::statement::NEIGHBOURS.text();
    for analyzed in ["", "ANALYZE sms_outbox;"] {
        let plan = format!(
            "{analyzed} DEALLOCATE ALL; PREPARE it(bigint, bigint, bigint) AS {text}; EXPLAIN (COSTS OFF) EXECUTE it(50000, 50031, 1001)"
        );
        let rows = world.sql.texts(&plan).await.unwrap();
        let plan = rows.iter().filter_map(|row| row[0].clone()).collect::<Vec<_>>().join("\n");
        assert_eq!(plan.matches("using sms_outbox_pkey on sms_outbox").count(), 2, "{plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}

#[tokio::test]
async fn a_copy_texts_the_test_recipients_alone() {
    let mut world = World::new().await;
    world.configure("[sending]\ntest_recipients = [\"20 000 001\"]\n");
    world.batch("UPDATE sms_installation SET database_name = 'production'").await;
    let known = world.enqueue("+216 20 000 001", "Bonjour").await;
    let stranger = world.enqueue("20 000 002", "Bonjour").await;
    let daemon = world.daemon().await;
    world.status_becomes(known, "sent").await;
    world.status_becomes(stranger, "skipped").await;
    assert_eq!(
        world.value(&format!("SELECT reason FROM sms_message WHERE id = {stranger}")).await,
        "not_a_test_recipient"
    );
    assert_eq!(world.gateway.count(), 1);
    let (status, body) = world.curl(&[], "/healthz").await;
    assert!(status == 503 && body.contains("only the 1 numbers"), "{body}");
    // In the original the list has no effect but a note.
    world.ok(["adopt"]).await;
    until("the daemon is well", async || world.curl(&[], "/healthz").await.0 == 200).await;
    let stranger = world.enqueue("20 000 002", "Bonjour").await;
    world.status_becomes(stranger, "sent").await;
    assert!(world.ok(["status"]).await.contains("test_recipients has no effect"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_transaction_with_more_events_than_the_limit_is_held_whole_and_released_by_staff() {
    let world = World::new().await;
    world.service(1, "20 000 001", "scheduled").await;
    world.batch(&services(1_001, 1_600, "in_progress", "now()")).await;
    let daemon = world.daemon().await;
    world.batch("UPDATE core_service SET status = 'completed' WHERE id > 1000").await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state = 'held' AND reason = 'stampede'", "600").await;
    assert_eq!(world.gateway.count(), 0);
    assert_eq!(daemon.log().matches("a flood of events").count(), 1, "{}", daemon.log());
    let status = world.ok(["status"]).await;
    assert!(status.contains("600 stampede: ecar-sms release --reason stampede"), "{status}");
    assert!(has(
        &doctor(&world).await,
        "warning",
        "queue",
        "600 messages are held for staff: stampede",
        "--reason stampede"
    ));
    // Others are not kept waiting by it.
    let id = world.enqueue("20 000 002", "Bonjour").await;
    world.status_becomes(id, "sent").await;
    assert!(world.ok(["release", "--reason", "stampede"]).await.contains("600 messages released"));
    world.gateway_receives(601).await;
    world.settled().await;
    assert_eq!(world.gateway.count(), 601);
    daemon.stop().await;
}

#[tokio::test]
async fn a_flood_of_single_events_is_held_from_the_limit_on_and_messages_by_hand_are_none() {
    let world = World::new().await;
    world.service(1, "20 000 001", "scheduled").await;
    world.batch("SELECT sms_set('stampede_limit', '20')").await;
    world.batch(&services(1_001, 1_020, "in_progress", "now()")).await;
    let daemon = world.daemon().await;
    for id in 1_001..=1_020 {
        world.complete(id).await;
    }
    world.gateway_receives(20).await;
    world
        .batch("INSERT INTO sms_outbox (kind, source_id) SELECT 'service_completed', 1001 FROM generate_series(1, 30)")
        .await;
    world.gateway_receives(50).await;
    world.batch(&services(1_021, 1_030, "in_progress", "now()")).await;
    for id in 1_021..=1_030 {
        world.complete(id).await;
    }
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state = 'held' AND reason = 'stampede'", "10").await;
    assert_eq!(world.gateway.count(), 50);
    // Switched off, nothing is held.
    world.batch("SELECT sms_set('stampede_limit', '0')").await;
    world.batch(&services(1_031, 1_060, "completed", "now()")).await;
    world.gateway_receives(80).await;
    daemon.stop().await;
}

/// A garage with twenty thousand services completed at this time, dumped as data; and another with ecar-sms, without them.
async fn data_only_restore(updated_at: &str, how: &str) -> World {
    let source = World::from(BARE, ecar_sms::gateway::Script::default()).await;
    source.service(1, "20 000 001", "scheduled").await;
    source.batch(&services(1_001, 1_000 + MANY, "completed", updated_at)).await;
    let dump = source.directory().join("data.sql");
    let dump = dump.to_str().unwrap();
    source.postgres_program("pg_dump", &["--data-only", how, "--file", dump, "--dbname", &source.url]).await;
    let world = World::new().await;
    let daemon = world.daemon().await;
    world
        .postgres_program(
            "psql",
            &[
                "--quiet",
                "--no-psqlrc",
                "--set",
                "ON_ERROR_STOP=1",
                "--output",
                "/dev/null",
                "--file",
                dump,
                "--dbname",
                &world.url,
            ],
        )
        .await;
    world.settled().await;
    assert_eq!(world.gateway.count(), 0);
    daemon.stop().await;
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox WHERE state = 'held'").await, MANY);
    world
}

#[tokio::test]
async fn a_data_only_restore_of_old_rows_by_copy_is_held_as_restored() {
    let world = data_only_restore("now() - interval '40 days'", "--no-comments").await;
    assert_eq!(world.value("SELECT string_agg(DISTINCT reason, ',') FROM sms_outbox").await, "restored");
    assert!(has(
        &doctor(&world).await,
        "warning",
        "queue",
        "20000 messages are held for staff: restored",
        "cancel --reason restored"
    ));
}

#[tokio::test]
async fn a_data_only_restore_of_old_rows_by_inserts_is_held_as_restored() {
    let world = data_only_restore("now() - interval '40 days'", "--inserts").await;
    assert_eq!(world.value("SELECT string_agg(DISTINCT reason, ',') FROM sms_outbox").await, "restored");
    // Bulk decisions take as many calls as they need.
    let daemon = world.daemon().await;
    assert!(
        world
            .ok(["cancel", "--reason", "restored", "--kind", "service_completed"])
            .await
            .contains("20000 messages cancelled")
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM sms_history WHERE status = 'cancelled' AND reason = 'cancelled_by_staff'")
            .await,
        MANY
    );
    assert_eq!(world.count("SELECT count(*) FROM sms_event WHERE what = 'cancelled'").await, MANY);
    daemon.stop().await;
}

#[tokio::test]
async fn a_data_only_restore_of_fresh_rows_is_a_stampede() {
    let world = data_only_restore("now()", "--no-comments").await;
    assert_eq!(world.value("SELECT string_agg(DISTINCT reason, ',') FROM sms_outbox").await, "stampede");
}

#[tokio::test]
async fn only_an_inserted_row_that_says_itself_that_it_is_old_is_history() {
    let world = World::new().await;
    world.service(1, "20 000 001", "in_progress").await;
    world.batch(&services(1_001, 1_001, "completed", "now() - interval '23 hours'")).await;
    world.batch(&services(1_002, 1_002, "completed", "now() - interval '25 hours'")).await;
    world.batch(&services(1_003, 1_003, "in_progress", "now() - interval '25 hours'")).await;
    world.batch("UPDATE core_service SET status = 'completed' WHERE id = 1003").await;
    let states =
        "SELECT string_agg(source_id || ' ' || state || coalesce(' ' || reason, ''), ', ' ORDER BY id) FROM sms_outbox";
    assert_eq!(world.value(states).await, "1001 queued, 1002 held restored, 1003 queued");
    // What cannot be read counts as an event.
    world.batch("DELETE FROM sms_outbox; ALTER TABLE core_service DROP COLUMN updated_at").await;
    world.batch("INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, car_id, is_routine_maintenance) VALUES (1004, '', '', 'completed', now(), now(), 1, false)").await;
    assert_eq!(world.value(states).await, "1004 queued");
}

/// Two services and an invoice whose events made no message, and a service completed without a time.
async fn missed_events() -> World {
    let world = World::new().await;
    world.batch("UPDATE sms_installation SET installed_at = now() - interval '1 day'").await;
    world.service(1, "20 000 001", "in_progress").await;
    world.batch(&services(1_001, 1_003, "in_progress", "now() - interval '2 hours'")).await;
    world.batch("ALTER TABLE core_service DISABLE TRIGGER sms_garage_service; ALTER TABLE core_invoice DISABLE TRIGGER sms_garage_invoice").await;
    world.batch("UPDATE core_service SET status = 'completed', completed_date = now() - interval '1 hour' WHERE id IN (1001, 1002)").await;
    world.batch("UPDATE core_service SET status = 'completed' WHERE id = 1003").await;
    world.batch("INSERT INTO core_invoice (id, invoice_number, issued_date, due_date, status, final_amount, created_at, updated_at, service_id)
                 VALUES (7, 'INV-7', now(), now(), 'pending', 250, now() - interval '1 hour', now(), 1001)").await;
    world.batch("ALTER TABLE core_service ENABLE TRIGGER sms_garage_service; ALTER TABLE core_invoice ENABLE TRIGGER sms_garage_invoice").await;
    // One that has its message, and one just completed.
    world.batch(&services(1_004, 1_004, "completed", "now() - interval '2 hours'")).await;
    world.complete(1).await;
    world
}

#[tokio::test]
async fn events_that_the_triggers_missed_are_reported() {
    let world = missed_events().await;
    let daemon = world.daemon().await;
    until("the report", async || daemon.log().contains("made no message")).await;
    let (_, body) = world.curl(&[], "/v1/status").await;
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["missed_events"], 4, "{body}");
    assert_eq!(status["healthy"], true, "{body}");
    assert!(world.ok(["status"]).await.contains("service_completed 1001 made no message"));
    let findings = doctor(&world).await;
    assert!(
        has(&findings, "warning", "missed", "3 events made no service_completed", "send service ID"),
        "{findings:#?}"
    );
    assert!(has(
        &findings,
        "warning",
        "missed",
        "1 events made no invoice_created message (were the triggers disabled?): invoice 7",
        "catch_up enqueue"
    ));
    world.gateway_receives(2).await;
    world.settled().await;
    assert_eq!(world.gateway.count(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn events_that_the_triggers_missed_are_enqueued_once_when_so_set() {
    let world = missed_events().await;
    world.batch("SELECT sms_set('catch_up', 'enqueue')").await;
    // Two daemons at once: the second finds the first at it, then nothing more.
    let (one, other) = (support::session(&world.url).await, support::session(&world.url).await);
    let catch_up = "SELECT sms_garage_catch_up(86400000, 1000)";
    one.batch("BEGIN").await.unwrap();
    assert_eq!(one.texts(catch_up).await.unwrap()[0][0].as_deref(), Some("3"));
    assert_eq!(other.texts(catch_up).await.unwrap()[0][0].as_deref(), Some("0"));
    one.batch("ROLLBACK").await.unwrap();
    let daemon = world.daemon().await;
    world.gateway_receives(5).await;
    world.settled().await;
    assert_eq!(world.gateway.count(), 5);
    assert_eq!(other.texts(catch_up).await.unwrap()[0][0].as_deref(), Some("0"));
    // Without a completion's time nobody knows; it is only reported.
    until("the rest is reported", async || {
        world.ok(["status"]).await.contains("service_completed 1003 made no message")
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn staff_release_and_cancel_by_kind_reason_and_time() {
    let world = World::new().await;
    world.batch(
        "INSERT INTO sms_outbox (kind, recipient, body, state, reason, created_at)
         SELECT 'custom', '20 000 001', 'x', 'held', CASE WHEN i <= 3 THEN 'stampede' ELSE 'no_amount' END, now() - i * interval '1 hour' FROM generate_series(1, 6) i;
         INSERT INTO sms_outbox (kind, recipient, body, not_before) SELECT 'campaign', '20 000 002', 'x', now() + interval '1 hour' FROM generate_series(1, 4)",
    )
    .await;
    let daemon = world.daemon().await;
    for wrong in [
        &["release"][..],
        &["release", "1", "--all"],
        &["release", "--kind", "song"],
        &["cancel", "--since", "soon"],
        &["cancel", "1", "--kind", "custom"],
    ] {
        let output = world.run(wrong).await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", shown(&output));
    }
    assert!(world.ok(["release", "--since", "150min", "--until", "90min"]).await.contains("1 messages released"));
    world.gateway_receives(1).await;
    assert!(world.ok(["cancel", "--kind", "campaign"]).await.contains("4 messages cancelled"));
    let (status, body) =
        world.curl(&["-X", "POST", "-d", r#"{"reason":"stampede","since":"1d"}"#], "/v1/messages/release").await;
    assert_eq!((status, body.as_str()), (200, r#"{"messages":2}"#));
    world.gateway_receives(3).await;
    let (status, body) = world.curl(&["-X", "POST", "-d", "{}"], "/v1/messages/cancel").await;
    assert!(status == 422 && body.contains("say which messages"), "{body}");
    assert!(world.ok(["cancel", "--all"]).await.contains("3 messages cancelled"));
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox WHERE state <> 'sending'").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM sms_event WHERE what = 'cancelled'").await, 7);
    world.settled().await;
    assert_eq!(world.gateway.count(), 3);
    daemon.stop().await;
}
