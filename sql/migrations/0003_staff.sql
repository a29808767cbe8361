-- What staff read and call in plain SQL.

-- One word for each message, live or settled. Receipts only ever move a sent message forward: delivered wins. What stands in
-- other tables is fetched by subqueries and not by joins: so the newest fifty are read through the indexes on id, however
-- many rows lie behind them.
CREATE VIEW sms_message AS
SELECT o.id, o.kind, o.source_id, coalesce((SELECT t.recipient FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1), o.recipient) AS recipient,
       o.lang, coalesce(o.body, (SELECT t.body FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1)) AS body,
       o.state AS status, o.reason,
       (SELECT t.encoding FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS encoding,
       (SELECT t.segments FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS segments,
       (SELECT t.provider FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS provider,
       (SELECT t.provider_message_id FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS provider_message_id,
       o.attempt AS attempts, o.requested_by, o.resend_of, o.created_at, o.not_before,
       NULL::timestamptz AS sent_at, NULL::timestamptz AS delivered_at, o.detail, o.next_at, NULL::timestamptz AS settled_at
FROM sms_outbox o
UNION ALL
SELECT h.id, h.kind, h.source_id, h.recipient, h.lang, h.body,
       CASE WHEN h.status IN ('sent', 'unknown')
            THEN coalesce((SELECT r.status FROM sms_receipt r WHERE r.message_id = h.id AND r.status <> 'pending' ORDER BY r.status = 'delivered' DESC, r.id LIMIT 1), h.status)
            ELSE h.status END,
       h.reason, h.encoding, h.segments, h.provider, h.provider_message_id, h.attempts, h.requested_by, h.resend_of, h.created_at, h.not_before, h.sent_at,
       (SELECT coalesce(r.reported_at, r.received_at) FROM sms_receipt r WHERE r.message_id = h.id AND r.status = 'delivered' ORDER BY r.id LIMIT 1),
       h.detail, NULL::timestamptz, h.settled_at
FROM sms_history h;
COMMENT ON VIEW sms_message IS 'ecar-sms: every message, live and settled, with one status word and the reason.';

-- Settles a live row by hand. The caller holds the row lock.
CREATE FUNCTION sms_settle_by_hand(message_id bigint, new_status text, new_reason text, new_detail text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
  WITH gone AS (DELETE FROM sms_outbox o WHERE o.id = message_id RETURNING o.*)
  INSERT INTO sms_history (id, kind, source_id, recipient, lang, body, status, reason, detail, encoding, segments, provider, provider_message_id,
                           attempts, requested_by, resend_of, source_at, created_at, not_before, claimed_at, lease_owner)
  SELECT g.id, g.kind, g.source_id, coalesce(a.recipient, g.recipient), g.lang, coalesce(g.body, a.body), new_status, new_reason, new_detail,
         a.encoding, a.segments, a.provider, a.provider_message_id, g.attempt, g.requested_by, g.resend_of, g.source_at, g.created_at,
         g.not_before, g.claimed_at, g.lease_owner
  FROM gone g
  LEFT JOIN LATERAL (SELECT * FROM sms_attempt t WHERE t.message_id = g.id ORDER BY t.attempt DESC LIMIT 1) a ON true;
$$;

-- A new message like an old one, with facts and text read afresh. The old one keeps its record.
CREATE FUNCTION sms_resend(message_id bigint, by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  live sms_outbox;
  old  sms_history;
  new_id bigint;
BEGIN
  SELECT * INTO live FROM sms_outbox o WHERE o.id = message_id FOR UPDATE;
  IF live.id IS NOT NULL THEN
    IF live.state IN ('queued', 'sending') THEN
      RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('ecar-sms: message %s is still %s', message_id, live.state), HINT = 'Wait for its result, or cancel it first.';
    END IF;
    -- Held or in doubt: the new message takes its place, so that it cannot be sent beside it later.
    PERFORM sms_settle_by_hand(message_id, CASE live.state WHEN 'unknown' THEN 'unknown' ELSE 'cancelled' END, 'superseded', 'sent again by ' || by);
    INSERT INTO sms_outbox (kind, source_id, recipient, body, lang, requested_by, resend_of)
    VALUES (live.kind, live.source_id, live.recipient, live.body, live.lang, by, message_id) RETURNING id INTO new_id;
  ELSE
    SELECT * INTO old FROM sms_history h WHERE h.id = message_id ORDER BY h.settled_at DESC LIMIT 1;
    IF old.id IS NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('ecar-sms: there is no message %s', message_id);
    END IF;
    INSERT INTO sms_outbox (kind, source_id, recipient, body, lang, requested_by, resend_of)
    SELECT old.kind, old.source_id, CASE WHEN old.source_id IS NULL THEN old.recipient END, CASE WHEN old.source_id IS NULL THEN old.body END,
           old.lang, by, message_id
    RETURNING id INTO new_id;
  END IF;
  INSERT INTO sms_event (message_id, what, detail, by) VALUES (message_id, 'resent', 'as message ' || new_id, by);
  RETURN new_id;
END $$;

CREATE FUNCTION sms_cancel(message_id bigint, by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  live sms_outbox;
BEGIN
  SELECT * INTO live FROM sms_outbox o WHERE o.id = message_id FOR UPDATE;
  IF live.id IS NULL AND NOT EXISTS (SELECT FROM sms_history h WHERE h.id = message_id) THEN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('ecar-sms: there is no message %s', message_id);
  ELSIF live.id IS NULL OR live.state = 'sending' THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
      MESSAGE = format('ecar-sms: message %s is %s', message_id, coalesce(live.state, (SELECT m.status FROM sms_message m WHERE m.id = message_id LIMIT 1))),
      HINT = 'Only a message that is not being sent yet can be cancelled.';
  END IF;
  INSERT INTO sms_event (message_id, what, detail, by) VALUES (message_id, 'cancelled', 'was ' || live.state, by);
  -- A message in doubt may have arrived; its record must not say that it did not.
  PERFORM sms_settle_by_hand(message_id, CASE live.state WHEN 'unknown' THEN 'unknown' ELSE 'cancelled' END, 'cancelled_by_staff', 'cancelled by ' || by);
  RETURN message_id;
END $$;

CREATE FUNCTION sms_release(message_id bigint, by text DEFAULT session_user) RETURNS bigint
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
  UPDATE sms_outbox o SET state = 'queued', released = true, reason = NULL, detail = NULL, next_at = clock_timestamp() WHERE o.id = message_id;
  INSERT INTO sms_event (message_id, what, by) VALUES (message_id, 'released', by);
  IF (SELECT last_value FROM sms_wake) = 1 THEN PERFORM pg_notify('sms_outbox', ''); END IF;
  RETURN message_id;
END $$;

-- Prepares the months ahead and drops what is older than the retention. Called by the daemon now and then; it creates and
-- drops tables, so it runs with the rights of whoever installed.
CREATE FUNCTION sms_maintain() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '1s' AS $$
DECLARE
  done      text[] := '{}';
  month     date;
  partition text;
  keep      interval := (SELECT value::interval FROM sms_setting WHERE name = 'history_retention');
BEGIN
  FOR ahead IN 0..1 LOOP
    month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead);
    partition := 'sms_history_' || to_char(month, 'YYYY_MM');
    IF to_regclass(partition) IS NULL AND NOT EXISTS (
        SELECT FROM sms_history_rest WHERE settled_at >= month::timestamp AT TIME ZONE 'UTC' AND settled_at < (month + interval '1 month') AT TIME ZONE 'UTC') THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF sms_history FOR VALUES FROM (%L) TO (%L)', partition,
                     month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
      -- The partition is made by its owner; whoever may use sms_history may use it through its parent alone.
      done := done || ('created ' || partition);
    END IF;
  END LOOP;
  IF keep > interval '0' THEN
    FOR partition, month IN
      SELECT c.relname, to_date(right(c.relname, 7), 'YYYY_MM') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = 'sms_history'::regclass AND c.relname ~ '^sms_history_[0-9]{4}_[0-9]{2}$'
    LOOP
      IF (month + interval '1 month') AT TIME ZONE 'UTC' < now() - keep THEN
        EXECUTE format('DROP TABLE %I', partition);
        done := done || ('dropped ' || partition);
      END IF;
    END LOOP;
    -- Bounded, so that a first clean-up of years never holds one long transaction.
    DELETE FROM sms_history_rest WHERE ctid = ANY (ARRAY(SELECT ctid FROM sms_history_rest WHERE settled_at < now() - keep LIMIT 5000));
    DELETE FROM sms_attempt WHERE ctid = ANY (ARRAY(SELECT ctid FROM sms_attempt WHERE ended_at < now() - keep LIMIT 5000));
    DELETE FROM sms_event WHERE ctid = ANY (ARRAY(SELECT ctid FROM sms_event WHERE at < now() - keep LIMIT 5000));
    DELETE FROM sms_receipt WHERE ctid = ANY (ARRAY(SELECT ctid FROM sms_receipt WHERE received_at < now() - keep LIMIT 5000));
  END IF;
  DELETE FROM sms_reminder WHERE source_at < now() - interval '30 days';
  DELETE FROM sms_owner o WHERE o.started_at < now() - interval '30 days'
    AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 1934709619 AND l.objid = o.owner);
  RETURN array_to_string(done, ', ');
END $$;

-- The daemon's wake flag; see sms_wake. The flag is a hint, so its loss in a crash is harmless and needs no flush.
CREATE FUNCTION sms_want_notify(wanted boolean) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT SET synchronous_commit = off AS $$
  SELECT setval('sms_wake', CASE WHEN wanted THEN 1 ELSE 2 END);
$$;
