-- daemon/missed(window_ms bigint, at_most bigint)
-- Garage events that made no message.
SELECT kind, source_id, at, certain FROM sms_garage_missed($1, $2)
