-- receipt/forget()
-- Gives up what nobody tells any more, and forgets what is too old; how many messages.
SELECT sms_forget_receipts() AS messages
