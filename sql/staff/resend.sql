-- staff/resend(id bigint, by text)
SELECT sms_resend($1, $2) AS id
