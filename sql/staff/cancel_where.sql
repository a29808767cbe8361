-- staff/cancel_where(kind text, reason text, since_ms bigint, until_ms bigint, all boolean, by text)
-- The next few thousand that match; times are ages by the database's clock.
SELECT sms_cancel_where($1, $2, CASE WHEN $5 THEN '-infinity' ELSE clock_timestamp() - $3 * interval '1 millisecond' END,
                         clock_timestamp() - $4 * interval '1 millisecond', $6) AS messages
