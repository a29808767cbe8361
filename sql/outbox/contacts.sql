-- outbox/contacts(phones text[])
-- What is on record of the numbers of a batch: one look-up in the primary key for each that is known.
SELECT phone, lang, opted_out, consent_at IS NOT NULL AS consent FROM sms_contact WHERE phone = ANY ($1)
