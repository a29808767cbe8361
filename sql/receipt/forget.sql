-- receipt/forget()
-- Nobody tells any more what became of these: they stay as sent. Receipts of messages that are none of ours are kept for a week.
WITH gone AS (
  DELETE FROM sms_awaited WHERE sent_at < now() - interval '72 hours' RETURNING message_id
), strangers AS (
  DELETE FROM sms_receipt WHERE message_id IS NULL AND received_at < now() - interval '7 days'
)
SELECT count(DISTINCT message_id) AS messages FROM gone
