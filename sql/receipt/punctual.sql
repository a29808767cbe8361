-- receipt/punctual(provider text, slow_s int, window_s int)
-- Of the messages of the last minutes: how many arrived in time, and how many are, or came, late.
SELECT (SELECT count(*) FROM sms_receipt r
        WHERE r.provider = $1 AND r.received_at > now() - $3 * interval '1 second' AND r.took_s <= $2) AS on_time,
       (SELECT count(*) FROM sms_receipt r
        WHERE r.provider = $1 AND r.received_at > now() - $3 * interval '1 second' AND r.took_s > $2)
     + (SELECT count(*) FROM sms_awaited a
        WHERE a.provider = $1 AND a.status IS NULL
          AND a.sent_at BETWEEN now() - $3 * interval '1 second' AND now() - $2 * interval '1 second') AS late
