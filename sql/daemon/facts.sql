-- daemon/facts(kinds text[], source_ids bigint[])
-- What the messages of one batch say about the garage, each with its place in the batch, in any order.
SELECT ord, found, phone, state, at, amount, facts FROM sms_garage_facts($1, $2)
