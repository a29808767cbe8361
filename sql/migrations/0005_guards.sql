-- Guards that keep a copy, a flood and a loaded history from texting customers, and what staff do about them.

-- The identity of the database: see docs/adr/0009-identity.md.
ALTER TABLE sms_installation ADD COLUMN outbox_oid bigint;
COMMENT ON COLUMN sms_installation.outbox_oid IS 'The OID of sms_outbox here: a dump that is restored, even over the same database, makes another one.';

-- NULL where this role may not ask: then it counts as not known, and the daemon goes on with what is left.
CREATE FUNCTION sms_system_identifier() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
  RETURN (SELECT system_identifier FROM pg_control_system());
EXCEPTION WHEN insufficient_privilege THEN
  RETURN NULL;
END $$;

-- Installed by an earlier version, in this very database: then this is the original.
UPDATE sms_installation SET outbox_oid = 'sms_outbox'::regclass::oid::bigint
WHERE database_name = current_database() AND coalesce(system_identifier = sms_system_identifier(), true);

-- NULL in the database that ecar-sms was installed in; in a copy, what differs, in a sentence.
CREATE FUNCTION sms_identity() RETURNS text
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  home    sms_installation;
  differs text[] := '{}';
BEGIN
  SELECT * INTO home FROM sms_installation;
  IF home.database_name IS NULL THEN
    RETURN 'nothing says where ecar-sms was installed';
  END IF;
  IF home.database_name <> current_database() THEN
    differs := differs || format('it is named "%s", ecar-sms was installed in "%s"', current_database(), home.database_name);
  END IF;
  IF home.system_identifier <> sms_system_identifier() THEN
    differs := differs || 'it is on another server than the one that ecar-sms was installed on'::text;
  END IF;
  IF home.outbox_oid IS DISTINCT FROM 'sms_outbox'::regclass::oid::bigint THEN
    differs := differs || 'its tables were restored from a dump'::text;
  END IF;
  RETURN nullif(array_to_string(differs, '; '), '');
END $$;

-- Makes this database the installation. What waits in it may have been sent by the original after the copy was taken, so it
-- waits for staff; a row that is claimed just now too: a daemon is about to give it back. NULL: there was nothing to do.
CREATE FUNCTION sms_adopt(by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  held bigint;
BEGIN
  IF sms_identity() IS NULL THEN
    RETURN NULL;
  END IF;
  WITH waiting AS MATERIALIZED (
    SELECT o.id, o.state FROM sms_outbox o WHERE o.state <> 'held' ORDER BY o.id FOR UPDATE
  ), stopped AS (
    UPDATE sms_outbox o SET state = 'held', reason = 'restored', next_at = NULL, lease_until = NULL,
           detail = CASE w.state WHEN 'queued' THEN 'it waited when the copy was taken' ELSE 'it was ' || w.state || ' when the copy was taken: it may have been sent' END
    FROM waiting w WHERE o.id = w.id RETURNING o.id, o.detail
  ), events AS (
    INSERT INTO sms_event (message_id, what, reason, detail, by) SELECT s.id, 'held', 'restored', s.detail, sms_adopt.by FROM stopped s
  )
  SELECT count(*) INTO held FROM stopped;
  INSERT INTO sms_installation AS i (system_identifier, database_name, outbox_oid, version)
  VALUES (sms_system_identifier(), current_database(), 'sms_outbox'::regclass::oid::bigint, 'adopted')
  ON CONFLICT (only_one) DO UPDATE SET system_identifier = excluded.system_identifier, database_name = excluded.database_name,
    outbox_oid = excluded.outbox_oid, installed_at = clock_timestamp();
  RETURN held;
END $$;

-- Stampede and catch-up. A value that somebody has chosen stays.
UPDATE sms_setting SET value = '500' WHERE name = 'stampede_limit' AND value = '0' AND version = 1;
UPDATE sms_setting SET description = 'garage events within one minute above which all of them are held for staff; 0 = off' WHERE name = 'stampede_limit';
INSERT INTO sms_setting (name, value, unit, description) VALUES
  ('catch_up', 'report', 'off|report|enqueue', 'what happens to completions and invoices that made no message: nothing, a report, or a message'),
  ('catch_up_window', '24h', 'duration', 'how far back such completions and invoices are looked for');
CREATE INDEX sms_history_source ON sms_history (source_id) WHERE source_id IS NOT NULL;

-- As before, but a message that was held before its time keeps its time.
CREATE OR REPLACE FUNCTION sms_release(message_id bigint, by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  found_state text;
BEGIN
  SELECT o.state INTO found_state FROM sms_outbox o WHERE o.id = message_id FOR UPDATE;
  IF found_state IS NULL THEN
    SELECT m.status INTO found_state FROM sms_message m WHERE m.id = message_id LIMIT 1;
  END IF;
  IF found_state IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('ecar-sms: there is no message %s', message_id);
  ELSIF found_state <> 'held' THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
      MESSAGE = format('ecar-sms: message %s is %s, not held', message_id, found_state);
  END IF;
  UPDATE sms_outbox o SET state = 'queued', released = true, reason = NULL, detail = NULL, next_at = greatest(o.not_before, clock_timestamp()) WHERE o.id = message_id;
  INSERT INTO sms_event (message_id, what, by) VALUES (message_id, 'released', by);
  IF (SELECT last_value FROM sms_wake) = 1 THEN PERFORM pg_notify('sms_outbox', ''); END IF;
  RETURN message_id;
END $$;

-- Lets all held messages go that match; NULL is any. At most 5,000 in one call, so that no transaction is long; returns how
-- many, and is called again while it returns that many. A crowd goes out behind fresh messages, in the bulk lane.
CREATE FUNCTION sms_release_where(kind text DEFAULT NULL, reason text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
                                  by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  released_now bigint;
BEGIN
  IF num_nonnulls(kind, reason, since, until) = 0 THEN
    PERFORM sms_refuse('say which messages: a kind, a reason, since or until when they were made', 'SELECT sms_release_where(reason => ''stampede'');');
  END IF;
  WITH picked AS MATERIALIZED (
    SELECT o.id FROM sms_outbox o
    WHERE o.state = 'held' AND (sms_release_where.kind IS NULL OR o.kind = sms_release_where.kind)
      AND (sms_release_where.reason IS NULL OR o.reason = sms_release_where.reason)
      AND (since IS NULL OR o.created_at >= since) AND (until IS NULL OR o.created_at <= until)
    ORDER BY o.id LIMIT 5000 FOR UPDATE
  ), gone AS (
    UPDATE sms_outbox o SET state = 'queued', released = true, reason = NULL, detail = NULL, next_at = greatest(o.not_before, clock_timestamp()),
           lane = CASE WHEN (SELECT count(*) FROM picked) > 100 THEN 1 ELSE o.lane END
    FROM picked p WHERE o.id = p.id RETURNING o.id
  ), events AS (
    INSERT INTO sms_event (message_id, what, by) SELECT g.id, 'released', sms_release_where.by FROM gone g
  )
  SELECT count(*) INTO released_now FROM gone;
  IF released_now > 0 AND (SELECT last_value FROM sms_wake) = 1 THEN PERFORM pg_notify('sms_outbox', ''); END IF;
  RETURN released_now;
END $$;

-- Cancels all messages that match and are not being sent. Bounded, and called again, as sms_release_where. A message in doubt
-- may have arrived; its record must not say that it did not.
CREATE FUNCTION sms_cancel_where(kind text DEFAULT NULL, reason text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
                                 by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  cancelled_now bigint;
BEGIN
  IF num_nonnulls(kind, reason, since, until) = 0 THEN
    PERFORM sms_refuse('say which messages: a kind, a reason, since or until when they were made', 'SELECT sms_cancel_where(kind => ''campaign'');');
  END IF;
  WITH picked AS MATERIALIZED (
    SELECT o.id FROM sms_outbox o
    WHERE o.state <> 'sending' AND (sms_cancel_where.kind IS NULL OR o.kind = sms_cancel_where.kind)
      AND (sms_cancel_where.reason IS NULL OR o.reason = sms_cancel_where.reason)
      AND (since IS NULL OR o.created_at >= since) AND (until IS NULL OR o.created_at <= until)
    ORDER BY o.id LIMIT 5000 FOR UPDATE
  ), gone AS (
    DELETE FROM sms_outbox o USING picked p WHERE o.id = p.id RETURNING o.*
  ), events AS (
    INSERT INTO sms_event (message_id, what, detail, by) SELECT g.id, 'cancelled', 'was ' || g.state, sms_cancel_where.by FROM gone g
  ), kept AS (
    INSERT INTO sms_history (id, kind, source_id, recipient, lang, body, status, reason, detail, encoding, segments, provider, provider_message_id,
                             attempts, requested_by, resend_of, source_at, created_at, not_before, claimed_at, lease_owner)
    SELECT g.id, g.kind, g.source_id, coalesce(a.recipient, g.recipient), g.lang, coalesce(g.body, a.body),
           CASE g.state WHEN 'unknown' THEN 'unknown' ELSE 'cancelled' END, 'cancelled_by_staff', 'cancelled by ' || sms_cancel_where.by,
           a.encoding, a.segments, a.provider, a.provider_message_id, g.attempt, g.requested_by, g.resend_of, g.source_at, g.created_at,
           g.not_before, g.claimed_at, g.lease_owner
    FROM gone g
    LEFT JOIN LATERAL (SELECT * FROM sms_attempt t WHERE t.message_id = g.id ORDER BY t.attempt DESC LIMIT 1) a ON true
    RETURNING sms_history.id
  )
  SELECT count(*) INTO cancelled_now FROM kept;
  RETURN cancelled_now;
END $$;
