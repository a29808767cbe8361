-- daemon/templates()
-- The newest version of each template.
SELECT DISTINCT ON (kind, lang) kind, lang, version, body, encoding FROM sms_template ORDER BY kind, lang, version DESC
