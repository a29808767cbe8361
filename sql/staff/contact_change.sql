-- staff/contact_change(phone text, lang text, opt_out text, consent boolean, how text, wording text, proof text, by text)
-- Changes a contact in one statement; NULL leaves as it is.
INSERT INTO sms_contact AS c (phone, lang, opted_out, consent_at, how, wording, proof, updated_by)
VALUES ($1, nullif($2, ''), nullif($3, 'none'), CASE WHEN $4 THEN clock_timestamp() END, $5, $6, $7, $8)
ON CONFLICT (phone) DO UPDATE
SET lang = CASE WHEN $2 IS NULL THEN c.lang ELSE excluded.lang END,
    opted_out = CASE WHEN $3 IS NULL THEN c.opted_out ELSE excluded.opted_out END,
    consent_at = CASE WHEN $4 IS NULL THEN c.consent_at ELSE excluded.consent_at END,
    how = CASE WHEN $3 IS NULL AND $4 IS NULL THEN c.how ELSE excluded.how END,
    wording = CASE WHEN $4 IS NULL THEN c.wording ELSE excluded.wording END,
    proof = CASE WHEN $4 IS NULL THEN c.proof ELSE excluded.proof END,
    updated_by = excluded.updated_by
RETURNING phone
