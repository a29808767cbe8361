-- staff/release(id bigint, by text)
SELECT sms_release($1, $2) AS id
