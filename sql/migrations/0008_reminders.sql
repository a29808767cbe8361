-- Reminders at several times before an appointment, replaced and withdrawn when they are no longer true: docs/adr/0015-reminders.md.

-- One row for each service, time and offset. A row of before this migration has no offset: it stands for every offset of its time.
ALTER TABLE sms_reminder ADD COLUMN offset_key text NOT NULL DEFAULT '', ADD COLUMN message_id bigint, ADD COLUMN withdrawn boolean,
  DROP CONSTRAINT sms_reminder_pkey, ADD CONSTRAINT sms_reminder_pkey PRIMARY KEY (source_id, source_at, offset_key);
COMMENT ON TABLE sms_reminder IS 'ecar-sms: reminders made, one row for each service, appointment time and offset, so that none is made twice.';
COMMENT ON COLUMN sms_reminder.offset_key IS 'The offset of appointment_reminder.offsets in its normal wording; empty: made before there were several.';
COMMENT ON COLUMN sms_reminder.message_id IS 'The message, live or settled.';
COMMENT ON COLUMN sms_reminder.withdrawn IS 'true: the message was withdrawn unsent, so the customer has not heard of this time; false: it was not; NULL: not known yet.';
-- Those whose message may still wait: the only ones that every search looks at.
CREATE INDEX sms_reminder_open ON sms_reminder (source_at) WHERE withdrawn IS NULL AND message_id IS NOT NULL;

-- Messages of reminders made so far, as far as their appointments are still to come.
UPDATE sms_reminder r SET message_id = o.id FROM sms_outbox o
WHERE o.kind = 'appointment_reminder' AND o.requested_by IS NULL AND o.source_id = r.source_id AND o.source_at = r.source_at;
UPDATE sms_reminder r SET message_id = (
  SELECT h.id FROM sms_history h
  WHERE h.source_id = r.source_id AND h.kind = 'appointment_reminder' AND h.requested_by IS NULL AND h.source_at = r.source_at ORDER BY h.id DESC LIMIT 1)
WHERE r.message_id IS NULL AND r.source_at > now();

-- Reads the setting: `24h, 1 day at 18:00`. An offset is a time of day some days before the appointment (days, at), or a length of
-- time before it (before). The wording is the same for the same offset however it was written, since reminders are known by it.
CREATE FUNCTION sms_reminder_offsets(value text) RETURNS TABLE (ord int, days int, at time, before interval, wording text)
LANGUAGE plpgsql STABLE ROWS 5 SET search_path FROM CURRENT AS $$
DECLARE
  mend    constant text := 'Write 1 to 5 times before the appointment, separated by commas, each up to 30 days: for example 1 day at 18:00, 2h.';
  parts   constant text[] := string_to_array(value, ',');
  problem text;
  part    text;
  found   text[];
  seconds numeric;
  seen    text[] := '{}';
BEGIN
  IF coalesce(array_length(parts, 1), 0) NOT BETWEEN 1 AND 5 THEN
    PERFORM sms_refuse(format('appointment_reminder.offsets: "%s" names %s times', left(value, 60), coalesce(array_length(parts, 1), 0)), mend);
  END IF;
  FOREACH part IN ARRAY parts LOOP
    part := regexp_replace(btrim(part, E' \t\r\n'), '\s+', ' ', 'g');
    problem := NULL;
    found := regexp_match(part, '^([0-9]{1,9}) ?days? at ([0-9]{1,2}):([0-9]{2})$', 'i');
    IF found IS NOT NULL THEN
      IF found[1]::int > 30 THEN
        problem := 'is more than 30 days';
      ELSIF found[2]::int > 23 OR found[3]::int > 59 THEN
        problem := 'has no time of day';
      ELSE
        days := found[1];
        at := make_time(found[2]::int, found[3]::int, 0);
        before := NULL;
        wording := format('%s day%s at %s', days, CASE WHEN days <> 1 THEN 's' END, to_char(at, 'HH24:MI'));
      END IF;
    ELSE
      BEGIN
        -- A bare number would be seconds, which nobody means.
        seconds := CASE WHEN part !~ '^[0-9.]*$' THEN extract(epoch FROM part::interval) END;
      EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
        seconds := NULL;
      END;
      IF coalesce(seconds, 0) <= 0 THEN
        problem := 'is no time before an appointment';
      ELSIF seconds > 30 * 86400 THEN
        problem := 'is more than 30 days';
      ELSE
        days := NULL;
        at := NULL;
        -- Seconds alone: a day of an interval would be one of the session's zone.
        before := make_interval(secs => seconds::float8);
        wording := CASE WHEN mod(seconds, 3600) = 0 THEN div(seconds, 3600) || 'h'
                        WHEN mod(seconds, 60) = 0 THEN div(seconds, 60) || 'min'
                        ELSE trim_scale(seconds) || 's' END;
      END IF;
    END IF;
    IF problem IS NULL AND wording = ANY (seen) THEN
      problem := 'is there twice';
    END IF;
    IF problem IS NOT NULL THEN
      PERFORM sms_refuse(format('appointment_reminder.offsets: "%s" %s', left(part, 60), problem), mend);
    END IF;
    seen := seen || wording;
    ord := array_length(seen, 1);
    RETURN NEXT;
  END LOOP;
END $$;

-- When a reminder of an appointment is due. A time of day that the zone skips or repeats that night is read as PostgreSQL does: as
-- if the clocks had not changed yet, and as the second of the two. It names no object of ours, so that it needs no search_path and
-- becomes part of the query that calls it.
CREATE FUNCTION sms_reminder_due(at timestamptz, days int, time_of_day time, before interval, zone text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN days IS NULL THEN at - before ELSE ((at AT TIME ZONE zone)::date - days + time_of_day) AT TIME ZONE zone END
$$;

-- Settles reminders that still wait, and says so in sms_reminder; returns how many. One that a daemon holds just now is left alone: the
-- policy looks at it once more. One that may have been sent before is recorded as such, since that it is not sent again proves nothing.
CREATE FUNCTION sms_reminder_withdraw(message_ids bigint[], reason text, details text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  gone record;
  withdrawn_now bigint := 0;
BEGIN
  FOR gone IN
    SELECT o.id, o.source_id, o.source_at, o.doubt IS NULL AS unsent, w.detail
    FROM unnest(message_ids, details) AS w (id, detail)
    CROSS JOIN LATERAL (
      SELECT m.* FROM sms_outbox m
      WHERE m.id = w.id AND m.state = 'queued' AND m.kind = 'appointment_reminder' AND m.requested_by IS NULL FOR UPDATE SKIP LOCKED) o
  LOOP
    PERFORM sms_settle_by_hand(gone.id, CASE WHEN gone.unsent THEN 'skipped' ELSE 'unknown' END, sms_reminder_withdraw.reason, gone.detail);
    UPDATE sms_reminder r SET withdrawn = gone.unsent WHERE r.source_id = gone.source_id AND r.source_at = gone.source_at AND r.message_id = gone.id;
    withdrawn_now := withdrawn_now + 1;
  END LOOP;
  RETURN withdrawn_now;
END $$;

-- The setting, with the value and the history of the one that it replaces. A lead of 0 meant that no reminder was ever made, which no
-- offset says.
INSERT INTO sms_setting (name, value, unit, description, version, updated_at, updated_by)
SELECT 'appointment_reminder.offsets',
       CASE WHEN was.value IS NULL OR was.value::interval = '0' THEN '24h'
            WHEN was.value::interval > '30 days' THEN '30 days'
            WHEN was.value ~ '^[0-9]+ ?[A-Za-z]+$' THEN was.value
            ELSE ceil(extract(epoch FROM was.value::interval)) || 's' END,
       'offsets', 'when reminders of an appointment go out: up to 5 of 24h, 90min, 1 day at 18:00 (the garage''s time), separated by commas',
       coalesce(was.version, 1), coalesce(was.updated_at, clock_timestamp()), coalesce(was.updated_by, session_user)
FROM (VALUES (1)) AS one LEFT JOIN sms_setting was ON was.name = 'appointment_reminder.lead';
UPDATE sms_setting SET value = 'false' WHERE name = 'appointment_reminder.enabled'
  AND EXISTS (SELECT FROM sms_setting was WHERE was.name = 'appointment_reminder.lead' AND was.value::interval = '0');
DELETE FROM sms_setting WHERE name = 'appointment_reminder.lead';
