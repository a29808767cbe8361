//! Beside the garage's application: each of its events becomes the message it should, and nothing of ours ever gets in its
//! way, whatever state our tables or its own are in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use support::{BARE, World, shown, until};

/// The longest that a statement of the application may take beside a locked table of ours: the promise is 1 s, the rest
/// is for slow machines.
const UNNOTICED: Duration = Duration::from_secs(2);

/// Runs a script of the application: it must succeed as a whole. Returns what the server warned of.
async fn application(world: &World, url: &str, sql: &str) -> String {
    let output = world.psql(url, &format!("\\set ON_ERROR_STOP on\n{sql}\n")).await;
    assert!(output.status.success(), "{sql}\n{}", shown(&output));
    stderr(&output)
}

/// The same, and how long the server took over it: the start of psql is no part of that.
async fn timed(world: &World, url: &str, sql: &str) -> (String, Duration) {
    let output = world.psql(url, &format!("\\set ON_ERROR_STOP on\n\\timing on\n{sql}\n")).await;
    assert!(output.status.success(), "{sql}\n{}", shown(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    let times: Vec<f64> =
        printed.lines().filter_map(|line| line.strip_prefix("Time: ")?.split(' ').next()?.parse().ok()).collect();
    assert!(!times.is_empty(), "{}", shown(&output));
    (stderr(&output), Duration::from_secs_f64(times.iter().sum::<f64>() / 1_000.0))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An invoice of a service, as the API inserts it.
fn invoice(number: i64, final_amount: &str) -> String {
    format!(
        "INSERT INTO core_invoice (id, invoice_number, issued_date, due_date, status, final_amount, created_at, updated_at, service_id)
         VALUES ({number}, 'INV-{number:08X}', current_date, current_date, 'pending', {final_amount}, now(), now(), {number});"
    )
}

/// An item of a service.
fn item(service: i64, quantity: i64, unit_price: &str) -> String {
    format!(
        "INSERT INTO core_serviceitem (item_type, name, quantity, unit_price, service_id)
         VALUES ('part', 'Filtre', {quantity}, {unit_price}, {service});"
    )
}

/// A save that rewrites all columns of a service, with this status.
fn save(service: i64, status: &str) -> String {
    format!(
        "UPDATE core_service SET title = title, description = description, status = '{status}', scheduled_date = scheduled_date,
           completed_date = completed_date, technician_notes = technician_notes, created_at = created_at, updated_at = now(), car_id = car_id,
           service_mileage = service_mileage, is_routine_maintenance = is_routine_maintenance, service_type_id = service_type_id
         WHERE id = {service};"
    )
}

/// How many messages of this kind wait or waited for this source.
async fn messages(world: &World, kind: &str, source: i64) -> i64 {
    world.count(&format!("SELECT count(*) FROM sms_message WHERE kind = '{kind}' AND source_id = {source}")).await
}

/// The statuses and reasons of the messages about a source, in the order in which they were made.
async fn fates(world: &World, kind: &str, source: i64) -> String {
    world
        .value(&format!(
            "SELECT string_agg(concat_ws(' ', status, reason), ', ' ORDER BY id) FROM sms_message WHERE kind = '{kind}' AND source_id = {source}"
        ))
        .await
}

/// A role that owns the garage's tables, as the application's does, and has no right on ours.
async fn application_role(world: &World) -> String {
    let role = format!("application_{}", world.database);
    world.batch(&format!("CREATE ROLE {role} LOGIN")).await;
    own_the_garage(world, &role).await;
    role
}

async fn own_the_garage(world: &World, role: &str) {
    for table in garage_tables(world).await {
        world.batch(&format!("ALTER TABLE {table} OWNER TO {role}")).await;
    }
}

async fn garage_tables(world: &World) -> Vec<String> {
    column_of(world, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname !~ '^sms_' ORDER BY 1").await
}

async fn column_of(world: &World, sql: &str) -> Vec<String> {
    let rows = world.sql.texts(sql).await.unwrap();
    assert!(!rows.is_empty(), "{sql}");
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

// What counts as a completion.

#[tokio::test]
async fn a_completion_is_queued_once_however_it_comes() {
    let world = World::new().await;
    world.service(1, "20 000 001", "in_progress").await;
    application(&world, &world.url, &save(1, "completed")).await;
    assert_eq!(messages(&world, "service_completed", 1).await, 1, "by UPDATE");

    world.service(2, "20 000 002", "completed").await;
    assert_eq!(messages(&world, "service_completed", 2).await, 1, "born completed");

    world.service(3, "20 000 003", "in_progress").await;
    application(
        &world,
        &world.url,
        &format!("BEGIN; {} {} {} COMMIT;", save(3, "completed"), item(3, 1, "10.00"), item(3, 2, "5.00")),
    )
    .await;
    assert_eq!(messages(&world, "service_completed", 3).await, 1, "with its items later in the transaction");

    application(
        &world,
        &world.url,
        "UPDATE core_service SET status = 'in_progress'; UPDATE core_service SET status = 'completed';",
    )
    .await;
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 6, "all at once, again");

    world.service(4, "20 000 004", "in_progress").await;
    application(&world, &world.url, &format!("BEGIN; {} ROLLBACK;", save(4, "completed"))).await;
    assert_eq!(messages(&world, "service_completed", 4).await, 0, "what is rolled back never happened");
}

#[tokio::test]
async fn a_statement_on_many_services_queues_those_that_became_completed() {
    let world = World::new().await;
    for (number, status) in (1..=9).zip(["in_progress", "completed", "scheduled"].into_iter().cycle()) {
        world.service(number, "20 000 001", status).await;
    }
    world.batch("DELETE FROM sms_outbox").await;
    let queued = "SELECT string_agg(source_id::text, ' ' ORDER BY source_id) FROM sms_outbox";
    application(&world, &world.url, "UPDATE core_service SET status = 'completed' WHERE id <= 7;").await;
    assert_eq!(world.value(queued).await, "1 3 4 6 7");
    // Without its flag, too, where everything is done again with care.
    world.batch("DELETE FROM sms_outbox; UPDATE core_service SET status = 'in_progress' WHERE id IN (2, 5)").await;
    let script = "BEGIN; DROP SEQUENCE sms_wake; UPDATE core_service SET status = 'completed'; COMMIT;";
    application(&world, &world.url, script).await;
    assert_eq!(world.value(queued).await, "2 5 9");
}

#[tokio::test]
async fn a_service_completed_by_three_sessions_at_once_is_one_completion() {
    let world = World::new().await;
    world.service(1, "20 000 001", "in_progress").await;
    // All three are in their UPDATE at the same time: two of them wait for the row.
    let first = support::session(&world.url).await;
    first.batch(&format!("BEGIN; {}", save(1, "completed"))).await.unwrap();
    let others = [support::session(&world.url).await, support::session(&world.url).await];
    let update = save(1, "completed");
    let commit = async {
        until("two sessions wait for the row", async || {
            world
                .count("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')")
                .await
                >= 2
        })
        .await;
        first.batch("COMMIT").await.unwrap();
    };
    let (a, b, ()) = tokio::join!(others[0].batch(&update), others[1].batch(&update), commit);
    a.unwrap();
    b.unwrap();
    let daemon = world.daemon().await;
    world.gateway_receives(1).await;
    world.settled().await;
    daemon.stop().await;
    assert_eq!(fates(&world, "service_completed", 1).await, "sent");
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn a_service_completed_reopened_and_completed_again_is_texted_twice() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    world.service(1, "20 000 001", "in_progress").await;
    for status in ["completed", "in_progress", "completed"] {
        application(&world, &world.url, &save(1, status)).await;
    }
    world.gateway_receives(2).await;
    world.settled().await;
    daemon.stop().await;
    assert_eq!(fates(&world, "service_completed", 1).await, "sent, sent");
    assert_eq!(world.gateway.count(), 2);
}

#[tokio::test]
async fn a_save_that_leaves_the_status_alone_queues_nothing() {
    let world = World::new().await;
    for (number, status) in [(1, "scheduled"), (2, "in_progress"), (3, "completed"), (4, "cancelled")] {
        world.service(number, "20 000 001", status).await;
    }
    world.batch("DELETE FROM sms_outbox").await;
    for (number, status) in [(1, "scheduled"), (2, "in_progress"), (3, "completed"), (4, "cancelled")] {
        application(&world, &world.url, &save(number, status)).await;
    }
    application(
        &world,
        &world.url,
        "UPDATE core_service SET updated_at = now(); UPDATE core_service SET completed_date = now() WHERE status = 'completed';
         UPDATE core_service SET status = 'in_progress' WHERE id = 1; UPDATE core_service SET status = 'cancelled' WHERE id = 3;
         UPDATE core_customer SET phone = '20 000 002'; DELETE FROM core_service WHERE id = 4;",
    )
    .await;
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 0, "{}", world.state().await);
}

// Invoices.

#[tokio::test]
async fn an_invoice_states_its_final_amount_when_set_and_else_the_sum_of_its_items() {
    let world = World::new().await;
    let amounts = [(1, "NULL", "250.00"), (2, "123.456", "123.456"), (3, "0.000", "250.00")];
    let daemon = world.daemon().await;
    for (number, final_amount, _) in amounts {
        world.service(number, &format!("20 000 00{number}"), "in_progress").await;
        let sql =
            format!("{} {} {}", item(number, 2, "100.00"), item(number, 1, "50.00"), invoice(number, final_amount));
        application(&world, &world.url, &sql).await;
    }
    world.gateway_receives(3).await;
    world.settled().await;
    daemon.stop().await;
    for (number, _, printed) in amounts {
        let texts = world.received_by(&format!("+2162000000{number}"));
        let text = format!(
            "Bonjour Sami, une nouvelle facture (INV-{number:08X}) de {printed} DT pour votre Kia Rio a été émise. Merci de votre confiance."
        );
        assert_eq!(texts.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(), [text]);
    }
}

#[tokio::test]
async fn an_invoice_waits_for_the_items_that_come_a_moment_later() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    world.service(1, "20 000 001", "in_progress").await;
    application(&world, &world.url, &invoice(1, "NULL")).await;
    world
        .value_becomes("SELECT reason FROM sms_outbox WHERE state = 'queued' AND observed = ''", "awaiting_amount")
        .await;
    application(&world, &world.url, &item(1, 1, "100.25")).await;
    // Half of the items were seen; the message waits until the amount stands still.
    world.value_becomes("SELECT observed FROM sms_outbox", "100.25").await;
    // Within the two seconds until the next look: no time for a psql.
    world.batch(&item(1, 3, "50.25")).await;
    world.gateway_receives(1).await;
    world.settled().await;
    daemon.stop().await;
    let received = world.gateway.received();
    assert!(received[0].message.contains(" de 251.00 DT "), "{}", received[0].message);
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn an_invoice_that_never_gets_an_amount_is_held_until_staff_release_it() {
    let world = World::new().await;
    world.batch("SELECT sms_set('invoice_created.settle', '1s')").await;
    let daemon = world.daemon().await;
    world.service(1, "20 000 001", "in_progress").await;
    application(&world, &world.url, &invoice(1, "0")).await;
    let id = world.count("SELECT id FROM sms_message").await;
    world.status_becomes(id, "held").await;
    assert_eq!(fates(&world, "invoice_created", 1).await, "held no_amount");
    assert_eq!(world.gateway.count(), 0);
    assert!(daemon.log().contains("no_amount"), "{}", daemon.log());

    application(&world, &world.url, &item(1, 1, "80.00")).await;
    world.ok(["release", &id.to_string()]).await;
    world.status_becomes(id, "sent").await;
    daemon.stop().await;
    let received = world.gateway.received();
    assert!(received[0].message.contains(" de 80.00 DT "), "{}", received[0].message);
}

#[tokio::test]
async fn a_service_and_invoice_that_are_deleted_before_the_claim_are_skipped() {
    let world = World::new().await;
    world.service(1, "20 000 001", "completed").await;
    application(&world, &world.url, &invoice(1, "10.000")).await;
    application(&world, &world.url, "DELETE FROM core_invoice; DELETE FROM core_service;").await;
    let daemon = world.daemon().await;
    world.settled().await;
    daemon.stop().await;
    assert_eq!(fates(&world, "service_completed", 1).await, "skipped source_gone");
    assert_eq!(fates(&world, "invoice_created", 1).await, "skipped source_gone");
    assert_eq!(world.gateway.count(), 0);
}

// Phone numbers.

#[tokio::test]
async fn each_phone_number_gives_its_number_or_its_reason_and_is_never_tried_again() {
    let world = World::new().await;
    let good = [
        ("20 123 456", "+21620123456"),
        ("(20) 123456", "+21620123456"),
        ("00 216 20123456", "+21620123456"),
        ("21612345", "+21621612345"),
        ("020123456", "+21620123456"),
        ("+216 (0)20 123 456", "+21620123456"),
        ("+21621620123456", "+21620123456"),
        ("٢٠١٢٣٤٥٦", "+21620123456"),
        ("\u{200E}20\u{A0}123\u{202F}456", "+21620123456"),
        ("71123456/20123456", "+21620123456"),
    ];
    let bad = [
        ("71 123 456", "landline"),
        ("49 123 456", "invalid_phone"),
        ("12345678", "invalid_phone"),
        ("2012345", "invalid_phone"),
        ("201234567", "invalid_phone"),
        ("0612345678", "invalid_phone"),
        ("call me maybe", "invalid_phone"),
        ("+33 6 12 34 56 78", "country_not_allowed"),
        ("85300", "short_code"),
        ("1820", "short_code"),
        ("", "no_phone"),
        ("N/A", "no_phone"),
        ("00000000", "no_phone"),
    ];
    for (number, (phone, _)) in (1..).zip(good.iter().chain(&bad)) {
        world.service(number, phone, "completed").await;
    }
    let daemon = world.daemon().await;
    world.settled().await;
    for (number, (phone, recipient)) in (1_i64..).zip(&good) {
        assert_eq!(fates(&world, "service_completed", number).await, "sent", "{phone:?}");
        let sql = format!("SELECT recipient FROM sms_message WHERE source_id = {number}");
        assert_eq!(&world.value(&sql).await, recipient, "{phone:?}");
    }
    let first_bad = i64::try_from(good.len()).unwrap() + 1;
    for (number, (phone, reason)) in (first_bad..).zip(&bad) {
        assert_eq!(fates(&world, "service_completed", number).await, format!("skipped {reason}"), "{phone:?}");
        let id = world.count(&format!("SELECT id FROM sms_message WHERE source_id = {number}")).await;
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains("message skipped") && line.contains(&format!("msg.id={id} ")));
        let line = line.unwrap_or_else(|| panic!("no line about message {id} ({phone:?}):\n{log}"));
        assert!(line.contains(reason), "{line}");
        assert!(phone.len() < 5 || !log.contains(phone), "the number {phone:?} stands in the log");
    }
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 0, "nothing is left to be tried again");
    assert_eq!(world.count("SELECT count(*) FROM sms_attempt").await, 0, "nothing needed a second attempt");
    daemon.stop().await;
    assert_eq!(world.gateway.count(), good.len());
}

// Reminders.

/// Moves an appointment to a time given in SQL.
async fn appoint(world: &World, service: i64, at: &str) {
    application(world, &world.url, &format!("UPDATE core_service SET scheduled_date = {at} WHERE id = {service};"))
        .await;
}

/// The text that the customer of an appointment should get: without its one circumflex it is one segment and not two.
async fn reminder_text(world: &World, service: i64, format: &str) -> String {
    let sql = format!(
        "SELECT to_char(scheduled_date AT TIME ZONE 'Africa/Tunis', '{format}') FROM core_service WHERE id = {service}"
    );
    let when = world.value(&sql).await;
    format!(
        "Bonjour Sami, rappel de votre rendez-vous pour votre Kia Rio le {when}. En cas d'empechement, merci de nous contacter."
    )
}

/// A time of day that is never midnight in Tunis, some hours from now.
const IN_SOME_HOURS: &str = "date_trunc('hour', now()) + interval '5 hours 7 minutes'";

#[tokio::test]
async fn an_appointment_within_the_lead_time_is_reminded_once_whatever_restarts() {
    let world = World::new().await;
    for number in 1..=5 {
        world.service(number, &format!("20 000 00{number}"), "scheduled").await;
    }
    appoint(&world, 1, IN_SOME_HOURS).await;
    appoint(&world, 2, "now() + interval '25 hours'").await;
    appoint(&world, 3, "now() - interval '1 minute'").await;
    for (number, status) in [(4, "cancelled"), (5, "in_progress")] {
        appoint(&world, number, IN_SOME_HOURS).await;
        application(&world, &world.url, &save(number, status)).await;
    }
    for _ in 0..2 {
        let daemon = world.daemon().await;
        world.gateway_receives(1).await;
        world.settled().await;
        daemon.stop().await;
    }
    let received = world.received_by("+21620000001");
    assert_eq!(received[0].message, reminder_text(&world, 1, "DD/MM/YYYY \"à\" HH24:MI").await);
    assert_eq!(world.gateway.count(), 1, "{}", world.state().await);
    assert_eq!(world.count("SELECT count(*) FROM sms_message").await, 1, "{}", world.state().await);
}

#[tokio::test]
async fn an_appointment_at_midnight_has_no_time_of_day() {
    let world = World::new().await;
    world.service(1, "20 000 001", "scheduled").await;
    appoint(
        &world,
        1,
        "(date_trunc('day', now() AT TIME ZONE 'Africa/Tunis') + interval '1 day') AT TIME ZONE 'Africa/Tunis'",
    )
    .await;
    let daemon = world.daemon().await;
    world.gateway_receives(1).await;
    daemon.stop().await;
    assert_eq!(world.gateway.received()[0].message, reminder_text(&world, 1, "DD/MM/YYYY").await);
}

#[tokio::test]
async fn a_reminder_is_dropped_when_its_appointment_moves_or_falls_away() {
    let mut world = World::new().await;
    for number in 1..=4 {
        world.service(number, &format!("20 000 00{number}"), "scheduled").await;
        appoint(&world, number, IN_SOME_HOURS).await;
    }
    // Without a key reminders are made, and wait.
    world.set("SMS_API_KEY", "");
    let daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE kind = 'appointment_reminder'", "4").await;
    daemon.stop().await;
    appoint(&world, 1, "scheduled_date + interval '1 hour'").await;
    application(&world, &world.url, &save(2, "cancelled")).await;
    application(&world, &world.url, &save(3, "completed")).await;
    // Number 4 is away from its time and back again: it was reminded of that time already.
    appoint(&world, 4, "scheduled_date + interval '10 days'").await;
    appoint(&world, 4, "scheduled_date - interval '10 days'").await;

    world.set("SMS_API_KEY", support::API_KEY);
    let daemon = world.daemon().await;
    world.gateway_receives(3).await;
    world.settled().await;
    daemon.stop().await;
    assert_eq!(fates(&world, "appointment_reminder", 1).await, "skipped source_changed, sent");
    assert_eq!(fates(&world, "appointment_reminder", 2).await, "skipped source_changed");
    assert_eq!(fates(&world, "appointment_reminder", 3).await, "skipped source_changed");
    assert_eq!(fates(&world, "service_completed", 3).await, "sent");
    assert_eq!(fates(&world, "appointment_reminder", 4).await, "sent");
    let received = world.received_by("+21620000001");
    assert_eq!(received[0].message, reminder_text(&world, 1, "DD/MM/YYYY \"à\" HH24:MI").await);
    assert_eq!(world.gateway.count(), 3);
}

// Nothing of ours gets in the application's way.

/// What the application does all day, on services 1 to 3 and invoice 1. Completes service 1, gives birth to service 90
/// completed and to invoice 90.
fn a_day() -> String {
    format!(
        "{complete}
         INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
           VALUES (90, 'Freins', '', 'completed', now(), now(), now(), 1, false);
         {item} {invoice}
         UPDATE core_customer SET phone = '20 000 003' WHERE id = 3;
         UPDATE core_invoice SET status = 'paid' WHERE id = 1;
         {cancel}
         DELETE FROM core_serviceitem WHERE service_id = 90;
         DELETE FROM core_invoice WHERE id = 1;
         DELETE FROM core_service WHERE id = 3;
         SELECT 'done ' || count(*) FROM core_service WHERE status = 'completed' AND id IN (1, 90);",
        complete = save(1, "completed"),
        item = item(90, 1, "10.00"),
        invoice = invoice(90, "NULL"),
        cancel = save(2, "cancelled"),
    )
}

async fn prepare_a_day(world: &World) {
    for number in 1..=3 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    world.batch(&invoice(1, "5.000")).await;
    world.batch("DELETE FROM sms_outbox").await;
}

#[tokio::test]
async fn whatever_is_broken_in_our_tables_the_application_goes_on_and_a_warning_says_what_was_missed() {
    let world = World::new().await;
    let role = application_role(&world).await;
    prepare_a_day(&world).await;
    world.batch("CREATE TABLE elsewhere (id bigint PRIMARY KEY); CREATE ROLE nobody_of_ours").await;
    let broken = [
        "DROP TABLE sms_outbox CASCADE",
        "ALTER TABLE sms_outbox RENAME TO sms_outbox_old",
        "ALTER TABLE sms_outbox RENAME COLUMN kind TO sort",
        "ALTER TABLE sms_outbox DROP COLUMN source_id CASCADE",
        "ALTER TABLE sms_outbox ADD COLUMN must_be int NOT NULL",
        "ALTER TABLE sms_outbox ADD CHECK (false)",
        "ALTER TABLE sms_outbox ADD FOREIGN KEY (source_id) REFERENCES elsewhere (id)",
        "ALTER TABLE sms_outbox ADD FOREIGN KEY (source_id) REFERENCES elsewhere (id) DEFERRABLE INITIALLY DEFERRED",
        "CREATE UNIQUE INDEX ON sms_outbox ((1)); INSERT INTO sms_outbox (kind, source_id) VALUES ('service_completed', 9)",
        "SELECT setval('sms_outbox_id_seq', 9223372036854775807)",
        "DROP TABLE sms_outbox CASCADE; CREATE TABLE sms_outbox (id int)",
        "DROP TABLE sms_outbox CASCADE; CREATE VIEW sms_outbox AS SELECT 1 AS kind",
        "ALTER TABLE sms_outbox OWNER TO nobody_of_ours; ALTER FUNCTION sms_garage_service() OWNER TO nobody_of_ours; \
         ALTER FUNCTION sms_garage_invoice() OWNER TO nobody_of_ours; REVOKE ALL ON sms_outbox FROM nobody_of_ours",
        "ALTER TABLE sms_outbox OWNER TO nobody_of_ours; ALTER TABLE sms_outbox ENABLE ROW LEVEL SECURITY; \
         ALTER TABLE sms_outbox FORCE ROW LEVEL SECURITY; ALTER FUNCTION sms_garage_service() OWNER TO nobody_of_ours; \
         ALTER FUNCTION sms_garage_invoice() OWNER TO nobody_of_ours; GRANT EXECUTE ON FUNCTION sms_garage_enqueue(text, bigint, text) TO nobody_of_ours",
        "CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'broken'; END $$; CREATE TRIGGER broken AFTER INSERT ON sms_outbox EXECUTE FUNCTION raise_it()",
    ];
    for harm in broken {
        // One transaction each, so that the next one starts from sound tables; its end is tried, too.
        let script =
            format!("BEGIN;\n{harm};\nSET LOCAL ROLE {role};\n{}\nSET CONSTRAINTS ALL IMMEDIATE;\nROLLBACK;", a_day());
        let output = world.psql(&world.url, &format!("\\set ON_ERROR_STOP on\n{script}")).await;
        assert!(output.status.success(), "{harm}\n{}", shown(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("done 2"), "{harm}\n{}", shown(&output));
        let warned = stderr(&output);
        for missed in ["service 1", "service 90", "invoice 90"] {
            assert!(
                warned.contains(&format!("WARNING:  ecar-sms: no message was queued for {missed}: ")),
                "{harm}: {missed}\n{warned}"
            );
        }
    }
}

#[tokio::test]
async fn a_constraint_of_later_is_seen_by_a_session_that_has_queued_before_and_so_is_its_end() {
    let world = World::new().await;
    for number in 1..=20 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    world.batch("CREATE TABLE elsewhere (id bigint PRIMARY KEY)").await;
    let application = support::session(&world.url).await;
    // Often enough for every plan to be a kept one.
    for number in 1..=10 {
        application.batch(&save(number, "completed")).await.unwrap();
    }
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 10);
    world.batch("ALTER TABLE sms_outbox ADD CONSTRAINT late FOREIGN KEY (source_id) REFERENCES elsewhere (id) DEFERRABLE INITIALLY DEFERRED NOT VALID").await;
    application.batch(&save(11, "completed")).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 10);
    world.batch("ALTER TABLE sms_outbox DROP CONSTRAINT late").await;
    application.batch(&save(12, "completed")).await.unwrap();
    assert_eq!(messages(&world, "service_completed", 12).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM core_service WHERE status = 'completed'").await, 12);
}

#[tokio::test]
async fn what_the_triggers_do_not_need_may_be_missing_and_messages_are_queued_all_the_same() {
    let world = World::new().await;
    let role = application_role(&world).await;
    prepare_a_day(&world).await;
    for harm in [
        "DROP TABLE sms_setting CASCADE",
        "DROP SEQUENCE sms_wake",
        "ALTER SEQUENCE sms_wake RENAME TO sms_sleep",
        "DROP TABLE sms_history CASCADE",
        "DROP TABLE sms_reminder, sms_event, sms_attempt, sms_receipt CASCADE",
        "DROP FUNCTION sms_garage_facts(text[], bigint[])",
        "DROP FUNCTION sms_garage_enqueue(text, bigint, text)",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC; REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC",
    ] {
        let script = format!(
            "BEGIN;\n{harm};\nSET LOCAL ROLE {role};\n{}\nRESET ROLE;\nSELECT 'queued ' || count(*) FROM sms_outbox;\nROLLBACK;",
            a_day()
        );
        let output = world.psql(&world.url, &format!("\\set ON_ERROR_STOP on\n{script}")).await;
        assert!(output.status.success(), "{harm}\n{}", shown(&output));
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("done 2") && printed.contains("queued 3"), "{harm}\n{}", shown(&output));
    }
}

#[tokio::test]
async fn a_locked_outbox_costs_each_statement_of_the_application_a_moment_at_most() {
    let world = World::new().await;
    let role = application_role(&world).await;
    world.batch("SELECT sms_set('paused', 'true')").await;
    for number in 1..=60 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    let url = world.url_as(&role);
    let locker = support::session(&world.url).await;
    locker.batch("BEGIN; LOCK TABLE sms_outbox IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let invoices = "INSERT INTO core_invoice (invoice_number, issued_date, due_date, status, created_at, updated_at, service_id)
                    SELECT 'INV-' || id, current_date, current_date, 'pending', now(), now(), id FROM core_service WHERE id <= 50;";
    for (statement, missed) in [
        (save(51, "completed"), 1),
        ("UPDATE core_service SET status = 'completed' WHERE id <= 50;".to_owned(), 50),
        (invoices.to_owned(), 50),
    ] {
        let (warned, took) = timed(&world, &url, &statement).await;
        assert!(took < UNNOTICED, "{took:?}: {statement}");
        assert_eq!(warned.matches("WARNING:  ecar-sms: no message was queued for ").count(), missed, "{warned}");
    }
    assert_eq!(world.count("SELECT count(*) FROM core_service WHERE status = 'completed'").await, 51);
    assert_eq!(world.count("SELECT count(*) FROM core_invoice").await, 50);
    // A statement that queues nothing does not even look at the outbox.
    assert_eq!(application(&world, &url, &save(52, "cancelled")).await, "");

    locker.batch("ROLLBACK").await.unwrap();
    // Also for a session that has just given up, in one transaction.
    locker.batch("BEGIN; LOCK TABLE sms_outbox IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let long = support::session(&url).await;
    long.batch(&format!("BEGIN; {}", save(53, "completed"))).await.unwrap();
    locker.batch("ROLLBACK").await.unwrap();
    long.batch(&save(54, "completed")).await.unwrap();
    long.batch("COMMIT").await.unwrap();
    assert_eq!(messages(&world, "service_completed", 53).await, 0);
    assert_eq!(messages(&world, "service_completed", 54).await, 1);
}

#[tokio::test]
async fn a_transaction_of_many_saves_waits_for_a_locked_outbox_once() {
    let world = World::new().await;
    world.batch("SELECT sms_set('paused', 'true')").await;
    for number in 1..=20 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    let locker = support::session(&world.url).await;
    locker.batch("BEGIN; LOCK TABLE sms_outbox IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let long = support::session(&world.url).await;
    let started = Instant::now();
    long.batch("BEGIN").await.unwrap();
    for number in 1..=20 {
        long.batch(&save(number, "completed")).await.unwrap();
    }
    long.batch("COMMIT").await.unwrap();
    let took = started.elapsed();
    assert!(took < UNNOTICED, "{took:?}");
    locker.batch("ROLLBACK").await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM core_service WHERE status = 'completed'").await, 20);
}

#[tokio::test]
async fn an_event_wakes_only_a_daemon_that_sleeps_and_a_row_by_hand_always() {
    let world = World::new().await;
    for number in 1..=3 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    let woken = async |statement: &str| {
        let output = world.psql(&world.url, &format!("LISTEN sms_outbox;\n{statement};\nSELECT 'done';\n")).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("done"), "{}", shown(&output));
        text.matches("notification \"sms_outbox\"").count()
    };
    assert_eq!(woken(&save(1, "completed")).await, 0);
    world.batch("SELECT setval('sms_wake', 1)").await;
    assert_eq!(woken(&save(2, "completed")).await, 1);
    assert_eq!(woken(&save(2, "completed")).await, 0);
    world.batch("SELECT setval('sms_wake', 2)").await;
    let by_hand = "INSERT INTO sms_outbox (kind, recipient, body) SELECT 'custom', '20 000 001', i::text FROM generate_series(1, 3) i";
    assert_eq!(woken(by_hand).await, 1);
    assert_eq!(woken("INSERT INTO sms_outbox (kind, source_id) VALUES ('service_completed', 3)").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 6);
}

#[tokio::test]
async fn a_wake_flag_that_is_locked_costs_a_statement_of_many_events_no_more_than_one() {
    let world = World::new().await;
    for number in 1..=30 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    let locker = support::session(&world.url).await;
    locker.batch("BEGIN; DROP SEQUENCE sms_wake").await.unwrap();
    let (_, took) = timed(&world, &world.url, "UPDATE core_service SET status = 'completed';").await;
    assert!(took < UNNOTICED, "{took:?}");
    locker.batch("ROLLBACK").await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM core_service WHERE status = 'completed'").await, 30);
}

#[tokio::test]
async fn an_ordinary_role_that_owns_the_garage_and_has_no_right_on_our_tables_completes_services() {
    let world = World::new().await;
    let role = application_role(&world).await;
    prepare_a_day(&world).await;
    let url = world.url_as(&role);
    let warned = application(&world, &url, &a_day()).await;
    assert_eq!(warned, "");
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 3);
    // Nobody is named as having asked: an event of the garage did.
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox WHERE requested_by IS NULL").await, 3);

    for statement in [
        "SELECT * FROM sms_outbox",
        "INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 000 001', 'x')",
        "UPDATE sms_outbox SET state = 'held'",
        "DELETE FROM sms_outbox",
        "SELECT * FROM sms_message",
        "SELECT * FROM sms_setting",
        "SELECT sms_set('paused', 'true')",
        "SELECT sms_resend(1)",
        "SELECT sms_cancel(1)",
        "SELECT sms_maintain()",
        "SELECT sms_want_notify(true)",
        "SELECT sms_garage_enqueue('service_completed', 1, NULL)",
        "SELECT sms_adopt()",
        "SELECT sms_garage_missed(1, 1)",
        "SELECT sms_garage_catch_up(1, 1)",
        "SELECT * FROM sms_garage_facts('{service_completed}', '{1}')",
        "SELECT sms_garage_remind('24h', 'UTC', 1)",
        "SELECT sms_garage_exists('service_completed', 1)",
        "CREATE TRIGGER t AFTER INSERT ON core_car FOR EACH ROW EXECUTE FUNCTION sms_garage_service()",
    ] {
        let output = world.psql(&url, &format!("\\set VERBOSITY sqlstate\n{statement};\n")).await;
        assert!(stderr(&output).contains("ERROR:  42501"), "{statement}: {}", shown(&output));
    }
}

/// Runs labelled steps, each in a transaction that is rolled back, and returns what each printed and which errors it met.
async fn outcomes(world: &World, steps: &[String]) -> Vec<String> {
    let mut script = String::from("\\set VERBOSITY sqlstate\n\\unset QUIET\n");
    for step in steps {
        script.push_str(&format!("\\echo ---\n\\warn ---\nBEGIN;\nSAVEPOINT s;\n{step}\nROLLBACK;\n"));
    }
    let output = world.psql(&world.url, &script).await;
    assert!(output.status.success(), "{}", shown(&output));
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    // Our warnings are no part of the comparison: the application goes on.
    let errors = stderr(&output)
        .lines()
        .filter(|line| !line.starts_with("WARNING:") && !line.starts_with("NOTICE:"))
        .collect::<Vec<_>>()
        .join("\n");
    let printed: Vec<_> = printed.split("---\n").skip(1).collect();
    let errors: Vec<_> = errors.split("---").skip(1).collect();
    assert_eq!((printed.len(), errors.len()), (steps.len(), steps.len()));
    printed.into_iter().zip(errors).map(|(printed, errors)| format!("{printed}{errors}")).collect()
}

/// Writes whatever the shape of the tables: completes a service, adds a service and an invoice like those that are there.
const WRITES: &str = "
    INSERT INTO core_service SELECT (jsonb_populate_record(NULL::core_service, to_jsonb(s) || '{\"id\": 1001, \"status\": \"completed\"}')).* FROM core_service s LIMIT 1;
    INSERT INTO core_invoice SELECT (jsonb_populate_record(NULL::core_invoice, to_jsonb(i) || '{\"id\": 1001, \"invoice_number\": \"1001\", \"service_id\": 2}')).* FROM core_invoice i LIMIT 1;
    SAVEPOINT t;
    UPDATE core_service SET status = 'completed' WHERE status <> 'completed';
    ROLLBACK TO t;
    DELETE FROM core_invoice;
    DELETE FROM core_service;";

#[tokio::test]
async fn every_column_and_table_of_the_garage_can_be_altered_dropped_and_emptied_as_if_we_were_not_there() {
    let bare = World::from(BARE, ecar_sms::gateway::Script::default()).await;
    let world = World::new().await;
    let mut steps = Vec::new();
    for column in column_of(
        &world,
        "SELECT a.attrelid::regclass || ' ' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname !~ '^sms_' AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attrelid::regclass::text, a.attnum",
    )
    .await
    {
        let (table, column) = column.split_once(' ').unwrap();
        let alter = format!("ALTER TABLE {table}");
        for change in [
            format!("{alter} ALTER COLUMN {column} TYPE text;"),
            format!("{alter} ALTER COLUMN {column} TYPE bigint USING length({column}::text);"),
            format!("{alter} DROP COLUMN {column} CASCADE;"),
            format!("{alter} RENAME COLUMN {column} TO another;"),
        ] {
            // Only two tables have triggers of ours; writing to the others shows nothing more.
            let writes = if ["core_service", "core_invoice"].contains(&table) { WRITES } else { "" };
            steps.push(format!("{change}{writes}"));
        }
        steps.push(format!("{alter} DROP COLUMN {column};"));
        steps.push(format!("{alter} ALTER COLUMN {column} DROP NOT NULL;"));
    }
    for table in garage_tables(&world).await {
        for change in [
            format!("TRUNCATE {table};"),
            format!("TRUNCATE {table} CASCADE;"),
            format!("TRUNCATE {table} RESTART IDENTITY CASCADE;"),
            format!("DELETE FROM {table};"),
            format!("DELETE FROM {table}; SET CONSTRAINTS ALL IMMEDIATE;"),
            format!("DROP TABLE {table};"),
            format!("DROP TABLE {table} CASCADE;"),
            format!("ALTER TABLE {table} RENAME TO another;"),
            format!("ALTER TABLE {table} SET SCHEMA pg_temp;"),
        ] {
            steps.push(change);
        }
    }
    // All at once: alone, most are kept by foreign keys of the garage's own, which would hide one of ours.
    let all = garage_tables(&world).await.join(", ");
    steps.push(format!("TRUNCATE {all};"));
    steps.push(format!("DROP TABLE {all};"));
    for world in [&bare, &world] {
        for number in 1..=2 {
            world.service(number, "20 000 001", "in_progress").await;
        }
        world.batch(&format!("{} {}", invoice(1, "NULL"), item(1, 1, "10.00"))).await;
    }
    let (without, with) = tokio::join!(outcomes(&bare, &steps), outcomes(&world, &steps));
    let different: Vec<String> = steps
        .iter()
        .zip(without.iter().zip(&with))
        .filter(|(_, (a, b))| a != b)
        .map(|(step, (a, b))| format!("{step}\nwithout us: {a}\nwith us: {b}"))
        .collect();
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), steps.len(), different.join("\n\n"));
    // The comparison means something only where most statements work.
    let refused = without.iter().filter(|outcome| outcome.contains("ERROR")).count();
    assert!(refused < steps.len() / 2, "{refused} of {} were refused without us already", steps.len());
}

#[tokio::test]
async fn a_session_that_has_completed_services_goes_on_after_a_column_changed_its_type() {
    let world = World::new().await;
    for number in 1..=4 {
        world.service(number, "20 000 001", "in_progress").await;
    }
    let pooled = support::session(&world.url).await;
    for (number, change) in [
        (1, "ALTER TABLE core_service ALTER COLUMN status TYPE text"),
        (2, "ALTER TABLE core_service ALTER COLUMN id TYPE integer"),
        (3, "ALTER TABLE core_service ADD COLUMN more text; ALTER TABLE core_service DROP COLUMN title"),
    ] {
        pooled.batch(&format!("UPDATE core_service SET status = 'completed' WHERE id = {number}")).await.unwrap();
        world.batch(change).await;
    }
    pooled.batch("UPDATE core_service SET status = 'completed' WHERE id = 4").await.unwrap();
    assert_eq!(world.value("SELECT string_agg(source_id::text, ' ' ORDER BY id) FROM sms_outbox").await, "1 2 3 4");
}

#[tokio::test]
async fn after_a_migration_drops_or_renames_what_we_read_the_application_writes_on_and_the_doctor_names_it() {
    let world = World::new().await;
    prepare_a_day(&world).await;
    let daemon = world.daemon().await;
    let errors = async || {
        let output = world.run(["doctor", "--json"]).await;
        let findings: Vec<serde_json::Value> =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)));
        let errors: Vec<String> = findings
            .iter()
            .filter(|finding| finding["level"] == "error")
            .map(|finding| {
                assert!(finding["mend"].as_str().is_some_and(|mend| !mend.is_empty()), "{finding}");
                format!("{}: {}", finding["area"].as_str().unwrap(), finding["found"].as_str().unwrap())
            })
            .collect();
        (output.status.code().unwrap(), errors)
    };
    assert_eq!(errors().await, (0, Vec::new()));

    world.batch("ALTER TABLE core_invoice RENAME COLUMN final_amount TO total; ALTER TABLE auth_user DROP COLUMN first_name").await;
    let (code, found) = errors().await;
    assert_eq!(code, 1);
    assert_eq!(found, ["garage: its tables have changed: missing core_invoice.final_amount, auth_user.first_name"]);

    world.batch("ALTER TABLE core_service DROP COLUMN status CASCADE").await;
    let (code, found) = errors().await;
    assert_eq!(code, 1);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("core_service.status"), "{found:?}");
    let warned = application(
        &world,
        &world.url,
        "UPDATE core_service SET updated_at = now() WHERE id = 1; DELETE FROM core_service WHERE id = 3;
         INSERT INTO core_service (id, title, description, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
           VALUES (90, 'Freins', '', now(), now(), now(), 1, false);
         INSERT INTO core_invoice (id, invoice_number, issued_date, due_date, status, created_at, updated_at, service_id)
           VALUES (90, 'INV-90', current_date, current_date, 'pending', now(), now(), 90);",
    )
    .await;
    assert!(warned.contains("service 1") && warned.contains("service 90"), "{warned}");
    assert_eq!(messages(&world, "invoice_created", 90).await, 1);

    world.batch("DROP TRIGGER sms_garage_invoice ON core_invoice; ALTER TABLE core_service DISABLE TRIGGER sms_garage_service").await;
    let (_, found) = errors().await;
    assert!(found.iter().any(|it| it.contains("sms_garage_invoice is not on core_invoice")), "{found:?}");
    assert!(found.iter().any(|it| it.contains("sms_garage_service on core_service is disabled")), "{found:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_column_that_is_gone_is_missing_from_the_facts_and_the_rest_of_them_is_as_before() {
    let world = World::new().await;
    for number in 1..=3 {
        world.service(number, "20 000 001", "completed").await;
    }
    world
        .batch(
            "INSERT INTO core_invoice (invoice_number, issued_date, due_date, status, created_at, updated_at, service_id, final_amount)
             SELECT 'INV-' || id, current_date, current_date, 'pending', now(), now(), id, CASE id WHEN 1 THEN 120.5 WHEN 2 THEN 0 END
             FROM core_service;
             INSERT INTO core_serviceitem (item_type, name, quantity, unit_price, service_id) SELECT 'part', 'Huile', 2, 12.34, id FROM core_service WHERE id > 1",
        )
        .await;
    let facts = async |without: &str| {
        let all = "SELECT string_agg(to_jsonb(f)::text, E'\n' ORDER BY ord) FROM
                   (SELECT ord, found, phone, state, at, amount, facts - 'MODEL' AS facts FROM sms_garage_facts(
                      ARRAY['service_completed', 'service_completed', 'invoice_created', 'invoice_created', 'invoice_created'],
                      ARRAY[1, 4711, 1, 2, 3])) f";
        world.value(&all.replace("MODEL", without)).await
    };
    let before = facts("car_model").await;
    assert!(before.contains("120.5") && before.contains("24.68"), "{before}");
    world.batch("ALTER TABLE core_car RENAME COLUMN model TO type").await;
    assert_eq!(facts("car_model").await, before);
    let missing = world.value("SELECT facts ->> 'car_model' FROM sms_garage_facts('{service_completed}', '{1}')").await;
    assert_eq!(missing, "");
    world.batch("ALTER TABLE core_car RENAME COLUMN type TO model").await;
    assert!(facts("nothing").await.contains("car_model"));
}

#[tokio::test]
async fn each_message_gets_its_own_facts_in_whatever_order_they_come() {
    let world = World::new().await;
    for number in 1..=3 {
        world.service(number, &format!("20 000 00{number}"), "in_progress").await;
    }
    world
        .batch(
            "UPDATE core_car SET model = 'Modele' || id;
             UPDATE core_service SET status = 'completed';
             ALTER FUNCTION sms_garage_facts RENAME TO in_order;
             CREATE FUNCTION sms_garage_facts(kinds text[], source_ids bigint[])
             RETURNS TABLE (ord int, found boolean, phone text, state text, at timestamptz, amount text, facts jsonb)
             LANGUAGE sql AS $$ SELECT * FROM in_order($1, $2) ORDER BY 1 DESC $$",
        )
        .await;
    let daemon = world.daemon().await;
    world.gateway_receives(3).await;
    world.settled().await;
    for number in 1..=3 {
        let recorded =
            world.value(&format!("SELECT recipient || body FROM sms_history WHERE source_id = {number}")).await;
        let car = world.value(&format!("SELECT car_id FROM core_service WHERE id = {number}")).await;
        assert!(recorded.starts_with(&format!("+2162000000{number}")), "{number}: {recorded}");
        assert!(recorded.contains(&format!("Modele{car}")), "{number}: {recorded}");
    }
    // The answer to one question twice, and none to another, is none at all.
    world.batch("CREATE OR REPLACE FUNCTION sms_garage_facts(kinds text[], source_ids bigint[])
             RETURNS TABLE (ord int, found boolean, phone text, state text, at timestamptz, amount text, facts jsonb)
             LANGUAGE sql AS $$ SELECT 2, f.found, f.phone, f.state, f.at, f.amount, f.facts FROM in_order($1, $2) f $$").await;
    world.service(4, "20 000 004", "in_progress").await;
    world.complete(4).await;
    world
        .value_becomes("SELECT status || ' ' || reason FROM sms_message WHERE source_id = 4", "failed template_error")
        .await;
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 3);
}
