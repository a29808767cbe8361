-- The garage's triggers insert with the session's search_path and their owner's rights (docs/adr/0012-triggers.md), so what an event of the
-- garage meets here writes its names out, as they do.

-- Refuses a bad row with a sentence; gives a new row its lane, and its time when it has one; wakes the daemon. An event of the garage
-- goes no further than the first look. It names no object of ours and so needs no search_path of its own, which would cost every row as
-- much again: the channel is called as the table.
CREATE OR REPLACE FUNCTION sms_outbox_check() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  problem pg_catalog.text;
  mend    pg_catalog.text;
BEGIN
  -- An event of the garage, the one that must be cheap; its trigger wakes the daemon itself. NOT NULL refuses a row without a kind.
  IF NEW.kind IS NULL OR NEW.kind OPERATOR(pg_catalog.=) ANY ('{service_completed,invoice_created}') AND NEW.source_id IS NOT NULL
     AND NEW.state OPERATOR(pg_catalog.=) 'queued'
     AND pg_catalog.num_nonnulls(NEW.recipient, NEW.body, NEW.lang, NEW.not_before, NEW.source_at, NEW.requested_by) OPERATOR(pg_catalog.=) 0 THEN
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
    -- A hint only, and once a statement: what slips through is found by the poll.
    IF current_setting('ecar_sms.woken', true) IS DISTINCT FROM statement_timestamp()::text THEN
      PERFORM set_config('ecar_sms.woken', statement_timestamp()::text, true);
      IF pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify(TG_TABLE_NAME, '');
      END IF;
    END IF;
  END IF;
  RETURN NEW;
END $$;
