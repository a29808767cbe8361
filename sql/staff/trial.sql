-- staff/trial(recipient text, body text, encoding text, segments int, provider text, provider_message_id text, status text, detail text, requested_by text)
-- The record of a message that was sent to try a provider.
INSERT INTO sms_history (id, kind, recipient, body, status, detail, encoding, segments, provider, provider_message_id, attempts, requested_by, created_at,
                         sent_at)
VALUES (nextval('sms_outbox_id_seq'), 'custom', $1, $2, $7, $8, $3, $4, $5, $6, 1, $9, clock_timestamp(),
        CASE WHEN $7 = 'sent' THEN clock_timestamp() END)
RETURNING id
