-- staff/set(name text, value text, by text)
SELECT sms_set($1, $2, $3) AS value
