-- staff/template_check(kind text, lang text, body text)
-- Refuses a template that is none, and says where.
SELECT sms_template_check($1, $2, $3) IS NULL AS checked
