-- outbox/resolve(resend_kinds text[], at_most bigint)
-- Messages in doubt that have waited long enough for proof: by the policy of their kind they are sent once more, or stay for
-- staff. Once: a second doubt about the same message is always left to staff, or a gateway that takes messages and answers
-- with errors would text a customer again and again.
WITH ripe AS MATERIALIZED (
  SELECT id, kind FROM sms_outbox WHERE lane IN (0, 1) AND next_at <= now() AND state = 'unknown' LIMIT $2 FOR UPDATE SKIP LOCKED
), verdict AS (
  SELECT r.id, r.kind = ANY ($1) AND (SELECT count(*) FROM sms_attempt a WHERE a.message_id = r.id AND a.outcome = 'unknown') <= 1 AS again FROM ripe r
), back AS (
  UPDATE sms_outbox o
  SET state = CASE WHEN v.again THEN 'queued' ELSE 'unknown' END, next_at = CASE WHEN v.again THEN clock_timestamp() END, failures = o.failures + 1
  FROM verdict v
  WHERE o.id = v.id
  RETURNING o.id, o.kind, o.state
), events AS (
  INSERT INTO sms_event (message_id, what, reason, detail)
  SELECT id, CASE state WHEN 'queued' THEN 'resent_by_policy' ELSE 'left_to_staff' END, 'unknown',
         'no proof came; policy of ' || kind FROM back
)
SELECT id, state FROM back
