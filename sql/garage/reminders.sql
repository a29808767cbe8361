-- Reminders of appointments: made when they are due, withdrawn when they are no longer true. Run again at every install.
--
-- An appointment is a service with status 'scheduled'. The application may move, cancel, complete or delete it at any time and tells
-- nobody, and nothing may be added to its tables. So a search reads the services once, from end to end, and looks at nothing else but
-- single rows through primary keys and the few reminders whose message still waits. What has changed after a search is seen by the
-- policy, at the claim. See docs/adr/0015-reminders.md.

-- Of versions with one lead time for all.
DROP FUNCTION IF EXISTS sms_garage_remind(bigint, bigint);

-- Notes what became of reminders whose message has settled, and withdraws those that wait and are no longer true. Sequential scans are
-- forbidden, since whatever the statistics say all of this goes through indexes.
CREATE OR REPLACE FUNCTION sms_garage_withdraw(zone text, at_most bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  ids     bigint[];
  details text[];
BEGIN
  -- Bounded, as a first look after a long while may find many. What is neither live nor in the history counts as made.
  UPDATE sms_reminder r
  SET withdrawn = coalesce((SELECT h.status = 'skipped' AND h.reason IN ('source_changed', 'superseded') FROM sms_history h
                            WHERE h.id = r.message_id AND h.source_id = r.source_id ORDER BY h.settled_at DESC LIMIT 1), false)
  WHERE r.ctid = ANY (ARRAY(
    SELECT w.ctid FROM sms_reminder w
    WHERE w.withdrawn IS NULL AND w.message_id IS NOT NULL AND NOT EXISTS (SELECT FROM sms_outbox o WHERE o.id = w.message_id OFFSET 0) LIMIT 5000));
  -- Without locks, which all reminders that wait would get at every search.
  SELECT array_agg(w.id), array_agg(w.detail) INTO ids, details
  FROM (
    SELECT o.id, CASE WHEN s.id IS NULL THEN 'the appointment was deleted'
                      WHEN s.status <> 'scheduled' THEN format('the appointment is now "%s"', s.status)
                      ELSE 'the appointment was moved to ' || coalesce(to_char(s.scheduled_date AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI'), 'no time') END AS detail
    FROM sms_reminder r
    CROSS JOIN LATERAL (SELECT m.id FROM sms_outbox m WHERE m.id = r.message_id AND m.state = 'queued' AND m.requested_by IS NULL OFFSET 0) o
    LEFT JOIN LATERAL (SELECT c.id, c.status, c.scheduled_date FROM core_service c WHERE c.id = r.source_id OFFSET 0) s ON true
    WHERE r.withdrawn IS NULL AND r.message_id IS NOT NULL AND r.source_at > now()
      AND (s.status IS DISTINCT FROM 'scheduled' OR s.scheduled_date IS DISTINCT FROM r.source_at)
    LIMIT at_most
  ) w;
  RETURN sms_reminder_withdraw(ids, 'source_changed', details);
END $$;

-- One search: withdraws, then makes at most so many reminders; returns how many it made.
--
-- Of the offsets that have passed the latest counts, so that a daemon that was stopped for a day makes one reminder and not two. It is
-- made unless the customer has heard of this time since it fell due, and of no other time after that. An appointment that was made
-- after its offset had passed waits for the next offset, where there is one.
--
-- One search at a time on a database: the lock ends with the transaction, and whoever comes next sees what was made. No JIT: compiling
-- would cost more than the search.
CREATE OR REPLACE FUNCTION sms_garage_remind(offsets text, zone text, at_most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' SET jit = off AS $$
DECLARE
  sources  bigint[];
  times    timestamptz[];
  wordings text[];
  ids      bigint[];
  earlier  bigint[];
  details  text[];
BEGIN
  IF NOT pg_try_advisory_xact_lock(1934709619, -2) THEN
    RETURN 0;
  END IF;
  PERFORM sms_garage_withdraw(zone, at_most);
  WITH lead AS MATERIALIZED (
    SELECT l.* FROM sms_reminder_offsets(offsets) l
  ), near AS MATERIALIZED (
    -- A time of day N days before is less than N + 2 times 24 hours away, however the clocks change.
    SELECT s.id, s.scheduled_date AS at, s.created_at AS born FROM core_service s
    WHERE s.status = 'scheduled' AND s.scheduled_date > now()
      AND s.scheduled_date <= now() + (SELECT max(coalesce(l.before, (l.days + 2) * interval '24 hours')) FROM lead l)
  ), due AS MATERIALIZED (
    SELECT n.id, n.at, passed.wording
    FROM near n
    CROSS JOIN LATERAL (
      SELECT l.wording, d.due FROM lead l CROSS JOIN LATERAL (SELECT sms_reminder_due(n.at, l.days, l.at, l.before, zone) AS due) d
      WHERE d.due <= now() ORDER BY d.due DESC, l.wording LIMIT 1) passed
    -- In the order of messages, since a clock may go back.
    CROSS JOIN LATERAL (
      SELECT max(coalesce(r.message_id, 0)) FILTER (WHERE r.source_at = n.at AND (r.offset_key IN ('', passed.wording) OR r.created_at >= passed.due)) AS this,
             max(coalesce(r.message_id, 0)) FILTER (WHERE r.source_at <> n.at) AS another
      FROM sms_reminder r WHERE r.source_id = n.id AND r.withdrawn IS NOT TRUE) heard
    WHERE (heard.this IS NULL OR heard.this < heard.another)
      AND NOT (coalesce(n.born > passed.due, false) AND EXISTS (
        SELECT FROM lead l CROSS JOIN LATERAL (SELECT sms_reminder_due(n.at, l.days, l.at, l.before, zone) AS due) d WHERE d.due > now() AND d.due < n.at))
    ORDER BY n.at LIMIT at_most
  ), queued AS (
    -- With a time to look at it: many reminders at once then stand behind "your car is ready", not before it.
    INSERT INTO sms_outbox (kind, source_id, source_at, requested_by, next_at)
    SELECT 'appointment_reminder', d.id, d.at, NULL, clock_timestamp() FROM due d ORDER BY d.at RETURNING id, source_id
  )
  SELECT array_agg(d.id), array_agg(d.at), array_agg(d.wording), array_agg(q.id) INTO sources, times, wordings, ids
  FROM queued q JOIN due d ON d.id = q.source_id;
  IF ids IS NULL THEN
    RETURN 0;
  END IF;
  -- Before the new ones are noted: of two reminders of one service only the later one may wait.
  SELECT array_agg(o.message_id), array_agg(format('message %s takes its place (%s)', m.id, m.wording)) INTO earlier, details
  FROM unnest(sources, wordings, ids) AS m (source_id, wording, id)
  CROSS JOIN LATERAL (SELECT r.message_id FROM sms_reminder r WHERE r.source_id = m.source_id AND r.withdrawn IS NULL AND r.message_id IS NOT NULL OFFSET 0) o;
  PERFORM sms_reminder_withdraw(earlier, 'superseded', details);
  INSERT INTO sms_reminder (source_id, source_at, offset_key, message_id) SELECT * FROM unnest(sources, times, wordings, ids)
  ON CONFLICT (source_id, source_at, offset_key) DO UPDATE SET created_at = excluded.created_at, message_id = excluded.message_id, withdrawn = NULL;
  RETURN array_length(ids, 1);
END $$;

-- Which row the garage's own endpoints speak of: does it exist?
CREATE OR REPLACE FUNCTION sms_garage_exists(kind text, source_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
BEGIN
  IF kind = 'invoice_created' THEN
    RETURN EXISTS (SELECT FROM core_invoice i WHERE i.id = source_id);
  END IF;
  RETURN EXISTS (SELECT FROM core_service s WHERE s.id = source_id);
END $$;
