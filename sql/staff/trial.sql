-- staff/trial(recipient text, body text, encoding text, segments int, provider text, provider_message_id text, status text, detail text, requested_by text)
-- The record of a message that was sent to try a provider.
SELECT sms_record_trial($1, $2, $3, $4, $5, $6, $7, $8, $9) AS id
