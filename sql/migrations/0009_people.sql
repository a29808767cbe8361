-- The right person: contacts with opt-outs and consent, lists, replies; texts that tell several jobs of one customer.

-- Numbers. Staff write them as they like in plain SQL; one form is stored. The daemon reads the garage's own phone texts with
-- far more care (src/message/phone); this knows what a person would type.
CREATE FUNCTION sms_e164(written text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  digits text := translate(coalesce(written, ''), '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹０１２３４５６７８９＋', '012345678901234567890123456789+');
BEGIN
  digits := regexp_replace(regexp_replace(digits, '^\s*tel:', ''), '\(0\)|[^0-9+[:alpha:]]', '', 'g');
  digits := regexp_replace(digits, '^00', '+');
  digits := regexp_replace(digits, '^\+?216(216)?([0-9]{8})$', '+216\2');
  digits := regexp_replace(digits, '^0?([0-9]{8})$', '+216\1');
  IF digits !~ '^\+[1-9][0-9]{6,14}$' OR (digits LIKE '+216%' AND length(digits) <> 12) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = format('ecar-sms: "%s" is not a phone number', left(written, 40)),
      HINT = 'Write for example 20 000 000, or with its country +33 6 00 00 00 00.';
  END IF;
  RETURN digits;
END $$;

-- What is known of a number beyond the garage's own tables: one row, and the ledger of how it came about beside it.
CREATE TABLE sms_contact (
  phone      text PRIMARY KEY,
  lang       text,
  opted_out  text,
  consent_at timestamptz,
  how        text,
  wording    text,
  proof      text,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE sms_contact IS 'ecar-sms: language, opt-out and consent by number. Written freely, stored as +216...; see sms_consent for who, when and how.';
COMMENT ON COLUMN sms_contact.opted_out IS 'all: no message at all; marketing: no marketing; NULL: neither.';
COMMENT ON COLUMN sms_contact.consent_at IS 'Since when there is consent to marketing; NULL: none.';
COMMENT ON COLUMN sms_contact.how IS 'How opt-out or consent last changed: by whom or what, on which paper.';
CREATE INDEX sms_contact_opted_out ON sms_contact (updated_at) WHERE opted_out IS NOT NULL;

-- Insert-only, and never cleaned up: the proof of consent, and of its end.
CREATE TABLE sms_consent (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  phone   text NOT NULL,
  at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  what    text NOT NULL CHECK (what IN ('consented', 'revoked', 'opted_out', 'opted_in')),
  scope   text,
  how     text,
  wording text,
  proof   text,
  by      text NOT NULL
);
CREATE INDEX sms_consent_phone ON sms_consent (phone, id);

-- Keeps a contact sound, whoever writes the row.
CREATE FUNCTION sms_contact_check() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'INSERT' OR NEW.phone <> OLD.phone THEN
    NEW.phone := sms_e164(NEW.phone);
  END IF;
  IF NEW.lang !~ '^[a-z]{2,3}$' THEN
    PERFORM sms_refuse(format('unknown language "%s"', left(NEW.lang, 20)), 'Write a language code of two or three small letters, such as fr, ar, en.');
  ELSIF NEW.opted_out NOT IN ('all', 'marketing') THEN
    PERFORM sms_refuse(format('unknown opt-out "%s"', left(NEW.opted_out, 20)), 'Allowed: all, marketing, or NULL for none.');
  ELSIF greatest(length(NEW.how), length(NEW.wording), length(NEW.proof), length(NEW.updated_by)) > 2000 THEN
    PERFORM sms_refuse('how, wording or proof is too long', 'Allowed: 2000 characters each.');
  ELSIF NEW.consent_at IS NOT NULL AND (CASE TG_OP WHEN 'UPDATE' THEN OLD.consent_at END) IS NULL
        AND (coalesce(NEW.how, '') !~ '\S' OR coalesce(NEW.wording, '') !~ '\S') THEN
    PERFORM sms_refuse('consent needs its proof', 'Say how it was given (a signed form, a reply) and the wording that was agreed to.');
  END IF;
  NEW.updated_at := clock_timestamp();
  RETURN NEW;
END $$;
CREATE TRIGGER sms_contact_check BEFORE INSERT OR UPDATE ON sms_contact FOR EACH ROW EXECUTE FUNCTION sms_contact_check();

-- Keeps the ledger complete, whoever writes the row. A contact that is deleted, or gets another number, gives up its opt-out and consent.
CREATE FUNCTION sms_contact_ledger() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  was    sms_contact;
  is_now sms_contact;
BEGIN
  IF TG_OP <> 'INSERT' THEN was := OLD; END IF;
  IF TG_OP <> 'DELETE' THEN is_now := NEW; END IF;
  IF was.phone IS NOT NULL AND was.phone IS DISTINCT FROM is_now.phone THEN
    INSERT INTO sms_consent (phone, what, scope, how, by)
    SELECT was.phone, w.what, w.scope, CASE TG_OP WHEN 'DELETE' THEN 'the contact was deleted' ELSE 'the contact got another number' END, session_user
    FROM (VALUES ('opted_in', was.opted_out, was.opted_out IS NOT NULL), ('revoked', 'marketing', was.consent_at IS NOT NULL)) AS w (what, scope, given)
    WHERE w.given;
    was := NULL;
  END IF;
  IF is_now.opted_out IS DISTINCT FROM was.opted_out AND is_now.phone IS NOT NULL THEN
    INSERT INTO sms_consent (phone, what, scope, how, proof, by)
    VALUES (is_now.phone, CASE WHEN is_now.opted_out IS NULL THEN 'opted_in' ELSE 'opted_out' END, coalesce(is_now.opted_out, was.opted_out), is_now.how,
            is_now.proof, is_now.updated_by);
  END IF;
  IF (is_now.consent_at IS NULL) <> (was.consent_at IS NULL) AND is_now.phone IS NOT NULL THEN
    INSERT INTO sms_consent (phone, what, scope, how, wording, proof, by)
    VALUES (is_now.phone, CASE WHEN is_now.consent_at IS NULL THEN 'revoked' ELSE 'consented' END, 'marketing', is_now.how, is_now.wording, is_now.proof,
            is_now.updated_by);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER sms_contact_ledger AFTER INSERT OR UPDATE OR DELETE ON sms_contact FOR EACH ROW EXECUTE FUNCTION sms_contact_ledger();

CREATE FUNCTION sms_contact_set(phone text, lang text, by text DEFAULT session_user) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  number text := sms_e164(phone);
BEGIN
  INSERT INTO sms_contact AS c (phone, lang, updated_by) VALUES (number, sms_contact_set.lang, by)
  ON CONFLICT ON CONSTRAINT sms_contact_pkey DO UPDATE SET lang = excluded.lang, updated_by = excluded.updated_by;
  RETURN number;
END $$;

-- An opt-out of all is not narrowed by one of marketing.
CREATE FUNCTION sms_optout(phone text, scope text DEFAULT 'all', how text DEFAULT NULL, by text DEFAULT session_user) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  number text := sms_e164(phone);
BEGIN
  INSERT INTO sms_contact AS c (phone, opted_out, how, updated_by) VALUES (number, coalesce(scope, 'all'), sms_optout.how, by)
  ON CONFLICT ON CONSTRAINT sms_contact_pkey DO UPDATE SET opted_out = excluded.opted_out, how = excluded.how, updated_by = excluded.updated_by
  WHERE c.opted_out IS DISTINCT FROM 'all';
  RETURN number;
END $$;

-- Ends an opt-out. It gives no consent.
CREATE FUNCTION sms_optin(phone text, how text DEFAULT NULL, by text DEFAULT session_user) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  number text := sms_e164(phone);
BEGIN
  UPDATE sms_contact c SET opted_out = NULL, how = sms_optin.how, updated_by = by WHERE c.phone = number AND c.opted_out IS NOT NULL;
  RETURN number;
END $$;

CREATE FUNCTION sms_consent_give(phone text, how text, wording text, proof text DEFAULT NULL, by text DEFAULT session_user) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  number text := sms_e164(phone);
BEGIN
  INSERT INTO sms_contact AS c (phone, consent_at, how, wording, proof, updated_by)
  VALUES (number, clock_timestamp(), sms_consent_give.how, sms_consent_give.wording, sms_consent_give.proof, by)
  ON CONFLICT ON CONSTRAINT sms_contact_pkey DO UPDATE SET consent_at = excluded.consent_at, how = excluded.how, wording = excluded.wording,
    proof = excluded.proof, updated_by = excluded.updated_by;
  RETURN number;
END $$;

CREATE FUNCTION sms_consent_revoke(phone text, how text DEFAULT NULL, by text DEFAULT session_user) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  number text := sms_e164(phone);
BEGIN
  UPDATE sms_contact c SET consent_at = NULL, how = sms_consent_revoke.how, updated_by = by WHERE c.phone = number AND c.consent_at IS NOT NULL;
  RETURN number;
END $$;

-- Lists of opt-outs, as they were taken over.
CREATE TABLE sms_optout_import (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  source  text NOT NULL,
  entries bigint NOT NULL,
  added   bigint NOT NULL,
  bad     bigint NOT NULL,
  by      text NOT NULL DEFAULT session_user
);

-- Takes over numbers in E.164; returns how many were not opted out that far before.
CREATE FUNCTION sms_optout_add(phones text[], scope text, how text, by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  added bigint;
BEGIN
  INSERT INTO sms_contact AS c (phone, opted_out, how, updated_by)
  SELECT DISTINCT p, sms_optout_add.scope, sms_optout_add.how, sms_optout_add.by FROM unnest(phones) p ORDER BY p
  ON CONFLICT ON CONSTRAINT sms_contact_pkey DO UPDATE SET opted_out = excluded.opted_out, how = excluded.how, updated_by = excluded.updated_by
  WHERE c.opted_out IS DISTINCT FROM 'all' AND c.opted_out IS DISTINCT FROM excluded.opted_out;
  GET DIAGNOSTICS added = ROW_COUNT;
  RETURN added;
END $$;

-- What is wrong with the list of opt-outs, in a sentence: it is old, while marketing waits or was sent within two days. NULL: nothing.
CREATE FUNCTION sms_optout_alarm() RETURNS text
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  oldest interval := (SELECT s.value::interval FROM sms_setting s WHERE s.name = 'optout_max_age');
  kinds  text[] := (SELECT array_agg(split_part(s.name, '.', 1)) FROM sms_setting s WHERE s.name LIKE '%.category' AND s.value = 'marketing');
  last   timestamptz := (SELECT max(i.at) FROM sms_optout_import i);
BEGIN
  IF oldest = interval '0' OR last >= now() - oldest
     OR NOT (EXISTS (SELECT FROM sms_outbox o WHERE o.kind = ANY (kinds) AND o.lane = 1 AND o.next_at IS NOT NULL)
             OR EXISTS (SELECT FROM (SELECT h.kind, h.status, h.settled_at FROM sms_history h ORDER BY h.id DESC LIMIT 5000) h
                        WHERE h.kind = ANY (kinds) AND h.status = 'sent' AND h.settled_at > now() - interval '48 hours')) THEN
    RETURN NULL;
  END IF;
  RETURN format('marketing is sent, and %s; take over the current one: ecar-sms optout import FILE (setting optout_max_age)',
                CASE WHEN last IS NULL THEN 'no list of opt-outs was ever taken over'
                     ELSE format('the last list of opt-outs is of %s', to_char(last, 'YYYY-MM-DD HH24:MI TZ')) END);
END $$;

-- What customers wrote back, and what was done about it.
CREATE TABLE sms_inbound (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  provider    text,
  phone       text NOT NULL,
  body        text,
  action      text
);

-- Enters a reply. STOP and ARRET end the messages (of the setting stop_scope; STOP ALL and ARRET TOUT all of them), START ends the
-- opt-out; in any case, with or without accents, and in Arabic. Returns what was done: opted_out, opted_in, or NULL.
CREATE FUNCTION sms_receive_reply(phone text, body text, provider text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  number text := sms_e164(phone);
  words  text[] := regexp_split_to_array(btrim(regexp_replace(translate(upper(left(coalesce(body, ''), 200)), 'ÂÀÉÈÊËÎÏÔÖÛÜإأآ', 'AAEEEEIIOOUUااا'), '[^[:alnum:]]+', ' ', 'g')), ' ');
  doing  text;
BEGIN
  IF words[1] IN ('STOP', 'STOPALL', 'ARRET', 'ARRETER', 'UNSUBSCRIBE', 'قف', 'توقف', 'ايقاف', 'اوقف') THEN
    doing := 'opted_out';
    PERFORM sms_optout(number, CASE WHEN words[1] = 'STOPALL' OR words[2] IN ('ALL', 'TOUT', 'TOUS', 'الكل') THEN 'all'
                                    ELSE (SELECT s.value FROM sms_setting s WHERE s.name = 'stop_scope') END, 'replied ' || words[1], 'the customer');
  ELSIF words[1] IN ('START', 'UNSTOP', 'REPRENDRE', 'ابدا') THEN
    doing := 'opted_in';
    PERFORM sms_optin(number, 'replied ' || words[1], 'the customer');
  END IF;
  INSERT INTO sms_inbound (provider, phone, body, action) VALUES (left(provider, 200), number, left(sms_receive_reply.body, 2000), doing);
  RETURN doing;
END $$;

-- Each message keeps the version of the template that it was made with; a joined one names the other jobs of its text.
ALTER TABLE sms_history ADD COLUMN template_version int, ADD COLUMN joined bigint[];
ALTER TABLE sms_outbox ADD COLUMN joined bigint[];
COMMENT ON COLUMN sms_history.template_version IS '0: the built-in text; NULL: a text of its own, or none was made.';
COMMENT ON COLUMN sms_history.joined IS 'Further services told in this text.';
COMMENT ON COLUMN sms_outbox.joined IS 'Further services of the same customer, told in this text.';

-- Several completed services of one customer in one text: the others are settled as joined in the statement that ties them to the message
-- which is about to go out. Only while that message is claimed, and only those that wait or are held by the same claim. Returns
-- which they were.
CREATE FUNCTION sms_join(message_id bigint, token bigint, others bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  taken   bigint[];
  sources bigint[];
BEGIN
  PERFORM FROM sms_outbox o WHERE o.id = message_id AND o.lease_token = token AND o.state = 'sending' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN '{}';
  END IF;
  WITH picked AS MATERIALIZED (
    SELECT o.id FROM sms_outbox o
    WHERE o.id = ANY (others) AND o.id <> message_id AND o.doubt IS NULL
      AND (o.state = 'queued' AND o.reason = 'joining' OR o.state = 'sending' AND o.lease_token = token)
    ORDER BY o.id FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM sms_outbox o USING picked p WHERE o.id = p.id RETURNING o.*
  ), kept AS (
    INSERT INTO sms_history (id, kind, source_id, lang, status, reason, detail, attempts, requested_by, resend_of, source_at, created_at, not_before,
                             claimed_at, lease_owner)
    SELECT g.id, g.kind, g.source_id, g.lang, 'skipped', 'joined', 'told together with message ' || message_id, 0, g.requested_by, g.resend_of,
           g.source_at, g.created_at, g.not_before, g.claimed_at, g.lease_owner
    FROM gone g
    RETURNING sms_history.id, sms_history.source_id
  )
  SELECT coalesce(array_agg(k.id), '{}'), coalesce(array_agg(k.source_id), '{}') INTO taken, sources FROM kept k;
  UPDATE sms_outbox o SET joined = coalesce(o.joined, '{}') || sources WHERE o.id = message_id AND taken <> '{}';
  RETURN taken;
END $$;

-- As before, with the services that are told together.
CREATE OR REPLACE FUNCTION sms_settle_by_hand(message_id bigint, new_status text, new_reason text, new_detail text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
  WITH gone AS (DELETE FROM sms_outbox o WHERE o.id = message_id RETURNING o.*)
  INSERT INTO sms_history (id, kind, source_id, recipient, lang, body, status, reason, detail, encoding, segments, provider, provider_message_id,
                           attempts, requested_by, resend_of, source_at, created_at, not_before, claimed_at, lease_owner, joined)
  SELECT g.id, g.kind, g.source_id, coalesce(a.recipient, g.recipient), g.lang, coalesce(g.body, a.body), new_status, new_reason, new_detail,
         a.encoding, a.segments, a.provider, a.provider_message_id, g.attempt, g.requested_by, g.resend_of, g.source_at, g.created_at,
         g.not_before, g.claimed_at, g.lease_owner, g.joined
  FROM gone g
  LEFT JOIN LATERAL (SELECT * FROM sms_attempt t WHERE t.message_id = g.id ORDER BY t.attempt DESC LIMIT 1) a ON true;
$$;

-- As before, with the version of the template.
CREATE OR REPLACE VIEW sms_message AS
SELECT o.id, o.kind, o.source_id, coalesce((SELECT t.recipient FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1), o.recipient) AS recipient,
       o.lang, coalesce(o.body, (SELECT t.body FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1)) AS body,
       o.state AS status, o.reason,
       (SELECT t.encoding FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS encoding,
       (SELECT t.segments FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS segments,
       (SELECT t.provider FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS provider,
       (SELECT t.provider_message_id FROM sms_attempt t WHERE t.message_id = o.id ORDER BY t.attempt DESC LIMIT 1) AS provider_message_id,
       o.attempt AS attempts, o.requested_by, o.resend_of, o.created_at, o.not_before,
       NULL::timestamptz AS sent_at, NULL::timestamptz AS delivered_at, o.detail, o.next_at, NULL::timestamptz AS settled_at, NULL::int AS template_version
FROM sms_outbox o
UNION ALL
SELECT h.id, h.kind, h.source_id, h.recipient, h.lang, h.body,
       CASE WHEN h.status IN ('sent', 'unknown')
            THEN coalesce((SELECT r.status FROM sms_receipt r WHERE r.message_id = h.id AND r.status <> 'pending' ORDER BY r.status = 'delivered' DESC, r.id LIMIT 1), h.status)
            ELSE h.status END,
       h.reason, h.encoding, h.segments, h.provider, h.provider_message_id, h.attempts, h.requested_by, h.resend_of, h.created_at, h.not_before, h.sent_at,
       (SELECT coalesce(r.reported_at, r.received_at) FROM sms_receipt r WHERE r.message_id = h.id AND r.status = 'delivered' ORDER BY r.id LIMIT 1),
       h.detail, NULL::timestamptz, h.settled_at, h.template_version
FROM sms_history h;

-- As before, but a message about a source finds its language afresh: the one in the record is what came out of it then.
CREATE OR REPLACE FUNCTION sms_resend(message_id bigint, by text DEFAULT session_user) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  live sms_outbox;
  old  sms_history;
  new_id bigint;
BEGIN
  SELECT * INTO live FROM sms_outbox o WHERE o.id = message_id FOR UPDATE;
  IF live.id IS NOT NULL THEN
    IF live.state IN ('queued', 'sending') THEN
      RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('ecar-sms: message %s is still %s', message_id, live.state), HINT = 'Wait for its result, or cancel it first.';
    END IF;
    -- Held or in doubt: the new message takes its place, so that it cannot be sent beside it later.
    PERFORM sms_settle_by_hand(message_id, CASE live.state WHEN 'unknown' THEN 'unknown' ELSE 'cancelled' END, 'superseded', 'sent again by ' || by);
    INSERT INTO sms_outbox (kind, source_id, recipient, body, lang, requested_by, resend_of, joined)
    VALUES (live.kind, live.source_id, live.recipient, live.body, live.lang, by, message_id, live.joined) RETURNING id INTO new_id;
  ELSE
    SELECT * INTO old FROM sms_history h WHERE h.id = message_id ORDER BY h.settled_at DESC LIMIT 1;
    IF old.id IS NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('ecar-sms: there is no message %s', message_id);
    END IF;
    INSERT INTO sms_outbox (kind, source_id, recipient, body, lang, requested_by, resend_of, joined)
    SELECT old.kind, old.source_id, CASE WHEN old.source_id IS NULL THEN old.recipient END, CASE WHEN old.source_id IS NULL THEN old.body END,
           CASE WHEN old.source_id IS NULL THEN old.lang END, by, message_id, old.joined
    RETURNING id INTO new_id;
  END IF;
  INSERT INTO sms_event (message_id, what, detail, by) VALUES (message_id, 'resent', 'as message ' || new_id, by);
  RETURN new_id;
END $$;
