-- staff/queue()
-- The live table at a glance. Counts stop at 100,000 rows, so that a glance stays cheap whatever the backlog.
WITH live AS (SELECT state, lane, next_at, created_at FROM sms_outbox LIMIT 100000)
SELECT count(*) FILTER (WHERE state = 'queued' AND coalesce(next_at, now()) <= now()) AS due,
       count(*) FILTER (WHERE state = 'queued' AND next_at > now()) AS scheduled,
       count(*) FILTER (WHERE state = 'sending') AS sending,
       count(*) FILTER (WHERE state = 'held') AS held,
       count(*) FILTER (WHERE state = 'unknown') AS unknown,
       count(*) FILTER (WHERE lane = 1) AS bulk,
       count(*) = 100000 AS counts_are_capped,
       extract(epoch FROM now() - min(coalesce(next_at, created_at)) FILTER (WHERE state = 'queued' AND lane = 0 AND coalesce(next_at, now()) <= now()))::float8 AS oldest_due_s
FROM live
