-- outbox/accounted(provider text, recipient text, ids text[])
-- Which of the provider's ids belong to messages of this recipient that are accounted for: a message in doubt is not one of them.
SELECT h.provider_message_id AS id FROM sms_history h
WHERE h.recipient = $2 AND h.provider = $1 AND h.provider_message_id = ANY ($3)
