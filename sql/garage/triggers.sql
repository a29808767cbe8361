-- What the garage's application does, turned into outbox rows. Run again at every `ecar-sms install`.
--
-- The application must never notice: a trigger never raises, whatever state our tables or its own columns are in; it waits
-- for a lock of ours 300 ms at most, once a transaction, and 10 ms in each later statement of it; it names no column outside
-- a function body, so that ALTER TABLE and migrations of the application are never refused; and it needs no right of the
-- application's role on our tables.
--
-- Most statements are saves without an event, so the trigger functions do nothing before they have looked: no SET, no query, no rows
-- gathered. What each of these things costs stands in docs/adr/0012-triggers.md. An event goes the cheap way first, with columns by
-- name. Where that fails, for whatever reason (a column is gone or has another type, our table is not what it should be), it is undone,
-- and the row is looked at once more, with care, through to_jsonb.
--
-- The trigger functions run with their owner's rights and, without a SET, with the session's search_path, which may lead anywhere. So
-- they and sms_garage_event write every name, type and operator out. They use nothing that looks up an operator by itself: no IN,
-- BETWEEN, LIKE, IS DISTINCT FROM, NULLIF, nor CASE with an operand. tests/security.rs gives them a search_path full of traps.
-- The garage's schema is called ecar_sms_home here, and by its name from the end of this file on.

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

-- Adds one event the cheap way, and wakes the daemon if it sleeps. Raises where care is needed.
CREATE OR REPLACE FUNCTION sms_garage_event(kind text, source_id bigint) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '300ms' AS $$
BEGIN
  IF source_id IS NULL OR pg_catalog.current_setting('ecar_sms.gave_up', true) OPERATOR(pg_catalog.<>) '' THEN
    RAISE EXCEPTION 'no id, or an earlier statement of this transaction has waited already';
  END IF;
  INSERT INTO ecar_sms_home.sms_outbox (kind, source_id, requested_by) SELECT kind, source_id, NULL WHERE NOT ecar_sms_home.sms_outbox_defers();
  IF NOT FOUND THEN
    RAISE EXCEPTION 'a constraint of the outbox is checked at the end of the transaction';
  END IF;
  IF pg_catalog.pg_sequence_last_value('ecar_sms_home.sms_wake'::pg_catalog.regclass) OPERATOR(pg_catalog.=) 1
     AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.5 THEN
    PERFORM pg_catalog.pg_notify('sms_outbox', '');
  END IF;
END $$;

-- Looks at one row with care: whether it is an event, and if so, adds it. `was` is the row before an UPDATE.
CREATE OR REPLACE FUNCTION sms_garage_care(kind text, op text, was jsonb, is_now jsonb) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  noun text := CASE kind WHEN 'service_completed' THEN 'service' ELSE 'invoice' END;
BEGIN
  IF kind = 'service_completed' THEN
    IF NOT is_now ? 'status' THEN
      RAISE WARNING 'ecar-sms: no message was queued for service %: its column status is gone', is_now ->> 'id';
      RETURN;
    ELSIF is_now ->> 'status' IS DISTINCT FROM 'completed' OR was ->> 'status' = 'completed' THEN
      RETURN;
    END IF;
  END IF;
  BEGIN
    -- Plain SQL does not touch updated_at: a change is an event, whatever it says.
    PERFORM sms_garage_enqueue(kind, (is_now ->> 'id')::bigint, CASE WHEN op = 'INSERT' THEN is_now ->> CASE kind WHEN 'service_completed' THEN 'updated_at' ELSE 'created_at' END END);
  EXCEPTION
    WHEN lock_not_available THEN
      PERFORM set_config('ecar_sms.gave_up', statement_timestamp()::text, true);
      RAISE WARNING 'ecar-sms: no message was queued for % %: %', noun, is_now ->> 'id', SQLERRM;
      RETURN;
    WHEN OTHERS THEN
      RAISE WARNING 'ecar-sms: no message was queued for % %: %', noun, is_now ->> 'id', SQLERRM;
      RETURN;
  END;
  BEGIN
    IF (SELECT last_value FROM sms_wake) = 1 THEN
      PERFORM pg_notify('sms_outbox', '');
    END IF;
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'ecar-sms: no wake-up was sent, the message waits for the next poll: %', SQLERRM;
  END;
END $$;

-- Services that become completed, by INSERT or by a change of their status. A save that leaves the status alone is none, and
-- ends at the first comparison. What a trigger of this kind returns is not looked at: a variable that is NULL costs least, as NULL
-- itself is an expression that every transaction makes ready anew.
CREATE OR REPLACE FUNCTION sms_garage_service() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  nothing pg_catalog.text;
BEGIN
  BEGIN
    IF NEW.status OPERATOR(pg_catalog.=) 'completed' THEN
      IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
        IF NEW.updated_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '1 minute'::pg_catalog.interval) THEN
          -- This may be history being loaded.
          PERFORM ecar_sms_home.sms_garage_care('service_completed', TG_OP, NULL, pg_catalog.to_jsonb(NEW));
        ELSE
          PERFORM ecar_sms_home.sms_garage_event('service_completed', NEW.id);
        END IF;
      ELSIF (OLD.status OPERATOR(pg_catalog.=) 'completed') IS NOT TRUE THEN
        PERFORM ecar_sms_home.sms_garage_event('service_completed', NEW.id);
      END IF;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    DECLARE
      named pg_catalog.text;
    BEGIN
      named := pg_catalog.to_jsonb(NEW) OPERATOR(pg_catalog.->>) 'id';
      IF SQLSTATE OPERATOR(pg_catalog.=) '55P03' THEN
        PERFORM pg_catalog.set_config('ecar_sms.gave_up', pg_catalog.statement_timestamp()::pg_catalog.text, true);
      END IF;
      IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
        PERFORM ecar_sms_home.sms_garage_care('service_completed', TG_OP, NULL, pg_catalog.to_jsonb(NEW));
      ELSE
        PERFORM ecar_sms_home.sms_garage_care('service_completed', TG_OP, pg_catalog.to_jsonb(OLD), pg_catalog.to_jsonb(NEW));
      END IF;
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'ecar-sms: no message was queued for service %: %', named, SQLERRM;
    END;
  END;
  RETURN nothing;
END $$;

-- New invoices. Their items may follow, so the amount is read when the message is claimed.
CREATE OR REPLACE FUNCTION sms_garage_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  nothing pg_catalog.text;
BEGIN
  BEGIN
    IF NEW.created_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '1 minute'::pg_catalog.interval) THEN
      -- This may be history being loaded.
      PERFORM ecar_sms_home.sms_garage_care('invoice_created', TG_OP, NULL, pg_catalog.to_jsonb(NEW));
    ELSE
      PERFORM ecar_sms_home.sms_garage_event('invoice_created', NEW.id);
    END IF;
  EXCEPTION WHEN OTHERS THEN
    DECLARE
      named pg_catalog.text;
    BEGIN
      named := pg_catalog.to_jsonb(NEW) OPERATOR(pg_catalog.->>) 'id';
      IF SQLSTATE OPERATOR(pg_catalog.=) '55P03' THEN
        PERFORM pg_catalog.set_config('ecar_sms.gave_up', pg_catalog.statement_timestamp()::pg_catalog.text, true);
      END IF;
      PERFORM ecar_sms_home.sms_garage_care('invoice_created', TG_OP, NULL, pg_catalog.to_jsonb(NEW));
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'ecar-sms: no message was queued for invoice %: %', named, SQLERRM;
    END;
  END;
  RETURN nothing;
END $$;

-- The garage's schema, by its name.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOREACH f IN ARRAY ARRAY['sms_garage_event(text, bigint)', 'sms_garage_service()', 'sms_garage_invoice()']::regprocedure[] LOOP
    EXECUTE replace(pg_get_functiondef(f), 'ecar_sms_home', quote_ident(current_schema()));
  END LOOP;
END $$;

-- Created only when missing, or of a version that looked at statements as a whole: a second install takes no lock on the
-- application's tables.
DO $$
DECLARE
  t record;
BEGIN
  FOR t IN
    SELECT w.*
    FROM (VALUES
      ('core_service', 'sms_garage_service', 'UPDATE', 'sms_garage_service', 17),
      ('core_service', 'sms_garage_service_born', 'INSERT', 'sms_garage_service', 5),
      ('core_invoice', 'sms_garage_invoice', 'INSERT', 'sms_garage_invoice', 5)
    -- tgtype: for each row 1, INSERT 4, UPDATE 16 (catalog/pg_trigger.h).
    ) AS w (tab, trigger_name, event, function_name, kind_of_trigger)
    LEFT JOIN pg_trigger p ON p.tgrelid = w.tab::regclass AND p.tgname = w.trigger_name
    WHERE p.tgtype IS DISTINCT FROM w.kind_of_trigger
  LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %I', t.trigger_name, t.tab);
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %I FOR EACH ROW EXECUTE FUNCTION %I()', t.trigger_name, t.event, t.tab, t.function_name);
  END LOOP;
END $$;
