-- staff/owners()
-- Daemons whose liveness lock is held right now.
SELECT o.owner, o.host, o.pid, o.version, o.started_at FROM sms_owner o
WHERE EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid::bigint = 1934709619 AND l.objid::bigint = o.owner AND l.granted)
ORDER BY o.owner
