-- staff/contact_show(phone text)
-- What is on record of one number.
SELECT phone, lang, opted_out, consent_at, how, updated_at, updated_by FROM sms_contact WHERE phone = $1
