-- daemon/settings()
-- All settings; durations as milliseconds beside the text.
SELECT name, value, unit, description, version, updated_at, updated_by,
       CASE WHEN unit = 'duration' THEN (extract(epoch FROM value::interval) * 1000)::bigint END AS value_ms
FROM sms_setting ORDER BY name
