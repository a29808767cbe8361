-- staff/today(zone text)
-- What was settled since midnight in the garage's zone, by status.
SELECT status, count(*) AS messages, coalesce(sum(segments), 0)::bigint AS segments FROM sms_history
WHERE settled_at >= date_trunc('day', now() AT TIME ZONE $1) AT TIME ZONE $1
GROUP BY status ORDER BY status
