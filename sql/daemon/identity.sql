-- daemon/identity()
-- Which outbox this is, and what differs from the database that ecar-sms was installed in; null: nothing.
SELECT 'sms_outbox'::regclass::oid::bigint AS outbox_oid, sms_identity() AS differs
