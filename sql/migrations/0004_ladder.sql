-- What became of a message whose answer is missing: the columns that the ladder of rescue stands on, receipts that name our
-- reference, and the daemons that share the work.

ALTER TABLE sms_outbox ADD COLUMN journaled boolean NOT NULL DEFAULT false, ADD COLUMN doubt int, ADD COLUMN doubt_provider text;
COMMENT ON COLUMN sms_outbox.journaled IS 'The daemon that claimed it keeps a journal: where that journal has no entry, no request was written.';
COMMENT ON COLUMN sms_outbox.doubt IS 'The attempt that may have been sent and has not been cleared up. A repetition carries its reference.';
COMMENT ON COLUMN sms_outbox.doubt_provider IS 'Who was asked in that attempt, when it is known. Nobody else may repeat it.';

-- Messages in doubt, in the order in which they are looked at. A claim writes neither column, so it stays a HOT update.
CREATE INDEX sms_outbox_doubt ON sms_outbox (next_at) WHERE doubt IS NOT NULL;

-- Rows that were in doubt before this migration.
UPDATE sms_outbox o SET doubt = attempt, doubt_provider = (SELECT a.provider FROM sms_attempt a WHERE a.message_id = o.id AND a.attempt = o.attempt)
WHERE state = 'unknown';

-- Our name for an attempt, as the provider may keep it; the same in Rust is `Armed::reference`. The time is part of it, because a
-- restored database may give an id to another message.
CREATE FUNCTION sms_reference(message_id bigint, attempt int, created_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT 'ecar-' || message_id || '-' || attempt || '-' || to_hex(floor(extract(epoch FROM created_at))::bigint)
$$;

ALTER TABLE sms_receipt ADD COLUMN reference text;
COMMENT ON COLUMN sms_receipt.reference IS 'Our reference of the attempt, where the provider gives it back: the only way to match a message whose answer never came.';

-- A daemon that works says so every few seconds; the others share the providers' limits with it.
ALTER TABLE sms_owner ADD COLUMN seen_at timestamptz NOT NULL DEFAULT clock_timestamp(), ADD COLUMN ended_at timestamptz;

-- Enters a delivery receipt and returns the message it belongs to. It is found by our reference, or by the provider's id as it was
-- recorded; a receipt that fits no message is kept as an orphan. A message in doubt is looked at again at once.
CREATE FUNCTION sms_receive(provider text, provider_message_id text, status text, reference text DEFAULT NULL,
                            reported_at timestamptz DEFAULT NULL, raw text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  found_id bigint;
  suspect  bigint;
BEGIN
  IF sms_receive.status NOT IN ('delivered', 'undelivered', 'pending') THEN
    PERFORM sms_refuse(format('unknown status "%s" of a receipt', left(sms_receive.status, 60)), 'Allowed: delivered, undelivered, pending.');
  END IF;
  IF sms_receive.reference ~ '^ecar-[0-9]{1,18}-[0-9]{1,9}-[0-9a-f]{1,16}$' THEN
    suspect := split_part(sms_receive.reference, '-', 2)::bigint;
    SELECT m.id INTO found_id FROM sms_message m
    WHERE m.id = suspect AND to_hex(floor(extract(epoch FROM m.created_at))::bigint) = split_part(sms_receive.reference, '-', 4) LIMIT 1;
  END IF;
  INSERT INTO sms_receipt (provider, provider_message_id, message_id, status, reference, reported_at, raw)
  VALUES (sms_receive.provider, coalesce(sms_receive.provider_message_id, ''), found_id, sms_receive.status, sms_receive.reference,
          sms_receive.reported_at, left(sms_receive.raw, 4000));
  UPDATE sms_outbox o SET next_at = clock_timestamp() WHERE o.id = found_id AND o.state = 'unknown';
  RETURN found_id;
END $$;
