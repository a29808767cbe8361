-- staff/template_set(kind text, lang text, body text, encoding text, by text)
-- A new version of a template.
SELECT sms_template_set($1, $2, $3, $4, $5) AS version
