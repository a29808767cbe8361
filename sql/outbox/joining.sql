-- outbox/joining(within_ms bigint)
-- Completed services that wait for others of their customer, the first to go out first.
SELECT id, source_id FROM sms_outbox
WHERE lane = 0 AND next_at IS NOT NULL AND next_at <= now() + $1 * interval '1 millisecond' AND state = 'queued' AND reason = 'joining'
ORDER BY next_at LIMIT 500
