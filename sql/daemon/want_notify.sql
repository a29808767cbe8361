-- daemon/want_notify(wanted boolean)
-- Sets the wake flag before sleeping, clears it while busy.
SELECT sms_want_notify($1)
