-- daemon/maintain()
-- Months ahead created, old ones dropped.
SELECT sms_maintain() AS done
