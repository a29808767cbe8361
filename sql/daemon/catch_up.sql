-- daemon/catch_up(window_ms bigint, at_most bigint)
-- The certain ones of them, enqueued.
SELECT sms_garage_catch_up($1, $2) AS enqueued
