-- outbox/quota(provider text, zone text, wanted int, most int)
-- Takes messages of the day's quota of a provider, or gives back; how many.
SELECT sms_take_quota($1, $2, $3, $4) AS granted
