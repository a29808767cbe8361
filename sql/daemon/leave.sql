-- daemon/leave(owner int, floor bigint)
-- This daemon stops: its share of the providers' limits is free at once, and the next start begins where its looks were. Of a dead one
-- nobody knows where they were, and floor is null: what it kept last stands.
UPDATE sms_owner SET ended_at = clock_timestamp(), floor = coalesce($2, floor) WHERE owner = $1
