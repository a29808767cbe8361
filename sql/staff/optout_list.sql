-- staff/optout_list(at_most bigint)
-- Numbers that have opted out, the newest first.
SELECT phone, lang, opted_out, consent_at, how, updated_at, updated_by FROM sms_contact WHERE opted_out IS NOT NULL
ORDER BY updated_at DESC LIMIT $1
