-- staff/held()
-- What is held for staff, by reason. Counts stop at 100,000 rows.
SELECT coalesce(reason, '') AS reason, count(*) AS messages FROM (SELECT reason FROM sms_outbox WHERE state = 'held' LIMIT 100000) held
GROUP BY 1 ORDER BY 2 DESC, 1
