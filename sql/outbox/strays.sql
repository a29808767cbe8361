-- outbox/strays(after bigint, at_most bigint, owner int, live_tokens bigint[], newest bigint)
-- Whether a piece of the outbox has rows that nobody holds any more: what outbox/rescue and outbox/unclaim would take.
SELECT max(id) AS last, count(*) AS rows,
       coalesce(bool_or(lease_until < clock_timestamp() AND lease_owner IS DISTINCT FROM $3) FILTER (WHERE state = 'sending'), false) AS lost,
       coalesce(bool_or(lease_owner = $3 AND lease_token <= $5 AND NOT lease_token = ANY ($4)) FILTER (WHERE state = 'sending'), false) AS unclaimed
FROM (SELECT id, state, lease_until, lease_owner, lease_token FROM sms_outbox WHERE id > $1 ORDER BY id LIMIT $2) AS piece
