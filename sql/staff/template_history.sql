-- staff/template_history(kind text, lang text)
-- All versions of one template, the newest first.
SELECT version, body, encoding, created_at, created_by FROM sms_template WHERE kind = $1 AND lang = $2 ORDER BY version DESC LIMIT 1000
