-- staff/optout_add(phones text[], scope text, how text, by text)
-- Takes numbers over, in E.164.
SELECT sms_optout_add($1, $2, $3, $4) AS added
