//! Reminders of appointments: each goes out once, at its time, while it is true, whatever the application does to the
//! appointment meanwhile.
//!
//! Most of it is decided in the database, so most tests call the search there. Hours pass by moving every time that is
//! stored into the past.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fmt::Write as _;

use support::{BARE, World, shown, until};

/// An appointment of a service and customer of this number, at a time given in SQL, made long ago.
async fn appointment(world: &World, number: i64, at: &str) {
    world.service(number, &format!("20 000 {number:03}"), "scheduled").await;
    world.batch(&format!("UPDATE core_service SET created_at = now() - interval '90 days' WHERE id = {number}")).await;
    appoint(world, number, at).await;
}

async fn appoint(world: &World, number: i64, at: &str) {
    world.batch(&format!("UPDATE core_service SET scheduled_date = {at} WHERE id = {number}")).await;
}

/// One search; returns how many reminders it made.
async fn search(world: &World, offsets: &str) -> i64 {
    world.value(&format!("SELECT sms_garage_remind('{offsets}', 'Africa/Tunis', 500)")).await.parse().unwrap()
}

/// What became of the reminders of a service, in the order in which they were made.
async fn fates(world: &World, service: i64) -> String {
    world
        .value(&format!(
            "SELECT string_agg(concat_ws(' ', status, reason), ', ' ORDER BY id) FROM sms_message WHERE kind = 'appointment_reminder' AND source_id = {service}"
        ))
        .await
}

/// What the last withdrawn reminder of a service says.
async fn detail(world: &World, service: i64) -> String {
    world
        .value(&format!(
            "SELECT detail FROM sms_message WHERE source_id = {service} AND status <> 'queued' ORDER BY id DESC LIMIT 1"
        ))
        .await
}

/// All that waits is settled like this.
async fn settle(world: &World, status: &str, reason: &str) {
    world
        .batch(&format!(
            "SELECT sms_settle_by_hand(o.id, '{status}', {reason}, NULL) FROM (SELECT id FROM sms_outbox WHERE state = 'queued') o"
        ))
        .await;
}

async fn sent(world: &World) {
    settle(world, "sent", "NULL").await;
}

/// Time passes: all that is stored lies so much further back.
async fn pass(world: &World, time: &str) {
    world
        .batch(&format!(
            "UPDATE core_service SET scheduled_date = scheduled_date - interval '{time}', created_at = created_at - interval '{time}';
             UPDATE sms_reminder SET source_at = source_at - interval '{time}', created_at = created_at - interval '{time}';
             UPDATE sms_outbox SET source_at = source_at - interval '{time}', created_at = created_at - interval '{time}', next_at = next_at - interval '{time}';
             UPDATE sms_history SET source_at = source_at - interval '{time}', created_at = created_at - interval '{time}';"
        ))
        .await;
}

/// The setting as staff would change it, past the check.
async fn set_offsets(world: &World, offsets: &str) {
    world
        .batch(&format!(
            "ALTER TABLE sms_setting DISABLE TRIGGER sms_setting_check;
             UPDATE sms_setting SET value = '{offsets}', version = version + 1 WHERE name = 'appointment_reminder.offsets';
             ALTER TABLE sms_setting ENABLE TRIGGER sms_setting_check;"
        ))
        .await;
}

// The setting.

#[tokio::test]
async fn offsets_are_read_in_any_wording_and_known_by_one() {
    let world = World::new().await;
    for (written, expected) in [
        ("24h", "1 - - 24:00:00 24h"),
        ("1 day", "1 - - 24:00:00 24h"),
        ("90min, 2 hours", "1 - - 01:30:00 90min|2 - - 02:00:00 2h"),
        (" 1 DAY  at 18:00 ,\n2h", "1 1 18:00:00 - 1 day at 18:00|2 - - 02:00:00 2h"),
        ("0 days at 8:05", "1 0 08:05:00 - 0 days at 08:05"),
        ("30days at 00:00,30 days", "1 30 00:00:00 - 30 days at 00:00|2 - - 720:00:00 720h"),
        (
            "1.5s, 1h, 2h, 3h, 4h",
            "1 - - 00:00:01.5 1.5s|2 - - 01:00:00 1h|3 - - 02:00:00 2h|4 - - 03:00:00 3h|5 - - 04:00:00 4h",
        ),
    ] {
        let sql = format!(
            "SELECT string_agg(concat_ws(' ', ord, coalesce(days::text, '-'), coalesce(at::text, '-'), coalesce(before::text, '-'), wording), '|' ORDER BY ord)
             FROM sms_reminder_offsets('{written}')"
        );
        assert_eq!(world.value(&sql).await, expected, "{written}");
    }
}

#[tokio::test]
async fn a_bad_offset_is_refused_by_a_sentence_that_names_it() {
    let world = World::new().await;
    for (written, problem) in [
        ("'two hours'", "\"two hours\" is no time before an appointment"),
        ("'24h, 120'", "\"120\" is no time before an appointment"),
        ("'24h,,2h'", "\"\" is no time before an appointment"),
        ("'-2h'", "\"-2h\" is no time before an appointment"),
        ("'0h'", "\"0h\" is no time before an appointment"),
        ("'1 day at noon'", "\"1 day at noon\" is no time before an appointment"),
        ("'1 day 18:00 at'", "\"1 day 18:00 at\" is no time before an appointment"),
        ("'2h, 1 day at 24:00'", "\"1 day at 24:00\" has no time of day"),
        ("'1 day at 10:60'", "\"1 day at 10:60\" has no time of day"),
        ("'31 days'", "\"31 days\" is more than 30 days"),
        ("'31 days at 08:00'", "\"31 days at 08:00\" is more than 30 days"),
        ("'99999999999 days'", "\"99999999999 days\" is no time before an appointment"),
        ("'24h, 1 day'", "\"1 day\" is there twice"),
        ("''", "\"\" names 0 times"),
        ("NULL", "\"\" names 0 times"),
        ("'1h,2h,3h,4h,5h,6h'", "\"1h,2h,3h,4h,5h,6h\" names 6 times"),
    ] {
        let output = world.psql(&world.url, &format!("SELECT sms_reminder_offsets({written});\n")).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("ERROR:  ecar-sms: appointment_reminder.offsets: {problem}\n")),
            "{written}: {said}"
        );
        assert!(said.contains("HINT:  Write 1 to 5 times before the appointment"), "{written}: {said}");
    }
}

#[tokio::test]
async fn a_time_of_day_is_the_garages_own_on_both_sides_of_a_change_of_its_clocks() {
    let world = World::new().await;
    // 2026: Paris goes from +01 to +02 on 29 March at 02:00, and back on 25 October at 03:00.
    for (at, due, expected) in [
        ("2026-03-29 09:00+02", "1, '18:00', NULL", "2026-03-28 18:00+01"),
        ("2026-03-29 09:00+02", "NULL, NULL, '24:00:00'", "2026-03-28 08:00+01"),
        ("2026-03-29 09:00+02", "0, '08:00', NULL", "2026-03-29 08:00+02"),
        ("2026-03-29 09:00+02", "0, '02:30', NULL", "2026-03-29 03:30+02"),
        ("2026-10-25 09:00+01", "1, '18:00', NULL", "2026-10-24 18:00+02"),
        ("2026-10-25 09:00+01", "NULL, NULL, '24:00:00'", "2026-10-24 10:00+02"),
        ("2026-10-25 09:00+01", "0, '02:30', NULL", "2026-10-25 02:30+01"),
        ("2026-10-25 23:30+01", "30, '23:59', NULL", "2026-09-25 23:59+02"),
        // The day is the garage's, not the server's: this is the 2nd of January in Paris.
        ("2026-01-01 23:30+00", "1, '18:00', NULL", "2026-01-01 18:00+01"),
        ("2026-01-02 00:00+01", "1, '18:00', NULL", "2026-01-01 18:00+01"),
    ] {
        for zone_of_session in ["UTC", "Pacific/Auckland"] {
            let sql = format!(
                "SET timezone = '{zone_of_session}'; SELECT sms_reminder_due('{at}', {due}, 'Europe/Paris') = '{expected}'"
            );
            assert_eq!(world.value(&sql).await, "t", "{at}, {due}, {zone_of_session}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_keeps_the_lead_and_counts_what_was_reminded_as_made() {
    let old = |lead: &str| {
        let mut sql = String::from(
            "SET search_path = public, pg_temp;
             CREATE TABLE sms_migration (number int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp());\n",
        );
        for (number, text) in [
            include_str!("../sql/migrations/0001_outbox.sql"),
            include_str!("../sql/migrations/0002_settings.sql"),
            include_str!("../sql/migrations/0003_staff.sql"),
            include_str!("../sql/migrations/0004_ladder.sql"),
            include_str!("../sql/migrations/0005_guards.sql"),
            include_str!("../sql/migrations/0006_cheaper.sql"),
        ]
        .iter()
        .enumerate()
        {
            let _ = writeln!(sql, "{text}\nINSERT INTO sms_migration (number, name) VALUES ({}, 'x');", number + 1);
        }
        let _ = writeln!(sql, "SELECT sms_set('appointment_reminder.lead', '{lead}', 'Nour');");
        sql
    };
    for (lead, expected) in [
        ("24h", "24h"),
        ("36h", "36h"),
        ("1 day, 6 hours", "108000s"),
        ("02:00", "7200s"),
        ("60 days", "30 days"),
        ("0s", "24h"),
    ] {
        let world = World::from(BARE, ecar_sms::gateway::Script::default()).await;
        world.batch(&old(lead)).await;
        for number in 1..=4 {
            appointment(&world, number, "date_trunc('hour', now()) + interval '90 minutes'").await;
        }
        // Number 1 was reminded, number 2 waits for it; number 3 was reminded of another time.
        world
            .batch(
                "INSERT INTO sms_reminder (source_id, source_at) SELECT id, scheduled_date FROM core_service WHERE id <= 2;
                 INSERT INTO sms_reminder (source_id, source_at) SELECT id, scheduled_date + interval '1 hour' FROM core_service WHERE id = 3;
                 INSERT INTO sms_outbox (kind, source_id, source_at, requested_by, next_at)
                   SELECT 'appointment_reminder', source_id, source_at, NULL, now() FROM sms_reminder;",
            )
            .await;
        world.batch("SELECT sms_settle_by_hand(id, 'sent', NULL, NULL) FROM sms_outbox WHERE source_id <> 2").await;
        world.ok(["install"]).await;
        let setting = "SELECT concat_ws(' ', value, updated_by, version) FROM sms_setting WHERE name = 'appointment_reminder.offsets'";
        assert_eq!(world.value(setting).await, format!("{expected} Nour 2"), "{lead}");
        assert_eq!(world.count("SELECT count(*) FROM sms_setting WHERE name = 'appointment_reminder.lead'").await, 0);
        let enabled = world.value("SELECT value FROM sms_setting WHERE name = 'appointment_reminder.enabled'").await;
        assert_eq!(enabled, if lead == "0s" { "false" } else { "true" }, "no reminder was ever made with {lead}");
        let guard = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'sms_setting_check'";
        assert_eq!(world.value(guard).await, "O", "the check of the settings is back");

        assert_eq!(search(&world, "24h, 2h").await, 2, "numbers 3 and 4");
        assert_eq!(fates(&world, 1).await, "sent");
        assert_eq!(fates(&world, 2).await, "queued");
        assert_eq!(fates(&world, 3).await, "sent, queued");
        assert_eq!(fates(&world, 4).await, "queued");
        // Its message is known, so it can be withdrawn.
        appoint(&world, 2, "scheduled_date + interval '10 days'").await;
        assert_eq!(search(&world, "24h, 2h").await, 0);
        assert_eq!(fates(&world, 2).await, "skipped source_changed");
    }
}

// At its time, once.

#[tokio::test]
async fn each_offset_makes_one_reminder_in_its_turn_whatever_the_order_and_wording_of_the_list() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '25 hours'").await;
    assert_eq!(search(&world, "24h, 2h, 30min").await, 0, "not yet");
    pass(&world, "90 minutes").await;
    assert_eq!(search(&world, "24h, 2h, 30min").await, 1);
    sent(&world).await;
    for list in ["24h, 2h, 30min", "30min, 2h, 1 day", "1800s, 1440 min, 120 min"] {
        assert_eq!(search(&world, list).await, 0, "{list}");
    }
    pass(&world, "22 hours").await;
    assert_eq!(search(&world, "30min, 120min, 24h").await, 1, "two hours before");
    sent(&world).await;
    assert_eq!(search(&world, "24h, 2h, 30min").await, 0);
    pass(&world, "70 minutes").await;
    assert_eq!(search(&world, "24h, 2h, 30min").await, 1, "half an hour before");
    sent(&world).await;
    pass(&world, "30 minutes").await;
    assert_eq!(search(&world, "24h, 2h, 30min, 1s").await, 0, "it is over");
    assert_eq!(fates(&world, 1).await, "sent, sent, sent");
}

#[tokio::test]
async fn after_a_day_without_a_daemon_one_reminder_goes_out_and_the_missed_one_never() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '1 hour'").await;
    assert_eq!(search(&world, "1 day at 00:00, 24h, 2h").await, 1);
    assert_eq!(world.value("SELECT offset_key FROM sms_reminder").await, "2h");
    sent(&world).await;
    assert_eq!(search(&world, "1 day at 00:00, 24h, 2h").await, 0);
    assert_eq!(fates(&world, 1).await, "sent");
}

#[tokio::test]
async fn an_offset_that_staff_change_does_not_remind_those_again_who_were_reminded_since_it_fell_due() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '23 hours'").await;
    assert_eq!(search(&world, "24h").await, 1);
    sent(&world).await;
    assert_eq!(search(&world, "25h").await, 0, "they have heard of it an hour ago");
    assert_eq!(search(&world, "24h, 25h").await, 0);
    pass(&world, "22 hours").await;
    assert_eq!(search(&world, "25h, 90min").await, 1, "but not in the last 90 minutes");
}

#[tokio::test]
async fn an_appointment_made_at_short_notice_waits_for_the_next_offset_or_is_reminded_at_once() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '5 hours'").await;
    world.batch("UPDATE core_service SET created_at = now()").await;
    assert_eq!(search(&world, "24h, 2h").await, 0, "two hours before there is another");
    pass(&world, "200 minutes").await;
    assert_eq!(search(&world, "24h, 2h").await, 1);
    sent(&world).await;

    appointment(&world, 2, "now() + interval '5 hours'").await;
    world.batch("UPDATE core_service SET created_at = now() WHERE id = 2").await;
    assert_eq!(search(&world, "24h, 6h").await, 1, "no other follows");
    // An offset that would fall after the appointment is none that follows: here, the last minute of its day.
    let midnight =
        "(date_trunc('day', now() AT TIME ZONE 'Africa/Tunis') + interval '1 day') AT TIME ZONE 'Africa/Tunis'";
    appointment(&world, 3, midnight).await;
    world.batch("UPDATE core_service SET created_at = now() WHERE id = 3").await;
    assert_eq!(search(&world, "2 days, 0 days at 23:59").await, 1);
    assert_eq!(fates(&world, 3).await, "queued");
}

#[tokio::test]
async fn two_searches_at_once_make_each_reminder_once() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '5 hours'").await;
    let other = support::session(&world.url).await;
    other.batch("BEGIN; SELECT sms_garage_remind('24h', 'Africa/Tunis', 500)").await.unwrap();
    assert_eq!(search(&world, "24h").await, 0, "another one is at it");
    other.batch("COMMIT").await.unwrap();
    assert_eq!(search(&world, "24h").await, 0, "it has been made");
    other.batch("BEGIN; DELETE FROM sms_reminder; DELETE FROM sms_outbox; SELECT sms_garage_remind('24h', 'Africa/Tunis', 500); ROLLBACK").await.unwrap();
    assert_eq!(fates(&world, 1).await, "queued");
}

// While it is true.

#[tokio::test]
async fn a_reminder_that_waits_is_withdrawn_when_its_appointment_is_not_what_it_was() {
    let world = World::new().await;
    for number in 1..=6 {
        appointment(&world, number, "date_trunc('day', now()) + interval '34 hours'").await;
    }
    assert_eq!(search(&world, "35h").await, 6);
    appoint(&world, 1, "'2026-11-23 09:30+01'::timestamptz + interval '100 years'").await;
    world
        .batch(
            "UPDATE core_service SET status = 'cancelled' WHERE id = 2; UPDATE core_service SET status = 'completed' WHERE id = 3;
             DELETE FROM core_service WHERE id = 4; UPDATE core_service SET title = 'autre', updated_at = now() WHERE id = 5;",
        )
        .await;
    appoint(&world, 6, "scheduled_date - interval '10 days'").await;
    assert_eq!(search(&world, "35h").await, 0);
    for (number, said) in [
        (1, "the appointment was moved to 2126-11-23 09:30"),
        (2, "the appointment is now \"cancelled\""),
        (3, "the appointment is now \"completed\""),
        (4, "the appointment was deleted"),
    ] {
        assert_eq!(fates(&world, number).await, "skipped source_changed");
        assert_eq!(
            world
                .value(&format!(
                    "SELECT detail FROM sms_message WHERE kind = 'appointment_reminder' AND source_id = {number}"
                ))
                .await,
            said
        );
    }
    assert_eq!(fates(&world, 5).await, "queued", "a save that changes nothing of it");
    assert_eq!(fates(&world, 6).await, "skipped source_changed", "moved into the past");
    assert_eq!(search(&world, "35h").await, 0, "nothing is left to be done");

    world.batch("UPDATE core_service SET status = 'scheduled' WHERE id = 2").await;
    assert_eq!(search(&world, "35h").await, 1, "it takes place after all");
    assert_eq!(fates(&world, 2).await, "skipped source_changed, queued");
}

#[tokio::test]
async fn a_reminder_that_is_being_sent_or_that_staff_asked_for_is_left_alone() {
    let world = World::new().await;
    for number in 1..=3 {
        appointment(&world, number, "now() + interval '5 hours'").await;
    }
    assert_eq!(search(&world, "24h").await, 3);
    let claim = support::session(&world.url).await;
    claim.batch("BEGIN; SELECT id FROM sms_outbox WHERE source_id = 2 FOR UPDATE").await.unwrap();
    world.batch("UPDATE sms_outbox SET state = 'sending' WHERE source_id = 1").await;
    world
        .batch("INSERT INTO sms_outbox (kind, source_id, requested_by) VALUES ('appointment_reminder', 3, 'Nour')")
        .await;
    world.batch("UPDATE core_service SET status = 'cancelled'").await;
    assert_eq!(search(&world, "24h").await, 0);
    assert_eq!(fates(&world, 1).await, "sending");
    assert_eq!(fates(&world, 2).await, "queued", "its row is locked: nobody waits for it");
    assert_eq!(fates(&world, 3).await, "skipped source_changed, queued");
    claim.batch("ROLLBACK").await.unwrap();
    assert_eq!(search(&world, "24h").await, 0);
    assert_eq!(fates(&world, 2).await, "skipped source_changed");
}

#[tokio::test]
async fn an_appointment_that_comes_back_to_its_time_is_reminded_again_only_when_its_customer_last_heard_another_or_none()
 {
    let world = World::new().await;
    let (away, back) = ("scheduled_date + interval '1 hour'", "scheduled_date - interval '1 hour'");
    let (far, from_far) = ("scheduled_date + interval '10 days'", "scheduled_date - interval '10 days'");
    for number in 1..=5 {
        appointment(&world, number, "now() + interval '5 hours'").await;
    }
    // Number 1 is moved while its reminder waits; the others have been reminded.
    assert_eq!(search(&world, "24h").await, 5);
    appoint(&world, 1, far).await;
    assert_eq!(search(&world, "24h").await, 0);
    assert_eq!(fates(&world, 1).await, "skipped source_changed");
    sent(&world).await;
    appoint(&world, 1, from_far).await;
    assert_eq!(search(&world, "24h").await, 1, "withdrawn unsent");
    assert_eq!(fates(&world, 1).await, "skipped source_changed, queued");
    sent(&world).await;

    // Number 2: nobody spoke of the other time.
    appoint(&world, 2, far).await;
    assert_eq!(search(&world, "24h").await, 0);
    appoint(&world, 2, from_far).await;
    assert_eq!(search(&world, "24h").await, 0);
    assert_eq!(fates(&world, 2).await, "sent");

    // Number 3: the customer was told the other time.
    appoint(&world, 3, away).await;
    assert_eq!(search(&world, "24h").await, 1);
    sent(&world).await;
    appoint(&world, 3, back).await;
    assert_eq!(search(&world, "24h").await, 1);
    sent(&world).await;
    assert_eq!(search(&world, "24h").await, 0);
    assert_eq!(fates(&world, 3).await, "sent, sent, sent");

    // Number 4: the other time's reminder was made, and withdrawn before anybody heard it.
    appoint(&world, 4, away).await;
    assert_eq!(search(&world, "24h").await, 1);
    appoint(&world, 4, back).await;
    assert_eq!(search(&world, "24h").await, 0);
    assert_eq!(fates(&world, 4).await, "sent, skipped source_changed");

    // Number 5: the other time's reminder was skipped by the policy, at the claim.
    appoint(&world, 5, away).await;
    assert_eq!(search(&world, "24h").await, 1);
    settle(&world, "skipped", "'source_changed'").await;
    appoint(&world, 5, back).await;
    assert_eq!(search(&world, "24h").await, 0);
    appoint(&world, 5, away).await;
    assert_eq!(search(&world, "24h").await, 1);
}

#[tokio::test]
async fn what_was_refused_expired_or_cancelled_by_staff_is_not_made_again() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '5 hours'").await;
    for (status, reason) in [
        ("skipped", "no_phone"),
        ("skipped", "disabled"),
        ("expired", "too_old"),
        ("failed", "rejected"),
        ("cancelled", "cancelled_by_staff"),
        // Staff sent it again as another message.
        ("cancelled", "superseded"),
        ("unknown", "superseded"),
    ] {
        world.batch("DELETE FROM sms_reminder; DELETE FROM sms_history").await;
        assert_eq!(search(&world, "24h").await, 1);
        settle(&world, status, &format!("'{reason}'")).await;
        assert_eq!(search(&world, "24h").await, 0, "{status} {reason}");
    }
}

#[tokio::test]
async fn of_two_reminders_of_one_service_only_the_later_one_waits() {
    let world = World::new().await;
    for number in 1..=3 {
        appointment(&world, number, "now() + interval '5 hours'").await;
    }
    assert_eq!(search(&world, "24h, 2h").await, 3);
    // Number 2 may have been sent before. Number 3 is being sent.
    world.batch("UPDATE sms_outbox SET doubt = 1 WHERE source_id = 2; UPDATE sms_outbox SET state = 'sending' WHERE source_id = 3").await;
    pass(&world, "200 minutes").await;
    assert_eq!(search(&world, "24h, 2h").await, 3);
    assert_eq!(fates(&world, 1).await, "skipped superseded, queued");
    let later = world.count("SELECT id FROM sms_outbox WHERE source_id = 1").await;
    assert_eq!(detail(&world, 1).await, format!("message {later} takes its place (2h)"));
    assert_eq!(fates(&world, 2).await, "unknown superseded, queued");
    assert_eq!(fates(&world, 3).await, "sending, queued");
    assert_eq!(search(&world, "24h, 2h").await, 0);
}

// At size, and whatever happens to the database.

/// Many services of one car, all appointments at a time given in SQL for the number `i`.
async fn appointments(world: &World, from: i64, to: i64, status: &str, at: &str) {
    world
        .batch(&format!(
            "INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
             SELECT i, 'Vidange', '', '{status}', {at}, now() - interval '90 days', now(), 1, false FROM generate_series({from}, {to}) i"
        ))
        .await;
}

#[tokio::test]
async fn ten_thousand_appointments_at_once_get_one_reminder_each_in_batches() {
    let mut world = World::new().await;
    world.service(1, "20 000 001", "in_progress").await;
    appointments(&world, 10_001, 20_000, "scheduled", "now() + interval '20 hours' + i * interval '1 millisecond'")
        .await;
    for _ in 0..3 {
        assert_eq!(search(&world, "24h").await, 500);
    }
    // Without a key reminders are made, and wait.
    world.set("SMS_API_KEY", "");
    let daemon = world.daemon().await;
    let made =
        "SELECT count(*) || ' ' || count(DISTINCT source_id) FROM sms_message WHERE kind = 'appointment_reminder'";
    world.value_becomes(made, "10000 10000").await;
    daemon.stop().await;
    assert_eq!(search(&world, "24h").await, 0);
    world.batch("UPDATE core_service SET status = 'cancelled' WHERE id > 10001").await;
    let mut searches = 0;
    until("all but one are withdrawn", async || {
        searches += 1;
        assert_eq!(search(&world, "24h").await, 0);
        world.count("SELECT count(*) FROM sms_outbox").await == 1
    })
    .await;
    assert_eq!(searches, 20, "500 at a time");
    assert_eq!(fates(&world, 10_001).await, "queued");
}

/// The plans of one search, as the server reports them: every scan that reads a table from end to end.
fn sequential_scans(reported: &str) -> Vec<String> {
    reported
        .lines()
        .filter_map(|line| line.split_once("Seq Scan on ").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned()))
        .collect()
}

#[tokio::test]
async fn a_search_reads_the_services_once_and_nothing_else_from_end_to_end() {
    let world = World::new().await;
    world.service(1, "20 000 001", "in_progress").await;
    appointments(&world, 2, 97_000, "cancelled", "now() - i * interval '1 minute'").await;
    appointments(&world, 97_001, 99_000, "scheduled", "now() + i * interval '1 minute' - interval '66 days'").await;
    appointments(
        &world,
        99_001,
        100_000,
        "scheduled",
        "now() + interval '3 hours' + i * interval '1 second' - interval '27 hours'",
    )
    .await;
    world
        .batch(
            "INSERT INTO sms_outbox (kind, recipient, body, state) SELECT 'custom', '20 000 001', 'x', 'held' FROM generate_series(1, 200000);
             INSERT INTO sms_history (id, kind, source_id, status, attempts, created_at)
               SELECT i, 'service_completed', i % 100000, 'sent', 1, now() FROM generate_series(1, 200000) i;
             INSERT INTO sms_reminder (source_id, source_at, offset_key, message_id, withdrawn)
               SELECT i, now() - i * interval '1 minute', '24h', i, false FROM generate_series(2, 20000) i;",
        )
        .await;
    let searches = "SELECT sms_garage_remind('1 day at 18:00, 24h, 2h', 'Africa/Tunis', 500);\n\\warn ---\n".repeat(8);
    for analyzed in ["not analyzed", "analyzed"] {
        // What each search has to do: make, replace, withdraw, note what has settled.
        let script = format!(
            "\\set ON_ERROR_STOP on
             {analyze}
             LOAD 'auto_explain';
             SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_level = notice;
             SET auto_explain.log_timing = off;
             {searches}
             SET auto_explain.log_min_duration = -1;
             UPDATE core_service SET status = 'cancelled' WHERE id BETWEEN 99001 AND 99100;
             UPDATE core_service SET scheduled_date = scheduled_date + interval '1 minute' WHERE id BETWEEN 99101 AND 99200 AND status = 'scheduled';
             SELECT count(sms_settle_by_hand(o.id, 'sent', NULL, NULL)) FROM (SELECT id FROM sms_outbox WHERE source_id BETWEEN 99201 AND 99300) o;
             \\warn ---
             SET auto_explain.log_min_duration = 0;
             {searches}",
            analyze = if analyzed == "analyzed" { "ANALYZE;" } else { "" }
        );
        let output = world.psql(&world.url, &script).await;
        assert!(output.status.success(), "{}", shown(&output));
        let reported = String::from_utf8_lossy(&output.stderr);
        let parts: Vec<&str> = reported.split("---\n").collect();
        assert_eq!(parts.len(), 18);
        let looks: Vec<&&str> = parts.iter().filter(|part| part.contains("core_service s")).collect();
        assert_eq!(looks.len(), 16, "{analyzed}: the server reports every search");
        for look in looks {
            let scans = sequential_scans(look);
            assert!(
                scans.iter().filter(|table| *table == "core_service").count() <= 1,
                "{analyzed}: {scans:?}\n{look}"
            );
            let ours = scans.iter().any(|table| table.starts_with("sms_"));
            assert!(!ours, "{analyzed}: {scans:?}\n{look}");
        }
    }
    let fates = world
        .value(
            "SELECT string_agg(concat_ws(' ', n, status, reason), ', ' ORDER BY status, reason) FROM (
               SELECT status, reason, count(*) > 90 AS n FROM sms_message WHERE source_id BETWEEN 99001 AND 99300 AND kind = 'appointment_reminder' GROUP BY 1, 2) f",
        )
        .await;
    assert_eq!(fates, "t queued, t sent, t skipped source_changed", "everything was done");
}

#[tokio::test]
async fn a_column_of_the_garage_that_is_gone_stops_reminders_with_an_error_and_nothing_else() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '5 hours'").await;
    world.batch("ALTER TABLE core_service RENAME COLUMN created_at TO born_at").await;
    let daemon = world.daemon().await;
    until("the daemon says what is wrong", async || daemon.log().contains("the search for appointments failed")).await;
    assert!(daemon.log().contains("created_at"), "{}", daemon.log());
    let other = world.enqueue("20 000 002", "Bonjour").await;
    world.status_becomes(other, "sent").await;
    daemon.stop().await;
    assert_eq!(fates(&world, 1).await, "");
    world.batch("ALTER TABLE core_service RENAME COLUMN born_at TO created_at").await;
    let daemon = world.daemon().await;
    world.gateway_receives(2).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_locked_table_of_the_garage_is_not_waited_for() {
    let world = World::new().await;
    appointment(&world, 1, "now() + interval '5 hours'").await;
    let holder = support::session(&world.url).await;
    holder.batch("BEGIN; LOCK TABLE core_service IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // Should it wait after all, then not for ever.
    let script = "\\set VERBOSITY sqlstate\nSET statement_timeout = '20s';\n\
                  SELECT sms_garage_remind('24h', 'Africa/Tunis', 500);\n";
    let output = world.psql(&world.url, script).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("ERROR:  55P03"), "{}", shown(&output));
    holder.batch("COMMIT").await.unwrap();
    assert_eq!(search(&world, "24h").await, 1);
}

// With the daemon.

#[tokio::test]
async fn a_daemon_that_was_stopped_for_a_day_sends_one_reminder_and_a_restart_none() {
    let world = World::new().await;
    set_offsets(&world, "24h, 2h").await;
    appointment(&world, 1, "now() + interval '25 hours'").await;
    let daemon = world.daemon().await;
    let before = world.enqueue("20 000 900", "Bonjour").await;
    world.status_becomes(before, "sent").await;
    daemon.stop().await;
    assert_eq!(fates(&world, 1).await, "", "not yet");
    pass(&world, "24 hours").await;
    for _ in 0..2 {
        let daemon = world.daemon().await;
        world.gateway_receives(2).await;
        world.settled().await;
        daemon.stop().await;
    }
    assert_eq!(search(&world, "2h, 24h").await, 0);
    assert_eq!(fates(&world, 1).await, "sent");
    assert_eq!(world.gateway.count(), 2, "{}", world.state().await);
}

#[tokio::test]
async fn an_appointment_without_a_time_of_day_is_reminded_the_evening_before_by_its_date() {
    let world = World::new().await;
    let midnight =
        "(date_trunc('day', now() AT TIME ZONE 'Africa/Tunis') + interval '1 day') AT TIME ZONE 'Africa/Tunis'";
    appointment(&world, 1, midnight).await;
    assert_eq!(search(&world, "0 days at 08:00").await, 0, "at eight of that day its midnight is over");
    // The day before, as soon as that day has begun: a late appointment of tomorrow as well.
    appointment(&world, 2, &format!("{midnight} + interval '23 hours 59 minutes'")).await;
    assert_eq!(search(&world, "1 day at 00:00").await, 2);
    world.batch("DELETE FROM sms_outbox; DELETE FROM sms_reminder; DELETE FROM core_service WHERE id = 2").await;
    set_offsets(&world, "1 day at 00:00, 0 days at 08:00").await;
    let daemon = world.daemon().await;
    world.gateway_receives(1).await;
    world.settled().await;
    daemon.stop().await;
    let date = world.value(&format!("SELECT to_char({midnight} AT TIME ZONE 'Africa/Tunis', 'DD/MM/YYYY')")).await;
    assert_eq!(
        world.gateway.received()[0].message,
        format!(
            "Bonjour Sami, rappel de votre rendez-vous pour votre Kia Rio le {date}. En cas d'empechement, merci de nous contacter."
        )
    );
}

#[tokio::test]
async fn a_reminder_that_could_not_go_out_is_replaced_and_the_customer_gets_one() {
    let mut world = World::new().await;
    set_offsets(&world, "24h, 2h").await;
    appointment(&world, 1, "now() + interval '5 hours'").await;
    world.set("SMS_API_KEY", "");
    let daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_outbox WHERE state = 'queued'", "1").await;
    daemon.stop().await;
    pass(&world, "200 minutes").await;
    let daemon = world.daemon().await;
    world.value_becomes("SELECT count(*) FROM sms_history WHERE reason = 'superseded'", "1").await;
    daemon.stop().await;
    world.set("SMS_API_KEY", support::API_KEY);
    let daemon = world.daemon().await;
    world.gateway_receives(1).await;
    world.settled().await;
    daemon.stop().await;
    assert_eq!(fates(&world, 1).await, "skipped superseded, sent");
    assert_eq!(world.gateway.count(), 1);
}
