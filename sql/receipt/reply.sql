-- receipt/reply(phone text, body text, provider text)
-- A text that a customer sent back; what it made us do.
SELECT sms_receive_reply($1, $2, $3) AS doing
