-- outbox/join(id bigint, token bigint, others bigint[])
-- Ties waiting and claimed messages of the same customer to one that is about to go out; returns which.
SELECT joined AS id FROM unnest(sms_join($1, $2, $3)) joined
