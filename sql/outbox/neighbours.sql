-- outbox/neighbours(first bigint, last bigint, at_most bigint)
-- Garage events around these ids, and how old they are: what came together stands together. Reads at most so many rows each
-- way, whatever lies there. Events that staff let go, and history that was loaded, are no part of a flood.
WITH near AS (
  (SELECT id, kind, requested_by, released, reason, created_at FROM sms_outbox WHERE id <= $2 ORDER BY id DESC LIMIT $3)
  UNION
  (SELECT id, kind, requested_by, released, reason, created_at FROM sms_outbox WHERE id >= $1 ORDER BY id LIMIT $3)
)
SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s FROM near
WHERE kind IN ('service_completed', 'invoice_created') AND requested_by IS NULL AND NOT released AND reason IS DISTINCT FROM 'restored'
