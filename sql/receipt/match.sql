-- receipt/match()
-- Receipts that came before the answer find their messages.
SELECT sms_match_receipts() AS matched
