-- outbox/rescue(owner int, at_most bigint)
-- Rows whose lease ran out and whose owner is another daemon, dead or too late: what became of them is unknown. They are
-- never simply queued again. The token stays on the row, so that an answer that comes after all still settles it.
WITH lost AS MATERIALIZED (
  SELECT id FROM sms_outbox WHERE state = 'sending' AND lease_until < clock_timestamp() AND lease_owner IS DISTINCT FROM $1
  LIMIT $2 FOR UPDATE SKIP LOCKED
), back AS (
  UPDATE sms_outbox o SET state = 'unknown', lease_until = NULL, reason = 'unknown', next_at = clock_timestamp(), doubt = coalesce(o.doubt, o.attempt),
         detail = format('daemon %s stopped while it was being sent', o.lease_owner)
  WHERE o.id = ANY (ARRAY(SELECT id FROM lost))
  RETURNING o.id, o.attempt, o.claimed_at, o.detail, o.lease_owner
), attempts AS (
  INSERT INTO sms_attempt (message_id, attempt, started_at, outcome, detail, lease_owner)
  SELECT id, attempt, claimed_at, 'unknown', detail, lease_owner FROM back
  ON CONFLICT DO NOTHING
)
SELECT id, attempt, lease_owner FROM back
