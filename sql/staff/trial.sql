-- staff/trial(recipient text, body text, encoding text, segments int, provider text, provider_message_id text, status text, detail text, requested_by text, awaits_s int)
-- The record of a message that was sent to try a provider, and what is awaited of it, as of any other.
WITH recorded AS (
  SELECT sms_record_trial($1, $2, $3, $4, $5, $6, $7, $8, $9) AS id
), awaited AS (
  INSERT INTO sms_awaited (message_id, part, provider, provider_message_id, forms, next_at)
  SELECT r.id, p.part, $5, p.id, sms_id_forms(p.id), CASE WHEN $10 > 0 THEN clock_timestamp() + $10 * interval '1 second' END
  FROM recorded r CROSS JOIN LATERAL string_to_table($6, ' ') WITH ORDINALITY AS p (id, part)
  WHERE $10 IS NOT NULL AND $7 = 'sent' AND p.id <> ''
  ON CONFLICT DO NOTHING
)
SELECT id FROM recorded
