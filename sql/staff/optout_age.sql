-- staff/optout_age(kinds text[])
-- How old the last list of opt-outs is, and whether any marketing waits or was sent within two days.
SELECT (SELECT extract(epoch FROM now() - max(at))::float8 FROM sms_optout_import) AS age_s,
       EXISTS (SELECT FROM sms_outbox WHERE kind = ANY ($1) AND lane = 1 AND next_at IS NOT NULL)
       OR EXISTS (SELECT FROM (SELECT kind, status FROM sms_history WHERE settled_at > now() - interval '48 hours' ORDER BY id DESC LIMIT 5000) h
                  WHERE h.kind = ANY ($1) AND h.status = 'sent') AS marketing
