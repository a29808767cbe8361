-- receipt/due(provider text, at_most bigint, first_s int, longest_s int)
-- Parts of messages that the provider is to be asked about now. The next time is twice as far away, so that a daemon that dies over it leaves
-- them to that.
WITH due AS MATERIALIZED (
  SELECT message_id, part FROM sms_awaited WHERE provider = $1 AND next_at <= now() ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE sms_awaited a
SET looks = a.looks + 1, next_at = clock_timestamp() + least($3 * 2 ^ least(a.looks + 1, 30), $4) * interval '1 second'
FROM due d
WHERE a.message_id = d.message_id AND a.part = d.part
RETURNING a.provider_message_id
