-- daemon/settings()
-- All settings; durations as milliseconds beside the text, and which of them a wait for an hour rests on.
SELECT name, value, unit, description, version, updated_at, updated_by,
       CASE WHEN unit = 'duration' THEN (extract(epoch FROM value::interval) * 1000)::bigint END AS value_ms,
       sms_sets_hours(name, unit) AS sets_hours
FROM sms_setting ORDER BY name
