-- daemon/leave(owner int, floor bigint)
-- This daemon stops: its share of the providers' limits is free at once, and the next start begins where its looks were.
UPDATE sms_owner SET ended_at = clock_timestamp(), floor = $2 WHERE owner = $1
