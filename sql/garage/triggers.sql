-- What the garage's application does, turned into outbox rows. Run again at every `ecar-sms install`.
--
-- The application must never notice: a trigger never raises, whatever state our tables or its own columns are in; it waits
-- for a lock of ours 300 ms at most, once a transaction, and 10 ms in each later statement of it; it names no column outside
-- a function body, so that ALTER TABLE and migrations of the application are never refused; and it needs no right of the
-- application's role on our tables.

-- The triggers fire once a statement, with its rows as they were (sms_was) and as they are (sms_now): what a statement costs more
-- hardly grows with its rows, and all its events come in one INSERT and one subtransaction. Each first does it the cheap way, with
-- columns by name. Where that fails, for whatever reason (a column is gone or has another type, our table is not what it should
-- be), it is undone, and the rows are looked at one by one, with care, through to_jsonb. What each of these things costs stands in
-- docs/adr/0012-triggers.md.

-- Adds one row, with care. A lock_timeout of its own, because the application's may be 0 (for ever). A constraint on our table that is
-- checked at the end of the transaction is checked here: there it would fail the application's COMMIT.
--
-- With written_at the row says itself when it was written last: one that is older than the messages of its kind are worth is
-- history being loaded (a backup restored row by row) and no event. It is held, for staff to see.
CREATE OR REPLACE FUNCTION sms_garage_enqueue(kind text, source_id bigint, written_at text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '300ms' AS $$
DECLARE
  late    text;
  history boolean;
BEGIN
  IF current_setting('ecar_sms.gave_up', true) = statement_timestamp()::text THEN
    RAISE EXCEPTION USING ERRCODE = 'lock_not_available', MESSAGE = 'the outbox is locked (not tried again in this statement)';
  END IF;
  IF coalesce(current_setting('ecar_sms.gave_up', true), '') <> '' THEN
    -- An earlier statement of this transaction has waited already: fifty saves in one must not wait fifty times.
    PERFORM set_config('lock_timeout', '10ms', true);
  END IF;
  FOR late IN
    SELECT format('%s.%I', c.connamespace::regnamespace, c.conname) FROM pg_constraint c WHERE c.conrelid = to_regclass('sms_outbox') AND c.condeferrable
  LOOP
    EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', late);
  END LOOP;
  history := sms_garage_is_history(kind, written_at);
  INSERT INTO sms_outbox (kind, source_id, requested_by, state, reason, detail)
  VALUES (kind, source_id, NULL, CASE WHEN history THEN 'held' ELSE 'queued' END, CASE WHEN history THEN 'restored' END,
          CASE WHEN history THEN 'the row was written at ' || left(written_at, 40) || ' and loaded later' END);
END $$;
-- Of versions before history was told from events.
DROP FUNCTION IF EXISTS sms_garage_enqueue(text, bigint);

-- Whether a row that was written then is too old for a message. A row just written is not looked at twice, so that our
-- settings' table is never in the application's way; what cannot be read counts as an event.
CREATE OR REPLACE FUNCTION sms_garage_is_history(kind text, written_at text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET lock_timeout = '10ms' AS $$
BEGIN
  IF written_at IS NULL OR written_at::timestamptz > clock_timestamp() - interval '1 minute' THEN
    RETURN false;
  END IF;
  RETURN coalesce(written_at::timestamptz < clock_timestamp() - (SELECT s.value::interval FROM sms_setting s WHERE s.name = kind || '.validity'), false);
EXCEPTION WHEN OTHERS THEN
  RETURN false;
END $$;

-- Whether our table has a constraint that is checked at the end of the transaction, which needs care. IMMUTABLE it is not: it is called so
-- that the planner asks once and keeps the answer in the plan of the INSERT that names it. Whoever gives the table such a
-- constraint makes every such plan void, and it is asked again.
CREATE OR REPLACE FUNCTION sms_outbox_defers() RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
  SELECT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = 'sms_outbox'::regclass AND c.condeferrable)
$$;

-- Services that become completed, by INSERT or by a change of their status. A save that leaves the status alone is none.
CREATE OR REPLACE FUNCTION sms_garage_service() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '300ms' AS $$
DECLARE
  found_one boolean;
  queued boolean := false;
  event     record;
BEGIN
  BEGIN
    -- The cheap look, with which most statements end; and one without events does not even touch the outbox.
    SELECT true INTO found_one FROM sms_now n WHERE n.status = 'completed';
    IF found_one AND TG_OP = 'UPDATE' THEN
      SELECT true INTO found_one FROM sms_now n WHERE n.status = 'completed' AND n.id NOT IN (SELECT w.id FROM sms_was w WHERE w.status = 'completed');
    END IF;
    IF found_one IS NULL THEN
      RETURN NULL;
    END IF;
    IF current_setting('ecar_sms.gave_up', true) <> '' THEN
      RAISE EXCEPTION 'an earlier statement of this transaction has waited already';
    END IF;
    IF TG_OP = 'UPDATE' THEN
      -- Plain SQL does not touch updated_at: a change is an event, whatever it says.
      INSERT INTO sms_outbox (kind, source_id, requested_by)
      SELECT 'service_completed', n.id, NULL FROM sms_now n
      WHERE n.status = 'completed' AND n.id NOT IN (SELECT w.id FROM sms_was w WHERE w.status = 'completed')
        AND NOT sms_outbox_defers();
    ELSE
      INSERT INTO sms_outbox (kind, source_id, requested_by, state, reason, detail)
      SELECT 'service_completed', n.id, NULL, CASE WHEN h.history THEN 'held' ELSE 'queued' END, CASE WHEN h.history THEN 'restored' END,
             CASE WHEN h.history THEN 'the row was written at ' || left(n.updated_at::text, 40) || ' and loaded later' END
      FROM sms_now n, LATERAL (SELECT CASE WHEN n.updated_at > clock_timestamp() - interval '1 minute' THEN false
                                           ELSE sms_garage_is_history('service_completed', n.updated_at::text) END AS history OFFSET 0) h
      WHERE n.status = 'completed' AND NOT sms_outbox_defers();
    END IF;
    IF FOUND THEN
      queued := true;
      IF pg_sequence_last_value('sms_wake'::regclass) = 1 AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('sms_outbox', '');
      END IF;
      RETURN NULL;
    END IF;
  EXCEPTION
    WHEN lock_not_available THEN
      IF NOT queued THEN
        PERFORM set_config('ecar_sms.gave_up', statement_timestamp()::text, true);
      END IF;
    WHEN OTHERS THEN
      NULL;
  END;
  BEGIN
    FOR event IN EXECUTE CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT to_jsonb(n) AS row, NULL AS was, to_jsonb(n) ->> ''updated_at'' AS written_at FROM sms_now n'
        ELSE 'SELECT n.row, w.row ->> ''status'' AS was, NULL AS written_at
              FROM (SELECT to_jsonb(r) AS row, row_number() OVER () AS nth FROM sms_now r) n
              JOIN (SELECT to_jsonb(r) AS row, row_number() OVER () AS nth FROM sms_was r) w USING (nth) ORDER BY nth' END
    LOOP
      BEGIN
        IF NOT event.row ? 'status' THEN
          RAISE WARNING 'ecar-sms: no message was queued for service %: its column status is gone', event.row ->> 'id';
        ELSIF event.row ->> 'status' = 'completed' AND event.was IS DISTINCT FROM 'completed' THEN
          PERFORM sms_garage_enqueue('service_completed', (event.row ->> 'id')::bigint, event.written_at);
        END IF;
      EXCEPTION
        WHEN lock_not_available THEN
          PERFORM set_config('ecar_sms.gave_up', statement_timestamp()::text, true);
          RAISE WARNING 'ecar-sms: no message was queued for service %: %', event.row ->> 'id', SQLERRM;
        WHEN OTHERS THEN
          RAISE WARNING 'ecar-sms: no message was queued for service %: %', event.row ->> 'id', SQLERRM;
      END;
    END LOOP;
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'ecar-sms: no message was queued for any service of this statement: %', SQLERRM;
  END;
  -- Queued and undone means that the flag could not be read.
  IF queued THEN
    RAISE WARNING 'ecar-sms: no wake-up was sent, the messages wait for the next poll';
  ELSIF current_setting('ecar_sms.gave_up', true) IS DISTINCT FROM statement_timestamp()::text THEN
    BEGIN
      IF (SELECT last_value FROM sms_wake) = 1 THEN
        PERFORM pg_notify('sms_outbox', '');
      END IF;
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'ecar-sms: no wake-up was sent, the messages wait for the next poll: %', SQLERRM;
    END;
  END IF;
  RETURN NULL;
END $$;

-- New invoices. Their items may follow, so the amount is read when the message is claimed.
CREATE OR REPLACE FUNCTION sms_garage_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '300ms' AS $$
DECLARE
  queued boolean := false;
  event     record;
BEGIN
  BEGIN
    IF current_setting('ecar_sms.gave_up', true) <> '' THEN
      RAISE EXCEPTION 'an earlier statement of this transaction has waited already';
    END IF;
    INSERT INTO sms_outbox (kind, source_id, requested_by, state, reason, detail)
    SELECT 'invoice_created', n.id, NULL, CASE WHEN h.history THEN 'held' ELSE 'queued' END, CASE WHEN h.history THEN 'restored' END,
           CASE WHEN h.history THEN 'the row was written at ' || left(n.created_at::text, 40) || ' and loaded later' END
    FROM sms_now n, LATERAL (SELECT CASE WHEN n.created_at > clock_timestamp() - interval '1 minute' THEN false
                                         ELSE sms_garage_is_history('invoice_created', n.created_at::text) END AS history OFFSET 0) h
    WHERE NOT sms_outbox_defers();
    IF FOUND THEN
      queued := true;
      IF pg_sequence_last_value('sms_wake'::regclass) = 1 AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('sms_outbox', '');
      END IF;
      RETURN NULL;
    END IF;
  EXCEPTION
    WHEN lock_not_available THEN
      IF NOT queued THEN
        PERFORM set_config('ecar_sms.gave_up', statement_timestamp()::text, true);
      END IF;
    WHEN OTHERS THEN
      NULL;
  END;
  BEGIN
    FOR event IN EXECUTE 'SELECT to_jsonb(n) AS row, to_jsonb(n) ->> ''created_at'' AS written_at FROM sms_now n'
    LOOP
      BEGIN
        PERFORM sms_garage_enqueue('invoice_created', (event.row ->> 'id')::bigint, event.written_at);
      EXCEPTION
        WHEN lock_not_available THEN
          PERFORM set_config('ecar_sms.gave_up', statement_timestamp()::text, true);
          RAISE WARNING 'ecar-sms: no message was queued for invoice %: %', event.row ->> 'id', SQLERRM;
        WHEN OTHERS THEN
          RAISE WARNING 'ecar-sms: no message was queued for invoice %: %', event.row ->> 'id', SQLERRM;
      END;
    END LOOP;
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'ecar-sms: no message was queued for any invoice of this statement: %', SQLERRM;
  END;
  -- Queued and undone means that the flag could not be read.
  IF queued THEN
    RAISE WARNING 'ecar-sms: no wake-up was sent, the messages wait for the next poll';
  ELSIF current_setting('ecar_sms.gave_up', true) IS DISTINCT FROM statement_timestamp()::text THEN
    BEGIN
      IF (SELECT last_value FROM sms_wake) = 1 THEN
        PERFORM pg_notify('sms_outbox', '');
      END IF;
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'ecar-sms: no wake-up was sent, the messages wait for the next poll: %', SQLERRM;
    END;
  END IF;
  RETURN NULL;
END $$;

-- Created only when missing, or of a version before statements were looked at as a whole: a second install takes no lock on the
-- application's tables. Rows as they were and as they are can be had for one event in each trigger only.
DO $$
DECLARE
  t record;
BEGIN
  FOR t IN
    SELECT w.*
    FROM (VALUES
      ('core_service', 'sms_garage_service', 'UPDATE ON core_service REFERENCING OLD TABLE AS sms_was NEW TABLE AS sms_now', 'sms_garage_service'),
      ('core_service', 'sms_garage_service_born', 'INSERT ON core_service REFERENCING NEW TABLE AS sms_now', 'sms_garage_service'),
      ('core_invoice', 'sms_garage_invoice', 'INSERT ON core_invoice REFERENCING NEW TABLE AS sms_now', 'sms_garage_invoice')
    ) AS w (tab, trigger_name, event, function_name)
    LEFT JOIN pg_trigger p ON p.tgrelid = w.tab::regclass AND p.tgname = w.trigger_name
    WHERE p.tgnewtable IS NULL
  LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %I', t.trigger_name, t.tab);
    EXECUTE format('CREATE TRIGGER %I AFTER %s FOR EACH STATEMENT EXECUTE FUNCTION %I()', t.trigger_name, t.event, t.function_name);
  END LOOP;
END $$;
