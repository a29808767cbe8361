-- Who may do what. Functions that run with the rights of whoever installed are for the daemon's role alone; a trigger function
-- needs no right of whoever fires it. The role's name comes in the setting ecar_sms.role; empty: no role of its own.
DO $$
DECLARE
  role_name text := current_setting('ecar_sms.role', true);
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'sms\_%' AND (p.prosecdef OR p.proname IN ('sms_garage_enqueue', 'sms_garage_event', 'sms_garage_care', 'sms_adopt')) LOOP
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
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sms_awaited TO %I', role_name);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON sms_quota TO %I', role_name);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE (seen_at, ended_at, floor) ON sms_owner TO %I', role_name);
  EXECUTE format('GRANT SELECT, UPDATE ON sms_setting TO %I', role_name);
  EXECUTE format('GRANT SELECT, INSERT ON sms_template, sms_consent, sms_optout_import, sms_inbound TO %I', role_name);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON sms_contact TO %I', role_name);
  EXECUTE format('GRANT SELECT ON sms_message, sms_reminder, sms_installation, sms_migration, sms_outbox_id_seq, sms_wake TO %I', role_name);
  EXECUTE format('GRANT EXECUTE ON FUNCTION sms_maintain(), sms_want_notify(boolean), sms_garage_facts(text[], bigint[]), sms_garage_remind(text, text, bigint), sms_garage_exists(text, bigint), sms_garage_missed(bigint, bigint), sms_garage_catch_up(bigint, bigint), sms_garage_samples(text, bigint), sms_match_receipts(), sms_forget_receipts(), sms_record_trial(text, text, text, int, text, text, text, text, text) TO %I', role_name);
END $$;

-- A superuser who installs gives everything to the owner of the garage's tables, so that nothing of ours ever runs with more
-- rights than the application has: whoever finds a way into one of our functions is then where they could get through the
-- application itself. Not where that owner may make no tables: the months of the history would be missing.
DO $$
DECLARE
  garage pg_catalog.regrole := (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = 'core_service'::regclass);
  mine record;
BEGIN
  IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = CURRENT_USER) OR (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = garage)
     OR NOT has_schema_privilege(garage, current_schema()::regnamespace, 'CREATE') THEN
    RETURN;
  END IF;
  FOR mine IN
    SELECT format('%s %I', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname) AS object
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relname LIKE 'sms\_%' AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relowner <> garage
      -- The sequence of an identity column goes with its table.
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND c.relkind = 'S')
    UNION ALL
    SELECT format('FUNCTION %s', p.oid::regprocedure) FROM pg_proc p
    WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'sms\_%' AND p.proowner <> garage
  LOOP
    EXECUTE format('ALTER %s OWNER TO %s', mine.object, garage);
  END LOOP;
END $$;
