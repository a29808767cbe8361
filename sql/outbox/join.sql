-- outbox/join(id bigint, token bigint, customer text, others bigint[])
-- A message is about to go out: ties others of the same customer to it and returns which; null when it was itself tied to another.
SELECT sms_join($1, $2, $3, $4) AS taken
