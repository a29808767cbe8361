-- daemon/identify()
-- What this database is called in the names of journals: a copy keeps the time of installation and has another name, or another
-- server and with it another state directory.
SELECT current_database() || '-' || to_hex(floor(extract(epoch FROM installed_at) * 1000000)::bigint) AS name FROM sms_installation
