-- outbox/reconsider()
-- Messages that wait by hours which were changed while they were being looked at: they are looked at again.
WITH hours AS MATERIALIZED (
  SELECT sms_hours_version() AS version
)
UPDATE sms_outbox o SET next_at = clock_timestamp()
FROM hours h
WHERE o.reason = 'quiet_hours' AND o.state = 'queued' AND o.next_at > clock_timestamp()
  AND (o.hours_version < h.version OR o.hours_version > h.version)
RETURNING o.id
