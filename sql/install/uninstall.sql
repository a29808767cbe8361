-- Takes every trace out again, the triggers on the garage's tables first. Nothing here is an error when it is gone already.
DO $$
BEGIN
  IF to_regclass('core_service') IS NOT NULL THEN DROP TRIGGER IF EXISTS sms_garage_service ON core_service; DROP TRIGGER IF EXISTS sms_garage_service_born ON core_service; END IF;
  IF to_regclass('core_invoice') IS NOT NULL THEN DROP TRIGGER IF EXISTS sms_garage_invoice ON core_invoice; END IF;
END $$;
DROP VIEW IF EXISTS sms_message;
DROP TABLE IF EXISTS sms_outbox, sms_history, sms_attempt, sms_event, sms_receipt, sms_reminder, sms_owner, sms_setting, sms_template, sms_contact, sms_consent, sms_optout_import, sms_inbound, sms_awaited, sms_quota, sms_installation, sms_migration;
DROP SEQUENCE IF EXISTS sms_wake;
DROP FUNCTION IF EXISTS sms_garage_service(), sms_garage_invoice(), sms_garage_enqueue(text, bigint), sms_garage_enqueue(text, bigint, text), sms_garage_is_history(text, text), sms_garage_event(text, bigint), sms_garage_care(text, text, jsonb, jsonb), sms_garage_facts(text[], bigint[]),
  sms_garage_remind(bigint, bigint), sms_garage_remind(text, text, bigint), sms_garage_withdraw(text, bigint), sms_reminder_withdraw(bigint[], text, text[]),
  sms_reminder_due(timestamptz, int, time, interval, text), sms_reminder_offsets(text), sms_garage_exists(text, bigint), sms_outbox_schedule(), sms_outbox_check(), sms_outbox_defers(), sms_outbox_wake(), sms_setting_check(),
  sms_set(text, text, text), sms_settle_by_hand(bigint, text, text, text), sms_resend(bigint, text), sms_cancel(bigint, text),
  sms_receive(text, text, text, text, timestamptz, text), sms_reference(bigint, int, timestamptz),
  sms_release(bigint, text), sms_garage_missed(bigint, bigint), sms_garage_catch_up(bigint, bigint),
  sms_release_where(text, text, timestamptz, timestamptz, text), sms_cancel_where(text, text, timestamptz, timestamptz, text),
  sms_garage_samples(text, bigint), sms_e164(text), sms_setting_hours(), sms_template_variables(text), sms_template_check(text, text, text), sms_template_insert(),
  sms_template_set(text, text, text, text, text), sms_contact_check(), sms_contact_ledger(), sms_contact_set(text, text, text), sms_optout(text, text, text, text),
  sms_optin(text, text, text), sms_consent_give(text, text, text, text, text), sms_consent_revoke(text, text, text), sms_optout_add(text[], text, text, text),
  sms_receive_reply(text, text, text), sms_optout_alarm(), sms_join(bigint, bigint, text, bigint[]), sms_sets_hours(text, text), sms_hours_version(), sms_id_form(text), sms_id_forms(text), sms_match_receipts(), sms_forget_receipts(), sms_record_trial(text, text, text, int, text, text, text, text, text), sms_take_quota(text, text, int, int),
  sms_adopt(text), sms_identity(), sms_system_identifier(), sms_maintain(), sms_want_notify(boolean), sms_refuse(text, text);
-- Functions that keep the plans of statements; what they return differs from version to version.
DO $$
DECLARE
  kept regprocedure;
BEGIN
  FOR kept IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'sms\_kept\_%' LOOP
    EXECUTE format('DROP FUNCTION %s', kept);
  END LOOP;
END $$;
