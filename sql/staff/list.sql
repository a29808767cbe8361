-- staff/list(status text, phones text[], kind text, since timestamptz, before bigint, at_most bigint)
-- Messages, newest first. Every filter may be null. A status that only live rows have is not looked for in years of history.
SELECT id, kind, source_id, recipient, lang, body, status, reason, encoding, segments, provider, provider_message_id, attempts, requested_by, resend_of,
       created_at, not_before, sent_at, delivered_at, detail, next_at, settled_at, template_version
FROM sms_message
WHERE ($1::text IS NULL OR status = $1) AND ($2::text[] IS NULL OR recipient = ANY ($2)) AND ($3::text IS NULL OR kind = $3)
  AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::bigint IS NULL OR id < $5)
  AND (coalesce($1 NOT IN ('queued', 'sending', 'held'), true) OR id >= (SELECT coalesce(min(o.id), 9223372036854775807) FROM sms_outbox o))
ORDER BY id DESC LIMIT $6
