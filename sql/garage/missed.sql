-- Completions and invoices of the last while that made no message at all: the triggers were disabled, or gave way to a lock.
-- Run again at every install. What happened before ecar-sms came, or before this database was adopted, is none of ours. A
-- completion is certain when the application wrote its time; without, the row may have been changed for another reason.
CREATE OR REPLACE FUNCTION sms_garage_missed(window_ms bigint, at_most bigint)
RETURNS TABLE (kind text, source_id bigint, at timestamptz, certain boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
DECLARE
  since timestamptz := greatest(now() - window_ms * interval '1 millisecond', (SELECT i.installed_at FROM sms_installation i));
BEGIN
  RETURN QUERY
  SELECT e.* FROM (
    SELECT 'service_completed'::text AS kind, s.id AS source_id, coalesce(s.completed_date, s.updated_at) AS at, s.completed_date IS NOT NULL AS certain
    FROM core_service s WHERE s.status = 'completed' AND coalesce(s.completed_date, s.updated_at) > since
    UNION ALL
    SELECT 'invoice_created', i.id, i.created_at, true FROM core_invoice i WHERE i.created_at > since
  ) e
  -- A row younger than a minute may belong to a transaction whose message is just being settled.
  WHERE e.at < now() - interval '1 minute'
    AND NOT EXISTS (SELECT FROM sms_outbox o WHERE o.source_id = e.source_id AND o.kind = e.kind)
    AND NOT EXISTS (SELECT FROM sms_history h WHERE h.source_id = e.source_id AND h.kind = e.kind)
  ORDER BY e.at LIMIT at_most;
END $$;

-- Enqueues those that are certain; returns how many. One at a time on a database: the lock ends with the transaction, and
-- whoever comes next sees what was enqueued.
CREATE OR REPLACE FUNCTION sms_garage_catch_up(window_ms bigint, at_most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
DECLARE
  enqueued bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(1934709619, -1) THEN
    RETURN 0;
  END IF;
  WITH queued AS (
    INSERT INTO sms_outbox (kind, source_id, requested_by)
    SELECT m.kind, m.source_id, NULL FROM sms_garage_missed(window_ms, at_most) m WHERE m.certain RETURNING id
  )
  SELECT count(*) INTO enqueued FROM queued;
  RETURN enqueued;
END $$;
