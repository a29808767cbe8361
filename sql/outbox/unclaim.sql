-- outbox/unclaim(owner int, live_tokens bigint[], newest bigint)
-- Rows leased to this daemon by a claim whose answer never arrived: nothing of that claim was handed out, so nothing was
-- sent, and they go back as if they had never been claimed. Claims newer than the list of live tokens are left alone.
UPDATE sms_outbox SET state = 'queued', attempt = attempt - 1, lease_until = NULL, next_at = clock_timestamp()
WHERE state = 'sending' AND lease_owner = $1 AND lease_token <= $3 AND NOT lease_token = ANY ($2)
RETURNING id
