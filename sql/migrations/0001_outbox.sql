-- The outbox and its logs. Run by `ecar-sms install` inside its one transaction, with search_path set to the schema of
-- the garage's tables. Forward only: a later change is a later file.

-- Refuses a row with a sentence instead of the name of a constraint. Called from CHECK only after the cheap test failed.
-- VOLATILE, or the planner would call it for its constant arguments while it plans.
CREATE FUNCTION sms_refuse(problem text, mend text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'ecar-sms: ' || problem, HINT = mend;
END $$;

-- Live messages: not yet settled. A row leaves when it settles. An ordinary insert touches one index, the primary key;
-- what the daemon writes at a claim is in no index, so that a claim is a heap-only (HOT) update in the same page.
CREATE TABLE sms_outbox (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind         text NOT NULL,
  source_id    bigint,
  recipient    text,
  body         text,
  lang         text,
  not_before   timestamptz,
  requested_by text DEFAULT session_user,
  resend_of    bigint,
  source_at    timestamptz,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  lane         smallint NOT NULL DEFAULT 0,
  state        text NOT NULL DEFAULT 'queued',
  next_at      timestamptz,
  attempt      int NOT NULL DEFAULT 0,
  failures     int NOT NULL DEFAULT 0,
  released     boolean NOT NULL DEFAULT false,
  lease_owner  int,
  lease_token  bigint,
  lease_until  timestamptz,
  claimed_at   timestamptz,
  reason       text,
  detail       text,
  observed     text,

  CONSTRAINT sms_outbox_kind CHECK (
    kind IN ('service_completed', 'invoice_created', 'appointment_reminder', 'custom', 'campaign')
    OR sms_refuse(format('unknown kind "%s"', left(kind, 60)),
                  'Allowed: service_completed, invoice_created, appointment_reminder (with source_id), custom, campaign (with recipient and body).')),
  CONSTRAINT sms_outbox_source CHECK (
    kind IN ('custom', 'campaign') OR (source_id IS NOT NULL AND recipient IS NULL AND body IS NULL)
    OR sms_refuse(format('a message of kind "%s" needs source_id, and neither recipient nor body', left(kind, 60)),
                  'Number and text are read from the garage''s tables. For a text of your own use kind custom with recipient and body.')),
  CONSTRAINT sms_outbox_text CHECK (
    kind NOT IN ('custom', 'campaign') OR (coalesce(recipient, '') <> '' AND coalesce(body, '') ~ '\S')
    OR sms_refuse(format('a message of kind "%s" needs recipient and body', left(kind, 60)),
                  'Example: INSERT INTO sms_outbox (kind, recipient, body) VALUES (''custom'', ''20 000 000'', ''Bonjour'');')),
  CONSTRAINT sms_outbox_size CHECK (
    (coalesce(length(body), 0) <= 1600 AND coalesce(length(recipient), 0) <= 100 AND coalesce(length(requested_by), 0) <= 200)
    OR sms_refuse('the message is too long', 'Allowed: a body of 1600 characters, a recipient of 100.')),
  CONSTRAINT sms_outbox_lang CHECK (
    lang IS NULL OR lang ~ '^[a-z]{2,3}$'
    OR sms_refuse(format('unknown language "%s"', left(lang, 20)), 'Write a language code of two or three small letters, such as fr, ar, en.')),
  CONSTRAINT sms_outbox_not_before CHECK (
    (coalesce(not_before, '2026-01-01') BETWEEN '2000-01-01' AND '2100-01-01' AND coalesce(source_at, '2026-01-01') BETWEEN '2000-01-01' AND '2100-01-01')
    OR sms_refuse('not_before is out of range', 'Write a time between the years 2000 and 2100, with its zone: 2026-12-01 08:00+01.')),
  CONSTRAINT sms_outbox_state CHECK (state IN ('queued', 'sending', 'held', 'unknown'))
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = -1, vacuum_truncate = off);
COMMENT ON TABLE sms_outbox IS 'ecar-sms: messages not yet settled. INSERT here to send; read sms_message to see what became of it.';
COMMENT ON COLUMN sms_outbox.source_at IS 'The time of the source that the message speaks of (an appointment), to notice that it moved.';
COMMENT ON COLUMN sms_outbox.lane IS '0: somebody waits for it; 1: bulk, sent when lane 0 is empty.';
COMMENT ON COLUMN sms_outbox.next_at IS 'When the daemon looks at the row next; NULL: as soon as it can, or never while held.';
COMMENT ON COLUMN sms_outbox.attempt IS 'Requests made or begun; part of the fence together with lease_token.';
COMMENT ON COLUMN sms_outbox.failures IS 'Attempts that failed and count against the limit of attempts.';
COMMENT ON COLUMN sms_outbox.released IS 'Staff let it go: no guard holds it again.';
COMMENT ON COLUMN sms_outbox.lease_token IS 'Which claim holds the row: owner number and a counter. Every write of a result names it.';
COMMENT ON COLUMN sms_outbox.observed IS 'What the last look at the source saw, while an invoice settles.';

-- Scheduled, retrying and bulk rows, in the order in which they fall due.
CREATE INDEX sms_outbox_next ON sms_outbox (lane, next_at) WHERE next_at IS NOT NULL;

-- A row with a time, and every bulk row, is found through sms_outbox_next instead of the scan for fresh rows.
CREATE FUNCTION sms_outbox_schedule() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.kind = 'campaign' THEN NEW.lane := 1; END IF;
  NEW.next_at := coalesce(NEW.not_before, clock_timestamp());
  RETURN NEW;
END $$;
CREATE TRIGGER sms_outbox_schedule BEFORE INSERT OR UPDATE OF not_before ON sms_outbox FOR EACH ROW
  WHEN (NEW.not_before IS NOT NULL OR NEW.kind = 'campaign') EXECUTE FUNCTION sms_outbox_schedule();

-- The wake flag: 1 while a daemon sleeps and wants a NOTIFY, 2 while it is awake anyway. A sequence, because its value is
-- visible at once, leaves no dead tuples, and needs no row lock.
CREATE SEQUENCE sms_wake MINVALUE 1 MAXVALUE 2;
SELECT setval('sms_wake', 2);

-- A hint only: what slips through is found by the poll. It must never fail the insert that fired it, and wait for a locked
-- flag no more than once in a statement of the application.
CREATE FUNCTION sms_outbox_wake() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF current_setting('ecar_sms.no_wake', true) = statement_timestamp()::text THEN
    RETURN NULL;
  END IF;
  IF (SELECT last_value FROM sms_wake) = 1 AND pg_notification_queue_usage() < 0.5 THEN
    PERFORM pg_notify('sms_outbox', '');
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  PERFORM set_config('ecar_sms.no_wake', statement_timestamp()::text, true);
  RAISE WARNING 'ecar-sms: no wake-up was sent, the message waits for the next poll: %', SQLERRM;
  RETURN NULL;
END $$;
CREATE TRIGGER sms_outbox_wake AFTER INSERT ON sms_outbox FOR EACH STATEMENT EXECUTE FUNCTION sms_outbox_wake();

-- Settled messages, insert-only, by month of settlement. A delivery receipt never changes a row: see sms_message.
CREATE TABLE sms_history (
  id                  bigint NOT NULL,
  kind                text NOT NULL,
  source_id           bigint,
  recipient           text,
  lang                text,
  body                text,
  status              text NOT NULL,
  reason              text,
  detail              text,
  encoding            text,
  segments            int,
  provider            text,
  provider_message_id text,
  attempts            int NOT NULL,
  requested_by        text,
  resend_of           bigint,
  source_at           timestamptz,
  created_at          timestamptz NOT NULL,
  not_before          timestamptz,
  claimed_at          timestamptz,
  sent_at             timestamptz,
  settled_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_owner         int
) PARTITION BY RANGE (settled_at);
CREATE INDEX sms_history_id ON sms_history (id);
CREATE INDEX sms_history_recipient ON sms_history (recipient, id);
-- Catches what has no month of its own yet, so that a missing partition never loses a result.
CREATE TABLE sms_history_rest PARTITION OF sms_history DEFAULT;

-- Attempts that did not settle their message, and evidence that came late. The settling attempt is in sms_history.
CREATE TABLE sms_attempt (
  message_id          bigint NOT NULL,
  attempt             int NOT NULL,
  started_at          timestamptz,
  ended_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
  provider            text,
  outcome             text NOT NULL,
  detail              text,
  provider_message_id text,
  recipient           text,
  body                text,
  encoding            text,
  segments            int,
  lease_owner         int,
  PRIMARY KEY (message_id, attempt)
);

-- Decisions other than "send it now": held, deferred, released, rescued; and who asked.
CREATE TABLE sms_event (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  message_id bigint NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  what       text NOT NULL,
  reason     text,
  detail     text,
  by         text
);
CREATE INDEX sms_event_message ON sms_event (message_id);

-- Delivery receipts as they came. message_id is filled when the message is known; orphans are kept.
CREATE TABLE sms_receipt (
  id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  provider            text NOT NULL,
  provider_message_id text NOT NULL,
  message_id          bigint,
  status              text NOT NULL CHECK (status IN ('delivered', 'undelivered', 'pending')),
  reported_at         timestamptz,
  received_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  raw                 text
);
CREATE INDEX sms_receipt_message ON sms_receipt (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX sms_receipt_orphan ON sms_receipt (provider_message_id) WHERE message_id IS NULL;

-- One reminder for each service and appointment time, whatever happens to the message or the daemon.
CREATE TABLE sms_reminder (
  source_id  bigint NOT NULL,
  source_at  timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (source_id, source_at)
);

-- Every start of a daemon takes a number. It holds an advisory lock on it while its direct connection lives.
CREATE TABLE sms_owner (
  owner      int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  host       text NOT NULL,
  pid        int NOT NULL,
  version    text NOT NULL
);

-- Where and by whom this was installed; the guard against texting from a copy rests on it.
CREATE TABLE sms_installation (
  only_one          boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  system_identifier bigint,
  database_name     text NOT NULL,
  installed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  version           text NOT NULL
);
