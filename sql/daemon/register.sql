-- daemon/register(host text, pid int, version text)
-- A new owner number for this start of the daemon.
INSERT INTO sms_owner (host, pid, version) VALUES ($1, $2, $3) RETURNING owner
