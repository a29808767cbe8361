-- daemon/try_notify()
-- A notification for our own listener, to see that it arrives.
SELECT pg_notify('sms_outbox', '')
