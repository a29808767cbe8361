-- As before, and another of the customer that is locked is waited for: a claim may have it in hand this very moment. Passed over, it would look
-- for others only after its claim, find that this one has spoken, and tell its service in a text of its own.
CREATE OR REPLACE FUNCTION sms_join(message_id bigint, token bigint, customer text, others bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '1s' AS $$
DECLARE
  taken   bigint[];
  sources bigint[];
BEGIN
  -- One at a time for each customer.
  PERFORM pg_advisory_xact_lock(hashtextextended('ecar-sms: services told together to ' || customer, 0));
  UPDATE sms_outbox o SET joined = coalesce(o.joined, '{}') WHERE o.id = message_id AND o.lease_token = token AND o.state = 'sending';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  BEGIN
    PERFORM FROM sms_outbox o WHERE o.id = ANY (others) AND o.id <> message_id ORDER BY o.id FOR UPDATE;
  EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    -- No claim lasts so long: somebody works on it by hand. This message waits no longer for it.
    NULL;
  END;
  WITH picked AS MATERIALIZED (
    SELECT o.id FROM sms_outbox o
    WHERE o.id = ANY (others) AND o.id <> message_id AND o.doubt IS NULL
      AND (o.state = 'queued' AND o.reason = 'joining'
           OR o.state = 'sending' AND (o.lease_token = token OR o.reason = 'joining' AND o.joined IS NULL))
    ORDER BY o.id FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM sms_outbox o USING picked p WHERE o.id = p.id RETURNING o.*
  ), kept AS (
    INSERT INTO sms_history (id, kind, source_id, lang, status, reason, detail, attempts, requested_by, resend_of, source_at, created_at, not_before,
                             claimed_at, lease_owner)
    SELECT g.id, g.kind, g.source_id, g.lang, 'skipped', 'joined', 'told together with message ' || message_id, 0, g.requested_by, g.resend_of,
           g.source_at, g.created_at, g.not_before, g.claimed_at, g.lease_owner
    FROM gone g
    RETURNING sms_history.id, sms_history.source_id
  )
  SELECT coalesce(array_agg(k.id), '{}'), coalesce(array_agg(k.source_id), '{}') INTO taken, sources FROM kept k;
  UPDATE sms_outbox o SET joined = o.joined || sources WHERE o.id = message_id AND taken <> '{}';
  RETURN taken;
END $$;
