-- staff/optout_alarm()
-- What is wrong with the list of opt-outs, or NULL.
SELECT sms_optout_alarm() AS alarm
