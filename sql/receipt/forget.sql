-- receipt/forget()
-- Nobody tells any more what became of these: they stay as sent. Receipts of messages that are none of ours are kept for a week, and so are the
-- counts of past days.
WITH gone AS (
  DELETE FROM sms_awaited WHERE sent_at < now() - interval '72 hours' RETURNING message_id
), days AS (
  DELETE FROM sms_quota WHERE day < current_date - 7
), strangers AS (
  DELETE FROM sms_receipt WHERE message_id IS NULL AND received_at < now() - interval '7 days'
)
SELECT count(DISTINCT message_id) AS messages FROM gone
