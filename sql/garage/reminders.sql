-- Appointments that come within the lead time and have no reminder yet, each turned into one. Run again at every install.
--
-- An appointment is a service with status 'scheduled'. sms_reminder holds one row for each service and time: a moved appointment
-- has another time and so another reminder; the old one is skipped when it is claimed, because its time is no longer true.
CREATE OR REPLACE FUNCTION sms_garage_remind(lead_ms bigint, at_most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
DECLARE
  enqueued bigint;
BEGIN
  WITH due AS (
    SELECT s.id, s.scheduled_date FROM core_service s
    WHERE s.status = 'scheduled' AND s.scheduled_date > now() AND s.scheduled_date <= now() + lead_ms * interval '1 millisecond'
      AND NOT EXISTS (SELECT FROM sms_reminder r WHERE r.source_id = s.id AND r.source_at = s.scheduled_date)
    ORDER BY s.scheduled_date LIMIT at_most
  ), fresh AS (
    INSERT INTO sms_reminder (source_id, source_at) SELECT id, scheduled_date FROM due ON CONFLICT DO NOTHING RETURNING source_id, source_at
  ), queued AS (
    -- With a time to look at it: many reminders at once then stand behind "your car is ready", not before it.
    INSERT INTO sms_outbox (kind, source_id, source_at, requested_by, next_at)
    SELECT 'appointment_reminder', source_id, source_at, NULL, clock_timestamp() FROM fresh RETURNING id
  )
  SELECT count(*) INTO enqueued FROM queued;
  RETURN enqueued;
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
