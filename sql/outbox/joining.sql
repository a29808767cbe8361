-- outbox/joining(within_ms bigint, token bigint)
-- Completed services that wait for others of their customer, and those that other claims are just looking at; the first to go out first.
SELECT id, source_id FROM sms_outbox
WHERE lane = 0 AND next_at IS NOT NULL AND next_at <= now() + $1 * interval '1 millisecond' AND reason = 'joining' AND doubt IS NULL
  AND (state = 'queued' OR state = 'sending' AND joined IS NULL AND lease_token <> $2)
ORDER BY next_at LIMIT 500
