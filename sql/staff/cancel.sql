-- staff/cancel(id bigint, by text)
SELECT sms_cancel($1, $2) AS id
