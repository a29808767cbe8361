-- staff/exists(kind text, source_id bigint)
-- Whether the garage has this service or invoice.
SELECT sms_garage_exists($1, $2) AS found
