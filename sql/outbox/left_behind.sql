-- outbox/left_behind(below bigint)
-- The lowest id of a fresh row below the floor: one that was locked by somebody while the claims passed it. This may read the whole
-- outbox, so it runs beside the claims. The sum keeps the planner from walking the primary key in search of a first row.
SELECT min(id + 0) AS id FROM sms_outbox WHERE id <= $1 AND next_at IS NULL AND state = 'queued'
