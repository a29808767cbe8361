-- staff/enqueue(kind text, source_id bigint, recipient text, body text, lang text, not_before timestamptz, by text)
INSERT INTO sms_outbox (kind, source_id, recipient, body, lang, not_before, requested_by) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
