-- What the garage's application does, turned into outbox rows. Run again at every `ecar-sms install`.
--
-- The application must never notice: a trigger never raises, whatever state our tables or its own columns are in; it waits
-- for a lock of ours 300 ms at most, once a transaction, and 10 ms in each later statement of it; it names no column outside
-- a function body, so that ALTER TABLE and migrations of the application are never refused; and it needs no right of the
-- application's role on our tables.

-- Adds one row. A lock_timeout of its own, because the application's may be 0 (for ever). A constraint on our table that is
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

-- A service that becomes completed, by INSERT or by a change of its status. A save that leaves the status alone is none.
-- Columns are read through to_jsonb: NEW.status would raise once the column is gone, and, in every session that ran this
-- before, once its type has changed.
CREATE OR REPLACE FUNCTION sms_garage_service() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  service jsonb;
BEGIN
  service := to_jsonb(NEW);
  IF service ->> 'status' = 'completed' THEN
    IF TG_OP = 'INSERT' THEN
      PERFORM sms_garage_enqueue('service_completed', (service ->> 'id')::bigint, service ->> 'updated_at');
    ELSIF to_jsonb(OLD) ->> 'status' IS DISTINCT FROM 'completed' THEN
      -- Plain SQL does not touch updated_at: a change is an event, whatever it says.
      PERFORM sms_garage_enqueue('service_completed', (service ->> 'id')::bigint, NULL);
    END IF;
  ELSIF NOT service ? 'status' THEN
    RAISE WARNING 'ecar-sms: no message was queued for service %: its column status is gone', service ->> 'id';
  END IF;
  RETURN NULL;
EXCEPTION
  WHEN lock_not_available THEN
    PERFORM set_config('ecar_sms.gave_up', statement_timestamp()::text, true);
    RAISE WARNING 'ecar-sms: no message was queued for service %: %', service ->> 'id', SQLERRM;
    RETURN NULL;
  WHEN OTHERS THEN
    RAISE WARNING 'ecar-sms: no message was queued for service %: %', service ->> 'id', SQLERRM;
    RETURN NULL;
END $$;

-- A new invoice. Its items may follow, so the amount is read when the message is claimed.
CREATE OR REPLACE FUNCTION sms_garage_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  invoice jsonb;
BEGIN
  invoice := to_jsonb(NEW);
  PERFORM sms_garage_enqueue('invoice_created', (invoice ->> 'id')::bigint, invoice ->> 'created_at');
  RETURN NULL;
EXCEPTION
  WHEN lock_not_available THEN
    PERFORM set_config('ecar_sms.gave_up', statement_timestamp()::text, true);
    RAISE WARNING 'ecar-sms: no message was queued for invoice %: %', invoice ->> 'id', SQLERRM;
    RETURN NULL;
  WHEN OTHERS THEN
    RAISE WARNING 'ecar-sms: no message was queued for invoice %: %', invoice ->> 'id', SQLERRM;
    RETURN NULL;
END $$;

-- Created only when missing: a second install takes no lock on the application's tables.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'core_service'::regclass AND tgname = 'sms_garage_service') THEN
    CREATE TRIGGER sms_garage_service AFTER INSERT OR UPDATE ON core_service FOR EACH ROW EXECUTE FUNCTION sms_garage_service();
  END IF;
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'core_invoice'::regclass AND tgname = 'sms_garage_invoice') THEN
    CREATE TRIGGER sms_garage_invoice AFTER INSERT ON core_invoice FOR EACH ROW EXECUTE FUNCTION sms_garage_invoice();
  END IF;
END $$;
