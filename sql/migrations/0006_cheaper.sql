-- What an INSERT into the outbox costs whoever makes it: see docs/adr/0012-triggers.md for the figures.

-- A CHECK is read from the catalogue and planned anew by every statement that writes a row, and it is tried again for every row
-- that a claim updates. A trigger function is kept by the session, and fires only where one of these columns is written. The
-- state stays a CHECK: the daemon writes it.
ALTER TABLE sms_outbox
  DROP CONSTRAINT sms_outbox_kind, DROP CONSTRAINT sms_outbox_source, DROP CONSTRAINT sms_outbox_text,
  DROP CONSTRAINT sms_outbox_size, DROP CONSTRAINT sms_outbox_lang, DROP CONSTRAINT sms_outbox_not_before,
  DROP CONSTRAINT sms_outbox_state;

-- Refuses a bad row with a sentence; gives a new row its lane, and its time when it has one: a row with a time, and every bulk
-- row, is found through sms_outbox_next instead of the scan for fresh rows. It names no object of ours and so needs no
-- search_path of its own, which would cost every row as much again.
CREATE FUNCTION sms_outbox_check() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  problem text;
  mend    text;
BEGIN
  -- An event of the garage, the one that must be cheap. NOT NULL refuses a row without a kind.
  IF NEW.kind IS NULL OR NEW.kind IN ('service_completed', 'invoice_created') AND NEW.source_id IS NOT NULL AND NEW.state = 'queued'
     AND num_nonnulls(NEW.recipient, NEW.body, NEW.lang, NEW.not_before, NEW.source_at, NEW.requested_by) = 0 THEN
    RETURN NEW;
  END IF;
  IF NEW.kind NOT IN ('service_completed', 'invoice_created', 'appointment_reminder', 'custom', 'campaign') THEN
    problem := format('unknown kind "%s"', left(NEW.kind, 60));
    mend := 'Allowed: service_completed, invoice_created, appointment_reminder (with source_id), custom, campaign (with recipient and body).';
  ELSIF NEW.lang !~ '^[a-z]{2,3}$' THEN
    problem := format('unknown language "%s"', left(NEW.lang, 20));
    mend := 'Write a language code of two or three small letters, such as fr, ar, en.';
  ELSIF NEW.not_before NOT BETWEEN '2000-01-01' AND '2100-01-01' OR NEW.source_at NOT BETWEEN '2000-01-01' AND '2100-01-01' THEN
    problem := 'not_before is out of range';
    mend := 'Write a time between the years 2000 and 2100, with its zone: 2026-12-01 08:00+01.';
  ELSIF length(NEW.body) > 1600 OR length(NEW.recipient) > 100 OR length(NEW.requested_by) > 200 THEN
    problem := 'the message is too long';
    mend := 'Allowed: a body of 1600 characters, a recipient of 100.';
  ELSIF NEW.state NOT IN ('queued', 'sending', 'held', 'unknown') THEN
    problem := format('unknown state "%s"', left(NEW.state, 20));
    mend := 'A new message needs no state.';
  ELSIF NEW.kind IN ('custom', 'campaign') THEN
    IF coalesce(NEW.recipient, '') = '' OR coalesce(NEW.body, '') !~ '\S' THEN
      problem := format('a message of kind "%s" needs recipient and body', NEW.kind);
      mend := format('Example: INSERT INTO %I (kind, recipient, body) VALUES (''custom'', ''20 000 000'', ''Bonjour'');', TG_TABLE_NAME);
    END IF;
  ELSIF NEW.source_id IS NULL OR NEW.recipient IS NOT NULL OR NEW.body IS NOT NULL THEN
    problem := format('a message of kind "%s" needs source_id, and neither recipient nor body', NEW.kind);
    mend := 'Number and text are read from the garage''s tables. For a text of your own use kind custom with recipient and body.';
  END IF;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'ecar-sms: ' || problem, HINT = mend;
  END IF;
  IF TG_OP = 'INSERT' THEN
    IF NEW.kind = 'campaign' THEN
      NEW.lane := 1;
      NEW.next_at := coalesce(NEW.not_before, clock_timestamp());
    ELSIF NEW.not_before IS NOT NULL THEN
      NEW.next_at := NEW.not_before;
    END IF;
  END IF;
  RETURN NEW;
END $$;
DROP TRIGGER sms_outbox_schedule ON sms_outbox;
CREATE TRIGGER sms_outbox_check BEFORE INSERT OR UPDATE OF kind, source_id, recipient, body, lang, not_before, source_at, requested_by ON sms_outbox
  FOR EACH ROW EXECUTE FUNCTION sms_outbox_check();
-- The daemon writes the state at every claim: a condition is cheaper than a call.
CREATE TRIGGER sms_outbox_state BEFORE UPDATE OF state ON sms_outbox
  FOR EACH ROW WHEN (NEW.state NOT IN ('queued', 'sending', 'held', 'unknown')) EXECUTE FUNCTION sms_outbox_check();
-- A row that gets another time.
CREATE TRIGGER sms_outbox_schedule BEFORE UPDATE OF not_before ON sms_outbox FOR EACH ROW
  WHEN (NEW.not_before IS NOT NULL OR NEW.kind = 'campaign') EXECUTE FUNCTION sms_outbox_schedule();

-- As before, but the flag is read by a function instead of a query, a fifth of the cost. The garage's triggers read it
-- themselves: one function call less for each event.
CREATE OR REPLACE FUNCTION sms_outbox_wake() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF current_setting('ecar_sms.no_wake', true) = statement_timestamp()::text THEN
    RETURN NULL;
  END IF;
  IF pg_sequence_last_value('sms_wake'::regclass) = 1 AND pg_notification_queue_usage() < 0.5 THEN
    PERFORM pg_notify('sms_outbox', '');
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  PERFORM set_config('ecar_sms.no_wake', statement_timestamp()::text, true);
  RAISE WARNING 'ecar-sms: no wake-up was sent, the message waits for the next poll: %', SQLERRM;
  RETURN NULL;
END $$;
DROP TRIGGER sms_outbox_wake ON sms_outbox;
CREATE TRIGGER sms_outbox_wake AFTER INSERT ON sms_outbox FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION sms_outbox_wake();

-- With half of a page free one claim in ten to five had to go to another page, and then writes every index; with 60 % free none
-- has. What a long backlog leaves behind is given back once it has drained: the lock for that is taken only when it is free,
-- and let go when somebody waits.
ALTER TABLE sms_outbox SET (fillfactor = 40, vacuum_truncate = on);
