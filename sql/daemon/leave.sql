-- daemon/leave(owner int)
-- This daemon stops: its share of the providers' limits is free at once.
UPDATE sms_owner SET ended_at = clock_timestamp() WHERE owner = $1
