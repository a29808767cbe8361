-- outbox/strays(after bigint, at_most bigint, owner int, live_tokens bigint[], newest bigint, lease_limit_ms bigint)
-- Whether a piece of the outbox has rows that nobody holds any more, or whose times lie in a future that a clock gone back has made: what
-- outbox/rescue, outbox/unclaim and outbox/rewind would take.
SELECT max(id) AS last, count(*) AS rows,
       coalesce(bool_or(lease_until < clock_timestamp() AND lease_owner IS DISTINCT FROM $3) FILTER (WHERE state = 'sending'), false) AS lost,
       coalesce(bool_or(lease_owner = $3 AND lease_token <= $5 AND NOT lease_token = ANY ($4)) FILTER (WHERE state = 'sending'), false) AS unclaimed,
       coalesce(bool_or(CASE state WHEN 'sending' THEN lease_until > now() + $6 * interval '1 millisecond'
                                   WHEN 'held' THEN false
                                   ELSE next_at > now() AND coalesce(claimed_at, CASE WHEN not_before IS NULL THEN created_at END) > now() + interval '2 seconds'
                        END), false) AS early
FROM (SELECT id, state, lease_until, lease_owner, lease_token, next_at, claimed_at, not_before, created_at FROM sms_outbox WHERE id > $1 ORDER BY id LIMIT $2) AS piece
