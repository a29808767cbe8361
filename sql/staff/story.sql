-- staff/story(id bigint)
-- Every decision, attempt and receipt of one message, in order.
SELECT at, what, detail, by FROM (
  SELECT o.created_at AS at, 'created' AS what, NULL AS detail, o.requested_by AS by FROM sms_outbox o WHERE o.id = $1
  UNION ALL
  SELECT h.created_at, 'created', NULL, h.requested_by FROM sms_history h WHERE h.id = $1
  UNION ALL
  SELECT e.at, e.what, concat_ws(': ', e.reason, e.detail), e.by FROM sms_event e WHERE e.message_id = $1
  UNION ALL
  SELECT a.ended_at, 'attempt ' || a.attempt || ': ' || a.outcome, concat_ws(', ', a.provider, nullif(a.detail, '')), NULL FROM sms_attempt a WHERE a.message_id = $1
  UNION ALL
  SELECT h.settled_at, h.status, concat_ws(': ', h.reason, nullif(h.detail, ''), CASE WHEN h.status = 'sent' THEN concat_ws(', ', h.provider, h.provider_message_id) END), NULL
  FROM sms_history h WHERE h.id = $1
  UNION ALL
  SELECT r.received_at, 'receipt: ' || r.status, r.provider, NULL FROM sms_receipt r WHERE r.message_id = $1
) story ORDER BY at, what
