-- daemon/beat(owner int, quiet_ms bigint, floor bigint)
-- Says that this daemon works, and counts who else does; `rank` is how many of them started before it. One that has been quiet for
-- quiet_ms counts no more. Keeps where the looks begin. And tells how long it is until a message in doubt is to be looked at: null, when there is none.
WITH me AS (UPDATE sms_owner SET seen_at = clock_timestamp(), ended_at = NULL, floor = $3 WHERE owner = $1)
SELECT count(*) AS daemons, count(*) FILTER (WHERE owner < $1) AS rank,
       extract(epoch FROM (SELECT min(next_at) FROM sms_outbox WHERE doubt IS NOT NULL AND state = 'unknown') - now())::float8 AS doubt_due_s
FROM sms_owner
WHERE owner = $1 OR (ended_at IS NULL AND seen_at > clock_timestamp() - $2 * interval '1 millisecond')
