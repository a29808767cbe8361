-- outbox/evidence(ids bigint[], attempts int[], outcomes text[], details text[], providers text[], provider_message_ids text[], recipients text[], bodies text[], owner int)
-- The result of an attempt whose row is no longer ours: kept, so that staff can see what happened. It may turn an attempt
-- that was recorded as unknown into a known one, never the other way round.
INSERT INTO sms_attempt AS a (message_id, attempt, outcome, detail, provider, provider_message_id, recipient, body, lease_owner)
SELECT r.*, $9 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS r (message_id, attempt, outcome, detail, provider, provider_message_id, recipient, body)
ON CONFLICT (message_id, attempt) DO UPDATE
SET outcome = excluded.outcome, detail = excluded.detail, provider_message_id = excluded.provider_message_id
WHERE a.outcome = 'unknown'
