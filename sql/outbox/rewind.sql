-- outbox/rewind(lease_limit_ms bigint)
-- After the database's clock went back: times that were set by the clock as it was lie in a future in which nobody means to wait.
-- Rows that were claimed "later than now", or created so and never claimed, are looked at now, leases longer than any are cut to the longest, and doubts
-- begin to wait anew. What people scheduled (not_before) stays.
WITH early AS (
  UPDATE sms_outbox o
  SET next_at = CASE WHEN o.state = 'sending' THEN o.next_at ELSE greatest(clock_timestamp(), o.not_before) END,
      lease_until = least(o.lease_until, clock_timestamp() + $1 * interval '1 millisecond'),
      claimed_at = least(o.claimed_at, clock_timestamp())
  WHERE (o.state = 'sending' AND o.lease_until > clock_timestamp() + $1 * interval '1 millisecond')
     OR (o.state IN ('queued', 'unknown') AND o.next_at > clock_timestamp()
         AND coalesce(o.claimed_at, CASE WHEN o.not_before IS NULL THEN o.created_at END) > clock_timestamp() + interval '2 seconds')
  RETURNING o.id
), doubts AS (
  UPDATE sms_attempt a SET started_at = clock_timestamp()
  FROM sms_outbox o
  WHERE o.doubt IS NOT NULL AND a.message_id = o.id AND a.outcome = 'unknown' AND a.started_at > clock_timestamp() + interval '2 seconds'
)
SELECT id FROM early
