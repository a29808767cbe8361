//! The right time: what falls outside of the hours waits, what would be too old expires, nothing is sent twice or lost; and services
//! of one customer told together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use serde_json::Value;
use support::World;

/// Hours in the garage's zone that begin this far from now; never now. Rounded to minutes.
async fn hours_from_now(world: &World, from: &str, to: &str) -> String {
    world
        .value(&format!(
            "SELECT to_char(now() AT TIME ZONE 'Africa/Tunis' + interval '{from}', 'HH24:MI') || '-' || to_char(now() AT TIME ZONE 'Africa/Tunis' + interval '{to}', 'HH24:MI')"
        ))
        .await
}

async fn close(world: &World, category: &str) {
    let hours = hours_from_now(world, "2 hours", "4 hours").await;
    world
        .batch(&format!(
            "SELECT sms_set('{category}.hours', '{hours}'), sms_set('{category}.ramadan_hours', '{hours}')"
        ))
        .await;
}

const WAITING: &str = "SELECT count(*) FROM sms_outbox WHERE state = 'queued' AND reason = 'quiet_hours' AND next_at > now() + interval '90 minutes'";

#[tokio::test]
async fn what_falls_outside_of_the_hours_waits_for_them_and_goes_out_once_when_they_come() {
    let world = World::new().await;
    for category in ["transactional", "service", "marketing"] {
        close(&world, category).await;
    }
    world.batch("SELECT sms_consent_give('20 000 003', 'formulaire', 'oui')").await;
    let daemon = world.daemon().await;
    // Just completed, and asked for by hand: the customer waits for it.
    world.service(1, "20 000 001", "in_progress").await;
    world.complete(1).await;
    world.enqueue("20 000 002", "Bonjour").await;
    world.gateway_receives(2).await;
    // An old event, marketing, and a reminder wait.
    world.batch("
        INSERT INTO sms_outbox (kind, source_id, requested_by, created_at) VALUES ('service_completed', 1, NULL, now() - interval '1 hour');
        INSERT INTO sms_outbox (kind, recipient, body) VALUES ('campaign', '20 000 003', 'Promotion');").await;
    world.service(4, "20 000 004", "scheduled").await;
    world.batch("UPDATE core_service SET scheduled_date = now() + interval '3 days' WHERE id = 4;
        INSERT INTO sms_outbox (kind, source_id, source_at, requested_by) SELECT 'appointment_reminder', 4, scheduled_date, NULL FROM core_service WHERE id = 4").await;
    world.value_becomes(WAITING, "3").await;
    assert_eq!(world.gateway.count(), 2);
    let id = world.value("SELECT id FROM sms_outbox WHERE kind = 'campaign'").await;
    let shown = world.ok(["show", &id]).await;
    assert!(shown.contains("no marketing messages go out") && shown.contains("the next hour is"), "{shown}");
    // A restart changes nothing of it.
    daemon.stop().await;
    let _daemon = world.daemon().await;
    world.value_becomes(WAITING, "3").await;
    // Wider hours are in force at once, also for what waits.
    world
        .batch(
            "SELECT sms_set('transactional.hours', '00:00-24:00'), sms_set('service.hours', '00:00-24:00'), sms_set('marketing.hours', '00:00-24:00')",
        )
        .await;
    world.gateway_receives(5).await;
    world.settled().await;
    assert_eq!(world.gateway.count(), 5);
    assert_eq!(world.count("SELECT count(*) FROM sms_history WHERE status = 'sent'").await, 5);
}

#[tokio::test]
async fn a_holiday_and_the_hours_of_ramadan_hold_marketing_back_and_nothing_else() {
    let world = World::new().await;
    world.batch("SELECT sms_consent_give('20 000 003', 'formulaire', 'oui'); SELECT sms_set('marketing.holidays', 'closed')").await;
    let _daemon = world.daemon().await;
    let today = world.value("SELECT (now() AT TIME ZONE 'Africa/Tunis')::date").await;
    let closed = hours_from_now(&world, "2 hours", "4 hours").await;
    let mut waiting = 0;
    for (close, open) in [
        (format!("SELECT sms_set('holidays', '{today}')"), "SELECT sms_set('holidays', '')"),
        (
            format!("SELECT sms_set('ramadan', '{today}..{today}'), sms_set('marketing.ramadan_hours', '{closed}')"),
            "SELECT sms_set('ramadan', '')",
        ),
    ] {
        world.batch(&close).await;
        world.batch("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('campaign', '20 000 003', 'Promotion'), ('custom', '20 000 003', 'Bonjour')").await;
        waiting += 2;
        world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state = 'queued' AND reason = 'quiet_hours' AND kind = 'campaign'", "1").await;
        world.gateway_receives(waiting - 1).await;
        // At midnight the day may have passed meanwhile; the message goes out in any case, once.
        world.batch(open).await;
        world.gateway_receives(waiting).await;
        world.settled().await;
        assert_eq!(world.gateway.count(), waiting);
    }
}

#[tokio::test]
async fn with_the_strict_setting_even_a_fresh_event_waits() {
    let world = World::new().await;
    close(&world, "transactional").await;
    world.batch("SELECT sms_set('transactional.prompt', '0')").await;
    let _daemon = world.daemon().await;
    world.service(1, "20 000 001", "in_progress").await;
    world.complete(1).await;
    world.value_becomes(WAITING, "1").await;
    world.batch("SELECT sms_set('transactional.prompt', '15min')").await;
    world.gateway_receives(1).await;
}

#[tokio::test]
async fn what_would_be_too_old_when_the_hours_come_expires_and_says_so() {
    let world = World::new().await;
    close(&world, "transactional").await;
    world.batch("SELECT sms_set('service_completed.validity', '2h')").await;
    let _daemon = world.daemon().await;
    world.service(1, "20 000 001", "completed").await;
    world.batch("DELETE FROM sms_outbox; INSERT INTO sms_outbox (kind, source_id, requested_by, created_at) VALUES ('service_completed', 1, NULL, now() - interval '1 hour')").await;
    world
        .value_becomes(
            "SELECT status || ' ' || reason FROM sms_message WHERE created_at < now() - interval '30 minutes'",
            "expired quiet_hours",
        )
        .await;
    let id = world.value("SELECT id FROM sms_message WHERE status = 'expired'").await;
    let message: Value = serde_json::from_str(&world.ok(["show", &id, "--json"]).await).unwrap();
    assert!(message["detail"].as_str().unwrap().contains("service_completed.validity"), "{message}");
}

#[tokio::test]
async fn a_thousand_that_wait_for_the_same_hour_do_not_leave_in_its_first_second() {
    let world = World::new().await;
    close(&world, "marketing").await;
    world
        .batch("SELECT sms_consent_give('20 000 001', 'formulaire', 'oui'); SELECT sms_set('window_spread', '30min')")
        .await;
    world.batch("INSERT INTO sms_outbox (kind, recipient, body) SELECT 'campaign', '20 000 001', 'Promotion' || i FROM generate_series(1, 1000) i").await;
    let _daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE reason = 'quiet_hours'", "1000").await;
    let minutes = world.count("SELECT count(DISTINCT date_trunc('minute', next_at)) FROM sms_outbox").await;
    assert!((25..=32).contains(&minutes), "{minutes}");
    let most = world.count("SELECT max(n) FROM (SELECT count(*) AS n FROM sms_outbox GROUP BY date_trunc('minute', next_at)) per_minute").await;
    assert!(most < 80, "{most}");
}

#[tokio::test]
async fn hours_days_and_dates_that_are_none_are_refused() {
    let world = World::new().await;
    for (name, value) in [
        ("marketing.hours", "9-20"),
        ("marketing.hours", ""),
        ("marketing.hours", "09:00-09:00"),
        ("marketing.hours", "09:00-20:00,"),
        ("marketing.hours", "25:00-26:00"),
        ("marketing.days", "monday"),
        ("marketing.days", ""),
        ("holidays", "13-01"),
        ("holidays", "2027-02-30"),
        ("ramadan", "2027-03-09..2027-02-08"),
        ("ramadan", "soon"),
        ("marketing.holidays", "maybe"),
        ("custom.category", "spam"),
        ("default_lang", "French"),
        ("segment_price", "-1"),
        ("segment_price", "cheap"),
        ("custom.encoding", "latin1"),
    ] {
        let error = world.sql.batch(&format!("SELECT sms_set('{name}', '{value}')")).await.unwrap_err().to_string();
        assert!(error.contains(name), "{name} {value}: {error}");
    }
    for (name, value) in [
        ("marketing.hours", "10:00-12:00, 20:30-24:00"),
        ("marketing.hours", "21:00-02:00"),
        ("marketing.days", "Mon-Thu, sat"),
        ("holidays", ""),
        ("holidays", "02-29, 2027-03-10"),
        ("ramadan", "2027-02-08..2027-03-09"),
        ("segment_price", "0.035"),
    ] {
        world.batch(&format!("SELECT sms_set('{name}', '{value}')")).await;
    }
    // What the database takes, the daemon reads.
    let _daemon = world.daemon().await;
    world.enqueue("20 000 001", "Bonjour").await;
    world.gateway_receives(1).await;
}

#[tokio::test]
async fn services_of_one_customer_finished_within_the_time_are_told_in_one_text() {
    let world = World::new().await;
    world.batch("SELECT sms_set('service_completed.join', '3s')").await;
    let daemon = world.daemon().await;
    // Two cars and a second job on the first, of one customer; one of another.
    world.service(1, "20 000 001", "in_progress").await;
    world.service(2, "20 000 002", "in_progress").await;
    world.batch("
        INSERT INTO core_car (id, make, model, year, license_plate, fuel_type, mileage, created_at, updated_at, customer_id, initial_mileage)
        VALUES (10, 'Peugeot', '208', 2020, '10 TN 1', 'gasoline', 1, now(), now(), 1, 0);
        INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
        VALUES (10, 'Pneus', '', 'in_progress', now(), now(), now(), 10, false), (11, 'Freins', '', 'in_progress', now(), now(), now(), 1, false)").await;
    world.batch("UPDATE core_service SET status = 'completed' WHERE id IN (1, 2, 10)").await;
    // Each waits since its event, however long it took to look at it; so they are due together, and before the next.
    let due = "SELECT string_agg(DISTINCT (next_at - created_at)::text, ' ') FROM sms_outbox WHERE reason = 'joining' HAVING count(*) = 3";
    world.value_becomes(due, "00:00:03").await;
    world.value_becomes("SELECT min(next_at) < now() + interval '2 seconds' FROM sms_outbox", "t").await;
    world.complete(11).await;
    world.gateway_receives(2).await;
    world.settled().await;
    daemon.stop().await;
    assert_eq!(world.gateway.count(), 2);
    let told = world.received_by("+21620000001")[0].message.clone();
    assert_eq!(
        told,
        "Bonjour Sami, votre service pour Kia Rio et Peugeot 208 est terminé. Merci de nous contacter pour récupérer votre véhicule."
    );
    assert_eq!(world.received_by("+21620000002")[0].message, told.replace(" et Peugeot 208", ""));
    let fates = world.value("SELECT string_agg(source_id || ' ' || status || coalesce(' ' || reason, ''), ', ' ORDER BY source_id) FROM sms_message").await;
    assert_eq!(fates, "1 sent, 2 sent, 10 skipped joined, 11 skipped joined");
    let id = world.value("SELECT id FROM sms_message WHERE source_id = 10").await;
    let head = world.value("SELECT id FROM sms_message WHERE source_id = 1").await;
    assert!(world.value(&format!("SELECT detail FROM sms_message WHERE id = {id}")).await.ends_with(&head));
    // Sent again, it tells them again.
    world.batch(&format!("SELECT sms_resend({head})")).await;
    let _daemon = world.daemon().await;
    world.gateway_receives(3).await;
    assert_eq!(world.gateway.received()[2].message, told);
}

#[tokio::test]
async fn services_that_are_due_in_the_same_moment_are_told_together_whoever_claims_them() {
    const CUSTOMERS: usize = 60;
    let world = World::new().await;
    world.batch("SELECT sms_set('service_completed.join', '2s'), sms_set('stampede_limit', '0')").await;
    for customer in 1..=CUSTOMERS {
        let number = i64::try_from(customer).unwrap();
        world.service(number, &format!("20 000 {customer:03}"), "in_progress").await;
        world
            .batch(&format!(
                "INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
                 VALUES ({number} + 1000, 'Freins', '', 'in_progress', now(), now(), now(), {number}, false)"
            ))
            .await;
    }
    let one = world.daemon().await;
    let mut other = world.command(["-v", "run"]);
    let state = world.directory().join("other");
    std::fs::create_dir(&state).unwrap();
    other.env("ECAR_SMS_SOCKET", world.directory().join("other.sock")).env("STATE_DIRECTORY", &state);
    let two = world.spawn(other);
    support::until("both work", async || {
        two.log().contains("daemons=2") && two.log().contains("listening") && one.log().contains("daemons=2")
    })
    .await;
    for number in 1..=i64::try_from(CUSTOMERS).unwrap() {
        world.complete(number).await;
        world.complete(number + 1000).await;
    }
    world.gateway_receives(CUSTOMERS).await;
    world.settled().await;
    assert_eq!(world.gateway.count(), CUSTOMERS);
    assert_eq!(world.count("SELECT count(*) FROM sms_history WHERE reason = 'joined'").await, 60);
    assert_eq!(world.count("SELECT count(DISTINCT recipient) FROM sms_history WHERE status = 'sent'").await, 60);
}

#[tokio::test]
async fn of_two_services_in_two_claims_the_first_to_go_out_takes_the_other_and_what_goes_out_is_not_taken() {
    let world = World::new().await;
    for number in 1..=3 {
        world.service(number, "20 000 001", "completed").await;
    }
    world
        .batch(
            "DELETE FROM sms_outbox;
             INSERT INTO sms_outbox (kind, source_id, requested_by) SELECT 'service_completed', i, NULL FROM generate_series(1, 3) i;
             UPDATE sms_outbox SET state = 'sending', attempt = 1, lease_token = source_id, lease_until = now() + interval '1 hour', next_at = now(),
                    reason = CASE WHEN source_id < 3 THEN 'joining' END",
        )
        .await;
    let tie = async |source: i64| {
        let ids = "(SELECT array_agg(id ORDER BY id) FROM sms_outbox)";
        let tied = format!(
            "SELECT coalesce(array_to_string(sms_join((SELECT o.id FROM sms_outbox o WHERE source_id = {source}), {source}, '+21620000001', {ids}), ','), 'taken')"
        );
        world.value(&tied).await
    };
    // Nobody may take the third along: it has not waited, and its claim does not ask.
    let first = world.value("SELECT id FROM sms_outbox WHERE source_id = 1").await;
    assert_eq!(tie(2).await, first);
    assert_eq!(tie(1).await, "taken");
    // The second goes out now, and is not taken by the third.
    assert_eq!(tie(3).await, "");
    assert_eq!(world.value("SELECT string_agg(source_id || coalesce(array_to_string(joined, ','), '-'), ' ' ORDER BY id) FROM sms_outbox").await, "21 3");
}

#[tokio::test]
async fn a_service_that_is_being_claimed_while_another_of_its_customer_speaks_is_waited_for() {
    let world = World::new().await;
    for number in 1..=2 {
        world.service(number, "20 000 001", "completed").await;
    }
    world
        .batch(
            "DELETE FROM sms_outbox;
             INSERT INTO sms_outbox (kind, source_id, requested_by) SELECT 'service_completed', i, NULL FROM generate_series(1, 2) i;
             UPDATE sms_outbox SET next_at = now(), reason = 'joining';
             UPDATE sms_outbox SET state = 'sending', attempt = 1, lease_token = 1, lease_until = now() + interval '1 hour' WHERE source_id = 1",
        )
        .await;
    let claim = support::session(&world.url).await;
    let claiming = "UPDATE sms_outbox SET state = 'sending', attempt = 1, lease_token = 2, lease_until = now() + interval '1 hour' WHERE source_id = 2";
    let tie = "SELECT array_to_string(sms_join((SELECT id FROM sms_outbox WHERE source_id = 1), 1, '+21620000001', (SELECT array_agg(id) FROM sms_outbox)), ',')";
    claim.batch(&format!("BEGIN; {claiming}")).await.unwrap();
    let second = world.value("SELECT id FROM sms_outbox WHERE source_id = 2").await;
    let end_of_the_claim = async {
        world
            .value_becomes(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
                "1",
            )
            .await;
        claim.batch("COMMIT").await.unwrap();
    };
    let speaking = support::session(&world.url).await;
    let ((), taken) = tokio::join!(end_of_the_claim, speaking.texts(tie));
    assert_eq!(taken.unwrap()[0][0], Some(second));
    // Somebody who works on it by hand and takes his time is not waited for.
    world.batch("INSERT INTO sms_outbox (kind, source_id, requested_by) VALUES ('service_completed', 2, NULL); UPDATE sms_outbox SET next_at = now(), reason = 'joining' WHERE source_id = 2").await;
    claim.batch("BEGIN; SELECT FROM sms_outbox WHERE source_id = 2 FOR UPDATE").await.unwrap();
    assert_eq!(world.value(tie).await, "");
    claim.batch("COMMIT").await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM sms_outbox").await, 2);
}

#[tokio::test]
async fn hours_that_change_while_a_message_is_looked_at_by_the_old_ones_are_in_force_for_it_too() {
    let world = World::new().await;
    close(&world, "marketing").await;
    world.batch("SELECT sms_consent_give('20 000 003', 'formulaire', 'oui')").await;
    let _daemon = world.daemon().await;
    let staff = support::session(&world.url).await;
    staff.batch("BEGIN; SELECT sms_set('marketing.hours', '00:00-24:00'), sms_set('marketing.ramadan_hours', '00:00-24:00')").await.unwrap();
    world.batch("INSERT INTO sms_outbox (kind, recipient, body) VALUES ('campaign', '20 000 003', 'Promotion')").await;
    world.value_becomes(WAITING, "1").await;
    staff.batch("COMMIT").await.unwrap();
    world.gateway_receives(1).await;
    world.settled().await;
    assert_eq!(world.gateway.count(), 1);
}

#[tokio::test]
async fn a_joined_text_survives_a_kill_and_tells_each_service_once() {
    let mut world = World::new().await;
    world.batch("SELECT sms_set('service_completed.join', '1s')").await;
    world.service(1, "20 000 001", "in_progress").await;
    world.batch("
        INSERT INTO core_car (id, make, model, year, license_plate, fuel_type, mileage, created_at, updated_at, customer_id, initial_mileage)
        VALUES (10, 'Peugeot', '208', 2020, '10 TN 1', 'gasoline', 1, now(), now(), 1, 0);
        INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
        VALUES (10, 'Pneus', '', 'in_progress', now(), now(), now(), 10, false)").await;
    world.complete(1).await;
    world.complete(10).await;
    // Both have waited when the daemon looks: one claim takes them.
    world.value_becomes("SELECT min(clock_timestamp() - created_at) > interval '1 second' FROM sms_outbox", "t").await;
    // Dies when the second has been tied to the first, before anything is written.
    world.set("ECAR_SMS_CRASH", "before_journal_begin");
    let mut killed = world.spawn_daemon();
    killed.ended().await;
    world.value_becomes("SELECT count(*) FROM sms_history WHERE reason = 'joined'", "1").await;
    assert_eq!(world.gateway.count(), 0);
    world.environment.clear();
    let _daemon = world.daemon().await;
    world.gateway_receives(1).await;
    world.settled().await;
    let told = world.gateway.received()[0].message.clone();
    assert!(told.contains("Kia Rio et Peugeot 208") || told.contains("Peugeot 208 et Kia Rio"), "{told}");
    assert_eq!(world.gateway.count(), 1);
}
