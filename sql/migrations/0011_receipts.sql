-- What became of each message: receipts find their message by the provider's id, in whatever form they write it, before or after the
-- answer, for each part of a long text.

-- The last word that is awaited of a part of a message; filled for providers that tell, emptied when they have told or after three days.
CREATE TABLE sms_awaited (
  message_id          bigint NOT NULL,
  part                smallint NOT NULL,
  provider            text NOT NULL,
  provider_message_id text NOT NULL,
  forms               text[] NOT NULL,
  status              text CHECK (status IN ('delivered', 'undelivered')),
  sent_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
  next_at             timestamptz,
  looks               int NOT NULL DEFAULT 0,
  PRIMARY KEY (message_id, part)
);
COMMENT ON TABLE sms_awaited IS 'ecar-sms: parts of messages whose delivery receipt is still to come.';
COMMENT ON COLUMN sms_awaited.forms IS 'The id as receipts may write it: see sms_id_forms.';
COMMENT ON COLUMN sms_awaited.next_at IS 'When the provider is asked for the receipt; NULL: it tells by itself.';
CREATE INDEX sms_awaited_forms ON sms_awaited USING gin (forms);
CREATE INDEX sms_awaited_next ON sms_awaited (provider, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX sms_awaited_sent ON sms_awaited (sent_at);

ALTER TABLE sms_receipt ADD COLUMN said text CHECK (said IN ('delivered', 'undelivered', 'pending')), ADD COLUMN took_s float8;
COMMENT ON COLUMN sms_receipt.took_s IS 'Seconds from the provider''s answer to this receipt.';
COMMENT ON COLUMN sms_receipt.status IS 'What the message as a whole is known to be: delivered when all of its parts are, undelivered when one is.';
COMMENT ON COLUMN sms_receipt.said IS 'What this receipt says, of its part alone.';
UPDATE sms_receipt SET said = status;
CREATE INDEX sms_receipt_id ON sms_receipt (provider, provider_message_id);
CREATE INDEX sms_receipt_took ON sms_receipt (provider, received_at) WHERE took_s IS NOT NULL;

-- An id without the case and the leading zeros that gateways add and drop.
CREATE FUNCTION sms_id_form(id text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(nullif(ltrim(lower(id), '0'), ''), '0')
$$;

-- The forms in which a receipt may write the id that an answer held: as it is, and, where it is a number of seven digits or more, the other
-- way round (decimal here, hexadecimal there). Short numbers are left alone: 10 and 16 are two messages more often than one.
CREATE FUNCTION sms_id_forms(id text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path FROM CURRENT AS $$
DECLARE
  form  text := sms_id_form(id);
  forms text[] := ARRAY[form];
BEGIN
  IF form ~ '^[0-9]{7,18}$' THEN
    forms := forms || to_hex(form::bigint);
  END IF;
  IF form ~ '^[0-9a-f]{7,15}$' THEN
    forms := forms || ('x' || lpad(form, 16, '0'))::bit(64)::bigint::text;
  END IF;
  RETURN forms;
END $$;

-- As before, and by the provider's id; for parts; and each receipt once, however often it comes.
CREATE OR REPLACE FUNCTION sms_receive(provider text, provider_message_id text, status text, reference text DEFAULT NULL,
                                       reported_at timestamptz DEFAULT NULL, raw text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  their_id text := coalesce(left(sms_receive.provider_message_id, 200), '');
  whole    text := sms_receive.status;
  found_id bigint;
  suspect  bigint;
  piece    smallint;
  since    timestamptz;
BEGIN
  IF sms_receive.status IS NULL OR sms_receive.status NOT IN ('delivered', 'undelivered', 'pending') THEN
    PERFORM sms_refuse(format('unknown status "%s" of a receipt', left(sms_receive.status, 60)), 'Allowed: delivered, undelivered, pending.');
  END IF;
  IF sms_receive.reference ~ '^ecar-[0-9]{1,18}-[0-9]{1,9}-[0-9a-f]{1,16}$' THEN
    suspect := split_part(sms_receive.reference, '-', 2)::bigint;
    SELECT m.id INTO found_id FROM sms_message m
    WHERE m.id = suspect AND to_hex(floor(extract(epoch FROM m.created_at))::bigint) = split_part(sms_receive.reference, '-', 4) LIMIT 1;
  END IF;
  IF their_id <> '' THEN
    SELECT a.message_id, a.part, a.sent_at INTO suspect, piece, since FROM sms_awaited a
    WHERE a.provider = sms_receive.provider AND a.forms @> ARRAY[sms_id_form(their_id)] AND (found_id IS NULL OR a.message_id = found_id)
    ORDER BY a.provider_message_id = their_id DESC, a.forms[1] = sms_id_form(their_id) DESC, a.message_id LIMIT 1;
    IF FOUND THEN
      found_id := suspect;
    ELSIF found_id IS NULL THEN
      -- Told before, and no longer awaited.
      SELECT r.message_id INTO found_id FROM sms_receipt r
      WHERE r.provider = sms_receive.provider AND r.provider_message_id = their_id AND r.message_id IS NOT NULL LIMIT 1;
    END IF;
  END IF;
  -- One at a time for each message: the parts of a message add up, and what comes twice counts once.
  PERFORM pg_advisory_xact_lock(hashtextextended('ecar-sms: receipts of ' || coalesce(found_id::text, sms_receive.provider || ' ' || their_id), 0));
  IF EXISTS (SELECT FROM sms_receipt r WHERE r.provider = sms_receive.provider AND r.provider_message_id = their_id AND r.said = sms_receive.status
             AND r.message_id IS NOT DISTINCT FROM found_id AND r.reference IS NOT DISTINCT FROM sms_receive.reference) THEN
    RETURN found_id;
  END IF;
  IF sms_receive.status <> 'pending' THEN
    -- Forward only: what is on the handset does not leave it again.
    UPDATE sms_awaited a SET status = sms_receive.status, next_at = NULL
    WHERE a.message_id = found_id AND (a.part = piece OR piece IS NULL) AND a.status IS DISTINCT FROM 'delivered';
    IF sms_receive.status = 'delivered' AND EXISTS (SELECT FROM sms_awaited a WHERE a.message_id = found_id AND a.status IS DISTINCT FROM 'delivered') THEN
      whole := 'pending';
    END IF;
  END IF;
  INSERT INTO sms_receipt (provider, provider_message_id, message_id, status, said, reference, reported_at, raw, took_s)
  VALUES (sms_receive.provider, their_id, found_id, whole, sms_receive.status, sms_receive.reference, sms_receive.reported_at, left(sms_receive.raw, 4000),
          CASE WHEN sms_receive.status <> 'pending' THEN extract(epoch FROM clock_timestamp() - since)::float8 END);
  IF whole = 'delivered' THEN
    DELETE FROM sms_awaited a WHERE a.message_id = found_id;
  END IF;
  UPDATE sms_outbox o SET next_at = clock_timestamp() WHERE o.id = found_id AND o.state = 'unknown';
  RETURN found_id;
END $$;

-- Receipts that came before the answer they belong to: entered again, now that the message is awaited. Returns how many found it. With the
-- installer's rights, like sms_forget_receipts: the daemon itself may only add receipts.
CREATE FUNCTION sms_match_receipts() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  orphan  sms_receipt;
  matched bigint := 0;
BEGIN
  FOR orphan IN
    SELECT r.* FROM sms_receipt r
    WHERE r.message_id IS NULL AND r.received_at > clock_timestamp() - interval '72 hours' AND r.provider_message_id <> ''
      AND EXISTS (SELECT FROM sms_awaited a WHERE a.provider = r.provider AND a.forms @> ARRAY[sms_id_form(r.provider_message_id)])
    ORDER BY r.id LIMIT 1000 FOR UPDATE SKIP LOCKED
  LOOP
    DELETE FROM sms_receipt r WHERE r.id = orphan.id;
    PERFORM sms_receive(orphan.provider, orphan.provider_message_id, orphan.said, orphan.reference, coalesce(orphan.reported_at, orphan.received_at), orphan.raw);
    matched := matched + 1;
  END LOOP;
  RETURN matched;
END $$;

-- How many messages a provider with a quota has been given on a day of the garage's zone, by all daemons together.
CREATE TABLE sms_quota (
  provider text NOT NULL,
  day      date NOT NULL,
  used     int NOT NULL DEFAULT 0 CHECK (used >= 0),
  PRIMARY KEY (provider, day)
);
COMMENT ON TABLE sms_quota IS 'ecar-sms: messages of the day, for providers with a daily_quota.';

-- Takes up to so many messages of the day's quota and returns how many; a negative number gives back what was not sent.
CREATE FUNCTION sms_take_quota(provider text, zone text, wanted int, most int) RETURNS int
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  today   date := (clock_timestamp() AT TIME ZONE zone)::date;
  before  int;
  granted int;
BEGIN
  INSERT INTO sms_quota AS q (provider, day) VALUES (sms_take_quota.provider, today) ON CONFLICT DO NOTHING;
  SELECT q.used INTO before FROM sms_quota q WHERE q.provider = sms_take_quota.provider AND q.day = today FOR UPDATE;
  granted := CASE WHEN wanted < 0 THEN greatest(wanted, -before) ELSE greatest(least(wanted, most - before), 0) END;
  UPDATE sms_quota q SET used = before + granted WHERE q.provider = sms_take_quota.provider AND q.day = today;
  RETURN granted;
END $$;

-- Nobody tells any more what became of messages of three days ago: they stay as sent. Receipts of messages that are none of ours are kept for a
-- week, and so are the counts of past days. Returns how many messages were given up.
CREATE FUNCTION sms_forget_receipts() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  WITH gone AS (
    DELETE FROM sms_awaited a WHERE a.sent_at < now() - interval '72 hours' RETURNING a.message_id
  ), days AS (
    DELETE FROM sms_quota q WHERE q.day < current_date - 7
  ), strangers AS (
    DELETE FROM sms_receipt r WHERE r.message_id IS NULL AND r.received_at < now() - interval '7 days'
  )
  SELECT count(DISTINCT g.message_id) FROM gone g
$$;

-- The record of a message that was sent to try a provider. It has a number of the outbox, which the daemon itself cannot draw.
CREATE FUNCTION sms_record_trial(recipient text, body text, encoding text, segments int, provider text, provider_message_id text, status text, detail text,
                                 requested_by text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
  INSERT INTO sms_history (id, kind, recipient, body, status, detail, encoding, segments, provider, provider_message_id, attempts, requested_by, created_at,
                           sent_at)
  VALUES (nextval('sms_outbox_id_seq'), 'custom', sms_record_trial.recipient, sms_record_trial.body, sms_record_trial.status, sms_record_trial.detail,
          sms_record_trial.encoding, sms_record_trial.segments, sms_record_trial.provider, sms_record_trial.provider_message_id, 1,
          sms_record_trial.requested_by, clock_timestamp(), CASE WHEN sms_record_trial.status = 'sent' THEN clock_timestamp() END)
  RETURNING id
$$;
