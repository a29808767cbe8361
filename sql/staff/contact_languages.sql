-- staff/contact_languages(phones text[], langs text[], by text)
-- Sets the languages of many numbers.
WITH changed AS (
  INSERT INTO sms_contact AS c (phone, lang, updated_by) SELECT w.phone, w.lang, $3 FROM unnest($1, $2) AS w (phone, lang)
  ON CONFLICT (phone) DO UPDATE SET lang = excluded.lang, updated_by = excluded.updated_by WHERE c.lang IS DISTINCT FROM excluded.lang
  RETURNING 1
)
SELECT count(*) AS changed FROM changed
