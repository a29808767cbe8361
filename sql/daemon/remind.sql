-- daemon/remind(offsets text, zone text, at_most bigint)
-- Reminders that are no longer true are withdrawn, those that are due are made.
SELECT sms_garage_remind($1, $2, $3) AS enqueued
