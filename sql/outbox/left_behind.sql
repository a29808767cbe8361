-- outbox/left_behind(after bigint, below bigint, at_most bigint)
-- Of a piece of the outbox below the floor the lowest id of a fresh row: one that was locked by somebody while the claims passed it.
SELECT min(id) FILTER (WHERE next_at IS NULL AND state = 'queued') AS id, max(id) AS last, count(*) AS rows
FROM (SELECT id, next_at, state FROM sms_outbox WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3) AS piece
