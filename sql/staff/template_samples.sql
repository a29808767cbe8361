-- staff/template_samples(kind text, at_most bigint)
-- The newest rows of the garage that a message of this kind could speak of.
SELECT sms_garage_samples($1, $2) AS source_id
