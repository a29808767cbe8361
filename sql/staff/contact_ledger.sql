-- staff/contact_ledger(phone text)
-- Consent and opt-outs of one number, in order.
SELECT at, what, scope, how, wording, proof, by FROM sms_consent WHERE phone = $1 ORDER BY id LIMIT 1000
