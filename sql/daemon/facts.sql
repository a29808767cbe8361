-- daemon/facts(kinds text[], source_ids bigint[])
-- What the messages of one batch say about the garage, in the order asked.
SELECT ord, found, phone, state, at, amount, facts FROM sms_garage_facts($1, $2) ORDER BY ord
