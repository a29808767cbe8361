-- outbox/doubtful(at_most bigint, hold_ms bigint)
-- Messages in doubt whose time to be looked at has come. They are put off by hold_ms, so that no other daemon asks the provider
-- the same meanwhile; a daemon that dies over it leaves them to the next look.
WITH ripe AS MATERIALIZED (
  SELECT id FROM sms_outbox WHERE doubt IS NOT NULL AND next_at <= now() AND state = 'unknown' ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED
), held AS (
  UPDATE sms_outbox o SET next_at = clock_timestamp() + $2 * interval '1 millisecond'
  WHERE o.id = ANY (ARRAY(SELECT id FROM ripe))
  RETURNING o.id, o.kind, o.lease_token, o.attempt, o.doubt, o.doubt_provider, o.created_at, o.claimed_at, o.recipient, o.body
)
SELECT h.id, h.kind, h.lease_token, h.attempt, h.doubt, h.created_at, coalesce(h.doubt_provider, last.provider) AS provider,
       coalesce(last.recipient, h.recipient) AS recipient, coalesce(last.body, h.body) AS body, last.encoding, last.segments,
       coalesce(first.started_at, h.claimed_at, h.created_at) AS since,
       extract(epoch FROM clock_timestamp() - coalesce(last.started_at, h.claimed_at, h.created_at))::float8 AS waited_s,
       (SELECT count(*) FROM sms_attempt a WHERE a.message_id = h.id AND a.outcome = 'unknown') AS doubts,
       proof.provider_message_id AS receipt_id, proof.provider AS receipt_provider
FROM held h
LEFT JOIN LATERAL (SELECT * FROM sms_attempt a WHERE a.message_id = h.id AND a.outcome = 'unknown' ORDER BY a.attempt LIMIT 1) first ON true
LEFT JOIN LATERAL (SELECT * FROM sms_attempt a WHERE a.message_id = h.id AND a.outcome = 'unknown' ORDER BY a.attempt DESC LIMIT 1) last ON true
LEFT JOIN LATERAL (SELECT * FROM sms_receipt r WHERE r.message_id = h.id ORDER BY r.id LIMIT 1) proof ON true
