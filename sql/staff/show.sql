-- staff/show(id bigint)
SELECT id, kind, source_id, recipient, lang, body, status, reason, encoding, segments, provider, provider_message_id, attempts, requested_by, resend_of,
       created_at, not_before, sent_at, delivered_at, detail, next_at, settled_at, template_version
FROM sms_message WHERE id = $1 ORDER BY settled_at DESC NULLS FIRST LIMIT 1
