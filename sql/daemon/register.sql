-- daemon/register(host text, pid int, version text)
-- A new owner number for this start of the daemon. It counts among those that work from its first beat on.
INSERT INTO sms_owner (host, pid, version, seen_at) VALUES ($1, $2, $3, '-infinity') RETURNING owner
