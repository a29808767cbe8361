-- daemon/register(host text, pid int, version text)
-- A new owner number for this start of the daemon, which counts among those that work from its first beat on. And what this database is
-- called in the names of journals: a copy keeps the time of installation and has another name, or another server and with it
-- another state directory.
INSERT INTO sms_owner (host, pid, version, seen_at) VALUES ($1, $2, $3, '-infinity')
RETURNING owner, (SELECT current_database() || '-' || to_hex(floor(extract(epoch FROM installed_at) * 1000000)::bigint) FROM sms_installation) AS database_name
