-- Who may do what. Functions that run with the rights of whoever installed are for the daemon's role alone; a trigger function
-- needs no right of whoever fires it. The role's name comes in the setting ecar_sms.role; empty: no role of its own.
DO $$
DECLARE
  role_name text := current_setting('ecar_sms.role', true);
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'sms\_%' AND (p.prosecdef OR p.proname IN ('sms_garage_enqueue', 'sms_adopt')) LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
  IF coalesce(role_name, '') = '' THEN
    RETURN;
  END IF;
  -- Only where it is lacking: uninstall takes our objects out, and with them every right on them, but the schema stays.
  IF NOT has_schema_privilege(role_name, current_schema(), 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role_name);
  END IF;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sms_outbox TO %I', role_name);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON sms_attempt TO %I', role_name);
  EXECUTE format('GRANT SELECT, INSERT ON sms_history, sms_event, sms_receipt TO %I', role_name);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON sms_owner TO %I', role_name);
  EXECUTE format('GRANT SELECT, UPDATE ON sms_setting TO %I', role_name);
  EXECUTE format('GRANT SELECT ON sms_message, sms_reminder, sms_installation, sms_migration, sms_outbox_id_seq, sms_wake TO %I', role_name);
  EXECUTE format('GRANT EXECUTE ON FUNCTION sms_maintain(), sms_want_notify(boolean), sms_garage_facts(text[], bigint[]), sms_garage_remind(bigint, bigint), sms_garage_exists(text, bigint), sms_garage_missed(bigint, bigint), sms_garage_catch_up(bigint, bigint) TO %I', role_name);
END $$;
