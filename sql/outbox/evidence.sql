-- outbox/evidence(ids bigint[], attempts int[], outcomes text[], details text[], providers text[], provider_message_ids text[], recipients text[], bodies text[], owner int)
-- The result of an attempt whose row is no longer ours: kept, so that staff can see what happened. It may turn an attempt
-- that was recorded as unknown into a known one, never the other way round. A result of ours that is in history already (its
-- answer was lost, and it was written again) is no news.
INSERT INTO sms_attempt AS a (message_id, attempt, outcome, detail, provider, provider_message_id, recipient, body, lease_owner)
SELECT r.*, $9 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS r (message_id, attempt, outcome, detail, provider, provider_message_id, recipient, body)
WHERE NOT EXISTS (SELECT FROM sms_history h WHERE h.id = r.message_id AND h.attempts = r.attempt AND h.lease_owner = $9 AND h.provider IS NOT NULL)
ON CONFLICT (message_id, attempt) DO UPDATE
SET outcome = excluded.outcome, detail = excluded.detail, provider_message_id = excluded.provider_message_id
WHERE a.outcome = 'unknown' AND excluded.outcome <> 'unknown'
RETURNING message_id
