-- receipt/enter(provider text, ids text[], statuses text[], references text[], reported_at timestamptz[], raws text[])
-- Enters delivery receipts in the order in which they came; how many found no message yet.
SELECT count(*) FILTER (WHERE sms_receive($1, r.id, r.status, r.reference, r.reported_at, r.raw) IS NULL) AS orphans
FROM unnest($2, $3, $4, $5, $6) WITH ORDINALITY AS r (id, status, reference, reported_at, raw, place)
