-- outbox/decide(ids bigint[], tokens bigint[], states text[], waits_ms bigint[], cleared boolean[], whats text[], details text[])
-- What is decided about messages in doubt that are not proved to be sent: looked at again, queued again, or left to staff (a
-- negative wait: no time). `cleared`: the doubt is over, nothing was sent. Fenced by the token, as every result.
WITH verdict AS (
  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7) AS r (id, token, state, wait_ms, cleared, what, detail)
), back AS (
  UPDATE sms_outbox o
  SET state = v.state, next_at = CASE WHEN v.wait_ms >= 0 THEN clock_timestamp() + v.wait_ms * interval '1 millisecond' END,
      doubt = CASE WHEN v.cleared THEN NULL ELSE o.doubt END, doubt_provider = CASE WHEN v.cleared THEN NULL ELSE o.doubt_provider END
  FROM verdict v
  WHERE o.id = v.id AND o.lease_token = v.token AND o.state = 'unknown'
  RETURNING o.id, v.what, v.detail
), events AS (
  INSERT INTO sms_event (message_id, what, reason, detail) SELECT id, what, 'unknown', detail FROM back WHERE what IS NOT NULL
), proofs AS (
  -- The provider knows nothing of these attempts: they are no doubts any more.
  UPDATE sms_attempt a SET outcome = 'not_taken' FROM verdict v
  WHERE v.cleared AND a.message_id = v.id AND a.outcome = 'unknown'
)
SELECT id FROM back
