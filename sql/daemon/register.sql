-- daemon/register(host text, pid int, version text)
-- A new owner number for this start of the daemon, and where its looks may begin. It counts among those that work from its first beat on. And what this database is
-- called in the names of journals: a copy keeps the time of installation and has another name, or another server and with it
-- another state directory.
INSERT INTO sms_owner (host, pid, version, seen_at) VALUES ($1, $2, $3, '-infinity')
RETURNING owner, (SELECT current_database() || '-' || to_hex(floor(extract(epoch FROM installed_at) * 1000000)::bigint) FROM sms_installation) AS database_name,
  -- Not beyond what the sequence has given out: after a restore it may have gone back.
  (SELECT least(coalesce(max(o.floor), 0), (SELECT last_value FROM sms_outbox_id_seq)) FROM sms_owner o) AS floor
