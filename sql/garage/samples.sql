-- The newest rows that messages of a kind speak of, for previews of templates. Run again at every install.
CREATE OR REPLACE FUNCTION sms_garage_samples(kind text, at_most bigint) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
BEGIN
  IF kind = 'invoice_created' THEN
    RETURN QUERY SELECT i.id::bigint FROM core_invoice i ORDER BY i.id DESC LIMIT at_most;
  ELSE
    -- Bounded: a garage with a million services may have no appointment among them.
    RETURN QUERY SELECT s.id FROM (SELECT r.id::bigint AS id, r.status::text AS status FROM core_service r ORDER BY r.id DESC LIMIT 5000) s
    WHERE s.status = CASE sms_garage_samples.kind WHEN 'appointment_reminder' THEN 'scheduled' ELSE 'completed' END ORDER BY s.id DESC LIMIT at_most;
  END IF;
END $$;
