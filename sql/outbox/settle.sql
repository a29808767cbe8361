-- outbox/settle(ids bigint[], tokens bigint[], statuses text[], reasons text[], details text[], recipients text[], langs text[], bodies text[], encodings text[], segments int[], providers text[], provider_message_ids text[], template_versions int[], awaits_s int[])
-- kept, returns (id bigint)
-- Moves finished messages to history. Only a row that still carries the token of the claim is ours to settle; an id that does
-- not come back is somebody else's by now. Run twice, the second run finds nothing: harmless.
WITH result AS (
  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    AS r (id, token, status, reason, detail, recipient, lang, body, encoding, segments, provider, provider_message_id, template_version, awaits_s)
), gone AS (
  DELETE FROM sms_outbox o USING result r
  WHERE o.id = r.id AND o.lease_token = r.token AND o.state IN ('sending', 'unknown')
  RETURNING o.id, o.kind, o.source_id, coalesce(r.recipient, o.recipient) AS recipient, coalesce(r.lang, o.lang) AS lang, coalesce(r.body, o.body) AS body,
            r.status, r.reason, r.detail, r.encoding, r.segments, r.provider, r.provider_message_id, o.attempt, o.requested_by, o.resend_of,
            o.source_at, o.created_at, o.not_before, o.claimed_at, o.lease_owner, r.template_version, o.joined, r.awaits_s
), awaited AS (
  -- An id for each part, where the provider gave several.
  INSERT INTO sms_awaited (message_id, part, provider, provider_message_id, forms, next_at)
  SELECT g.id, p.part, g.provider, p.id, sms_id_forms(p.id), CASE WHEN g.awaits_s > 0 THEN clock_timestamp() + g.awaits_s * interval '1 second' END
  FROM gone g CROSS JOIN LATERAL string_to_table(g.provider_message_id, ' ') WITH ORDINALITY AS p (id, part)
  WHERE g.awaits_s IS NOT NULL AND g.status = 'sent' AND p.id <> ''
  ON CONFLICT DO NOTHING
)
INSERT INTO sms_history (id, kind, source_id, recipient, lang, body, status, reason, detail, encoding, segments, provider, provider_message_id,
                         attempts, requested_by, resend_of, source_at, created_at, not_before, claimed_at, sent_at, lease_owner,
                         template_version, joined)
SELECT id, kind, source_id, recipient, lang, body, status, reason, detail, encoding, segments, provider, provider_message_id,
       attempt, requested_by, resend_of, source_at, created_at, not_before, claimed_at,
       CASE WHEN status = 'sent' THEN clock_timestamp() END, lease_owner, template_version, joined
FROM gone
RETURNING id
