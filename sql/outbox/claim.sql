-- outbox/claim(floor bigint, slots bigint, fresh bigint, owner int, token bigint, lease_ms bigint, journaled boolean)
-- kept, returns (id bigint, kind text, source_id bigint, recipient text, body text, lang text, requested_by text, resend_of bigint, source_at timestamptz, released boolean, attempt int, failures int, created_at timestamptz, doubt int, doubt_provider text, observed text, joined bigint[], joining boolean, lane smallint, age_s float8, fresh boolean, last_id bigint, snapshot_xmin bigint, snapshot_xmax bigint, wanted boolean, settings_version bigint, next_due_s float8, outbox_oid bigint, database_now timestamptz, contacts boolean)
-- One statement, one round trip: picks, leases, and returns all that is needed to send but the garage's facts. It commits
-- before anything is sent: the write-ahead intent. Fresh rows first, as many as allowed, then scheduled and retrying ones, then bulk. The head
-- columns stand in every row, and alone in one row when nothing was claimed.
-- A row that is locked is found again by its place, which costs the same however high the index has grown. One that was changed between the look and
-- its lock is not found there: it stays for the next look.
WITH fresh AS MATERIALIZED (
  -- CASE hides the condition from the planner: with no statistics yet it would take such rows for rare, and read and sort
  -- the whole outbox at every claim.
  SELECT ctid AS place FROM sms_outbox WHERE id > $1 AND CASE WHEN next_at IS NULL THEN state = 'queued' ELSE false END
  ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
), due AS MATERIALIZED (
  SELECT ctid AS place FROM sms_outbox WHERE lane = 0 AND next_at <= now() AND state = 'queued'
  ORDER BY next_at LIMIT $2 - (SELECT count(*) FROM fresh) FOR UPDATE SKIP LOCKED
), bulk AS MATERIALIZED (
  SELECT ctid AS place FROM sms_outbox WHERE lane = 1 AND next_at <= now() AND state = 'queued'
  ORDER BY next_at LIMIT $2 - (SELECT count(*) FROM fresh) - (SELECT count(*) FROM due) FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE sms_outbox o
  SET state = 'sending', attempt = o.attempt + 1, lease_owner = $4, lease_token = $5, claimed_at = clock_timestamp(),
      lease_until = clock_timestamp() + $6 * interval '1 millisecond', journaled = $7
  WHERE o.ctid = ANY (ARRAY(SELECT place FROM fresh UNION ALL SELECT place FROM due UNION ALL SELECT place FROM bulk))
  RETURNING o.id, o.kind, o.source_id, o.recipient, o.body, o.lang, o.requested_by, o.resend_of, o.source_at, o.released, o.attempt, o.failures,
            o.created_at, o.doubt, o.doubt_provider, o.observed, o.joined, o.reason IS NOT DISTINCT FROM 'joining' AS joining, o.lane,
            extract(epoch FROM o.claimed_at - greatest(o.created_at, o.not_before))::float8 AS age_s, o.next_at IS NULL AS fresh
)
SELECT claimed.*, head.*
FROM (
  SELECT (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM sms_outbox_id_seq) AS last_id,
         pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS snapshot_xmin,
         pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS snapshot_xmax,
         (SELECT last_value FROM sms_wake) = 1 AS wanted,
         (SELECT sum(version)::bigint FROM sms_setting) AS settings_version,
         extract(epoch FROM least((SELECT min(next_at) FROM sms_outbox WHERE lane = 0 AND next_at > now()),
                                  (SELECT min(next_at) FROM sms_outbox WHERE lane = 1 AND next_at > now())) - now())::float8 AS next_due_s,
         'sms_outbox'::regclass::oid::bigint AS outbox_oid,
         now() AS database_now,
         EXISTS (SELECT FROM sms_contact) AS contacts
) head
LEFT JOIN claimed ON true
ORDER BY claimed.lane, claimed.id
