-- daemon/remind(lead_ms bigint, at_most bigint)
-- Appointments that are due for a reminder.
SELECT sms_garage_remind($1, $2) AS enqueued
