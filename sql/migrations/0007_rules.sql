-- The right text, to the right person, at the right time: templates in versions, contacts with opt-outs and consent, hours by
-- category. The daemon decides (src/message/policy.rs); what stands here is what people decide, and keeps it sound however it is
-- written.

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

-- Settings: further ways to read a value. As before: a bad value is refused however it is written, and the version tells the
-- daemon, in the claim itself, that something changed.
CREATE OR REPLACE FUNCTION sms_setting_check() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  length_of interval;
  part      text;
BEGIN
  IF TG_OP = 'UPDATE' AND (NEW.name, NEW.unit) IS DISTINCT FROM (OLD.name, OLD.unit) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'ecar-sms: the name and unit of a setting are fixed';
  END IF;
  NEW.value := btrim(NEW.value);
  CASE NEW.unit
  WHEN 'boolean' THEN
    BEGIN
      NEW.value := NEW.value::boolean::text;
    EXCEPTION WHEN invalid_text_representation THEN
      PERFORM sms_refuse(format('%s: "%s" is neither true nor false', NEW.name, left(NEW.value, 60)), 'Write true or false.');
    END;
  WHEN 'count' THEN
    IF NEW.value !~ '^[0-9]{1,9}$' THEN
      PERFORM sms_refuse(format('%s: "%s" is not a number', NEW.name, left(NEW.value, 60)), 'Write a whole number from 0 to 999999999.');
    END IF;
  WHEN 'decimal' THEN
    IF NEW.value !~ '^[0-9]{1,6}(\.[0-9]{1,6})?$' THEN
      PERFORM sms_refuse(format('%s: "%s" is not a number', NEW.name, left(NEW.value, 60)), 'Write for example 0.035.');
    END IF;
  WHEN 'duration' THEN
    BEGIN
      length_of := CASE WHEN NEW.value ~ '^[0-9]+$' AND NEW.value <> '0' THEN NULL ELSE NEW.value::interval END;
    EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
      length_of := NULL;
    END;
    IF length_of IS NULL OR length_of < interval '0' OR length_of > interval '10 years' THEN
      PERFORM sms_refuse(format('%s: "%s" is not a duration', NEW.name, left(NEW.value, 60)), 'Write for example 30s, 10min, 2h, 3 days.');
    END IF;
  WHEN 'language' THEN
    IF NEW.value !~ '^[a-z]{2,3}$' THEN
      PERFORM sms_refuse(format('%s: "%s" is not a language', NEW.name, left(NEW.value, 60)), 'Write a language code of two or three small letters, such as fr, ar, en.');
    END IF;
  WHEN 'hours' THEN
    IF NEW.value !~ '^(([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)(\s*,\s*|$)){1,10}$' OR NEW.value ~ ',$'
       OR NEW.value ~ '(..:..)-\1' THEN
      PERFORM sms_refuse(format('%s: "%s" are no hours', NEW.name, left(NEW.value, 60)),
                         'Write for example 09:00-20:00, or 10:00-12:00, 20:30-22:30; 00:00-24:00 is always.');
    END IF;
  WHEN 'days' THEN
    NEW.value := lower(NEW.value);
    IF NEW.value !~ '^((mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?(\s*,\s*|$)){1,7}$' OR NEW.value ~ ',$' THEN
      PERFORM sms_refuse(format('%s: "%s" are no days', NEW.name, left(NEW.value, 60)), 'Write for example mon-sat, or mon, wed, fri.');
    END IF;
  WHEN 'dates' THEN
    FOREACH part IN ARRAY CASE WHEN NEW.value = '' THEN '{}' ELSE regexp_split_to_array(NEW.value, '\s*,\s*') END LOOP
      BEGIN
        IF part ~ '^[0-9]{2}-[0-9]{2}$' THEN
          PERFORM ('2024-' || part)::date;
        ELSIF part ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN
          PERFORM part::date;
        ELSIF part ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}\.\.[0-9]{4}-[0-9]{2}-[0-9]{2}$' AND split_part(part, '..', 1)::date <= split_part(part, '..', 2)::date THEN
          NULL;
        ELSE
          RAISE EXCEPTION USING ERRCODE = 'invalid_datetime_format';
        END IF;
      EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow THEN
        PERFORM sms_refuse(format('%s: "%s" is no date', NEW.name, left(part, 60)),
                           'Write dates separated by commas: 05-01 (every year), 2027-03-10, or 2027-02-08..2027-03-09.');
      END;
    END LOOP;
  WHEN 'offsets' THEN
    PERFORM sms_reminder_offsets(NEW.value);
  ELSE
    IF NOT NEW.value = ANY (string_to_array(NEW.unit, '|')) THEN
      PERFORM sms_refuse(format('%s: "%s" is not allowed', NEW.name, left(NEW.value, 60)), 'Allowed: ' || replace(NEW.unit, '|', ', ') || '.');
    END IF;
  END CASE;
  IF TG_OP = 'UPDATE' THEN
    NEW.version := OLD.version + 1;
    IF NEW.value <> OLD.value THEN
      NEW.updated_at := clock_timestamp();
    END IF;
  END IF;
  RETURN NEW;
END $$;

-- What waits for a better hour is looked at again when the hours change.
CREATE FUNCTION sms_setting_hours() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE sms_outbox o SET next_at = clock_timestamp() WHERE o.state = 'queued' AND o.reason = 'quiet_hours' AND o.next_at > clock_timestamp();
  IF FOUND AND (SELECT last_value FROM sms_wake) = 1 THEN PERFORM pg_notify('sms_outbox', ''); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER sms_setting_hours AFTER UPDATE ON sms_setting FOR EACH ROW
  WHEN (NEW.value <> OLD.value AND (NEW.unit IN ('hours', 'days', 'dates', 'transactional|service|marketing', 'open|closed') OR NEW.name = 'transactional.prompt'))
  EXECUTE FUNCTION sms_setting_hours();

INSERT INTO sms_setting (name, value, unit, description) VALUES
  ('default_lang', 'fr', 'language', 'the language of customers for whom none is set'),
  ('keep_names', 'false', 'boolean', 'true: the letters of names are never changed to save segments'),
  ('template_max_segments', '4', 'count', 'the longest text that a template may make of ordinary values, in segments'),
  ('segment_price', '0', 'decimal', 'what one segment costs, in dinars, for previews; 0 = not known'),
  ('holidays', '01-01, 03-20, 04-09, 05-01, 07-25, 08-13, 10-15, 12-17', 'dates',
   'public holidays; those that follow the moon are added each year'),
  ('ramadan', '', 'dates', 'the month of Ramadan, such as 2027-02-08..2027-03-09: the hours of <category>.ramadan_hours are in force'),
  ('window_spread', '10min', 'duration', 'messages that waited for the hour go out over this time and not at once'),
  ('transactional.prompt', '15min', 'duration',
   'a transactional message whose event is younger than this goes out at any hour: the customer is waiting for it; 0 = the hours always hold'),
  ('service_completed.join', '0s', 'duration',
   'how long a completed service waits for others of the same customer, to be told in one text; 0 = off'),
  ('stop_scope', 'all', 'all|marketing', 'what a reply of STOP ends: all messages, or marketing alone'),
  ('optout_max_age', '48h', 'duration', 'how old the last import of opt-outs may be while marketing is sent, before status and doctor warn; 0 = never');
INSERT INTO sms_setting (name, value, unit, description)
SELECT kind || '.category', category, 'transactional|service|marketing', 'which hours hold, and whether consent is needed (marketing)'
FROM (VALUES ('service_completed', 'transactional'), ('invoice_created', 'transactional'), ('appointment_reminder', 'service'),
             ('custom', 'transactional'), ('campaign', 'marketing')) AS k (kind, category)
UNION ALL
SELECT kind || '.encoding', 'fit', 'keep|fit|force',
       'keep: to the letter; fit: accents are given up where that saves a segment; force: never UCS-2. A template may say otherwise'
FROM (VALUES ('service_completed'), ('invoice_created'), ('appointment_reminder'), ('custom'), ('campaign')) AS k (kind);
INSERT INTO sms_setting (name, value, unit, description)
SELECT category || '.' || s.setting, s.value, s.unit, s.description
FROM (VALUES ('transactional', '07:30-21:00', '08:00-23:00', 'mon-sun', 'open'),
             ('service', '07:30-21:00', '09:00-22:30', 'mon-sun', 'open'),
             ('marketing', '09:00-20:00', '10:00-12:00, 20:30-22:30', 'mon-sat', 'closed')) AS c (category, hours, ramadan_hours, days, holidays)
CROSS JOIN LATERAL (VALUES
    ('hours', c.hours, 'hours', 'when messages of this category go out, in the garage''s zone; others wait'),
    ('ramadan_hours', c.ramadan_hours, 'hours', 'the same on the days of the setting ramadan'),
    ('days', c.days, 'days', 'on which days messages of this category go out'),
    ('holidays', c.holidays, 'open|closed', 'whether they go out on holidays')
) AS s (setting, value, unit, description);

-- Templates. Insert-only: a change is a new version, and the newest of a kind and language is in force. What no row says is
-- built in (version 0).
CREATE TABLE sms_template (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind       text NOT NULL,
  lang       text NOT NULL,
  version    int NOT NULL,
  body       text NOT NULL,
  encoding   text CHECK (encoding IN ('keep', 'fit', 'force')),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by text NOT NULL DEFAULT session_user,
  UNIQUE (kind, lang, version)
);
COMMENT ON TABLE sms_template IS 'ecar-sms: the words of messages, by kind and language. SELECT sms_template_set(kind, lang, body) adds a version.';
COMMENT ON COLUMN sms_template.encoding IS 'keep, fit or force; NULL: the setting <kind>.encoding.';

-- What a template of a kind may speak of, and an ordinary long value of each. The same list is in src/message/variables.rs.
CREATE FUNCTION sms_template_variables(kind text) RETURNS TABLE (name text, sample text)
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
  SELECT v.name, v.sample
  FROM (VALUES
    ('first_name', 'Mohamed Amine', true, true, true), ('car_make', 'Volkswagen', true, true, true), ('car_model', 'Golf 7 GTD', true, true, true),
    ('license_plate', '123 TUN 4567', true, true, true), ('service_title', 'Vidange et filtres', true, true, true),
    ('invoice_number', 'INV-1A2B3C4D', false, true, false), ('amount', '1250.500', false, true, false), ('amount_text', '1 250,500 DT', false, true, false),
    ('date', '23/11/2026', false, false, true), ('date_text', 'mercredi 23 septembre 2026', false, false, true),
    ('weekday', 'mercredi', false, false, true), ('time', '09:30', false, false, true)
  ) AS v (name, sample, service, invoice, appointment)
  WHERE CASE sms_template_variables.kind WHEN 'service_completed' THEN v.service WHEN 'invoice_created' THEN v.invoice
                                         WHEN 'appointment_reminder' THEN v.appointment ELSE false END
$$;

-- Refuses a template that is none, and says where: text, {{ variable }}, {% if variable %}, {% if not variable %}, {% else %},
-- {% endif %}, {# remark #}. There are no loops, so none is endless.
CREATE FUNCTION sms_template_check(kind text, lang text, body text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  known   text[] := (SELECT array_agg(v.name) FROM sms_template_variables(kind) v);
  rest    text := body;
  at      int := 1;
  p       int;
  q       int;
  tag     text;
  inside  text;
  name    text;
  problem text;
  open_if text[] := '{}';
  plain   text;
  units   int;
  most    int := (SELECT s.value::int FROM sms_setting s WHERE s.name = 'template_max_segments');
  needed  int;
BEGIN
  IF known IS NULL THEN
    PERFORM sms_refuse(format('messages of kind "%s" have no template', left(kind, 60)), 'Allowed: service_completed, invoice_created, appointment_reminder. Other kinds carry their own text.');
  ELSIF lang IS NULL OR lang !~ '^[a-z]{2,3}$' THEN
    PERFORM sms_refuse(format('unknown language "%s"', left(lang, 20)), 'Write a language code of two or three small letters, such as fr, ar, en.');
  ELSIF body IS NULL OR body !~ '\S' OR length(body) > 2000 THEN
    PERFORM sms_refuse(format('the template has %s characters', coalesce(length(body), 0)), 'Allowed: 1 to 2000, not only blanks.');
  END IF;
  LOOP
    p := least(nullif(strpos(rest, '{{'), 0), nullif(strpos(rest, '{%'), 0), nullif(strpos(rest, '{#'), 0));
    EXIT WHEN p IS NULL;
    at := at + p - 1;
    tag := substr(rest, p, 2);
    q := strpos(substr(rest, p + 2), CASE tag WHEN '{{' THEN '}}' WHEN '{%' THEN '%}' ELSE '#}' END);
    IF q = 0 THEN
      problem := format('"%s" is not closed', tag);
      EXIT;
    END IF;
    inside := btrim(substr(rest, p + 2, q - 1), E' \t\r\n-');
    name := NULL;
    IF tag = '{{' THEN
      name := inside;
    ELSIF tag = '{%' AND inside ~ '^if\s' THEN
      name := regexp_replace(inside, '^if\s+(not\s+)?', '');
      open_if := open_if || 'if'::text;
    ELSIF tag = '{%' AND inside = 'else' THEN
      IF open_if[cardinality(open_if)] IS DISTINCT FROM 'if' THEN
        problem := '"else" without "if"';
        EXIT;
      END IF;
      open_if[cardinality(open_if)] := 'else';
    ELSIF tag = '{%' AND inside = 'endif' THEN
      IF cardinality(open_if) = 0 THEN
        problem := '"endif" without "if"';
        EXIT;
      END IF;
      open_if := open_if[1:cardinality(open_if) - 1];
    ELSIF tag = '{%' THEN
      problem := format('"%s" is not allowed in a template', left(inside, 40));
      EXIT;
    END IF;
    IF name IS NOT NULL AND NOT name = ANY (known) THEN
      problem := format('unknown variable "%s"', left(name, 40));
      EXIT;
    END IF;
    rest := substr(rest, p + 2 + q + 1);
    at := at + 2 + q + 1;
  END LOOP;
  IF problem IS NULL AND cardinality(open_if) > 0 THEN
    problem := '"if" without "endif"';
    at := length(body);
  END IF;
  IF problem IS NOT NULL THEN
    plain := left(body, at - 1);
    PERFORM sms_refuse(format('the template of %s (%s), line %s, column %s: %s', kind, lang, length(plain) - length(replace(plain, E'\n', '')) + 1,
                              at - length(regexp_replace(plain, '[^\n]*$', '')), problem),
                       'Variables: ' || array_to_string(known, ', ') || '. Tags: {{ variable }}, {% if variable %}, {% if not variable %}, {% else %}, {% endif %}.');
  END IF;
  -- How long it gets with ordinary values, all branches counted: never too little. Accents that "fit" gives up count as letters.
  plain := regexp_replace(body, '\{[%#].*?[%#]\}', '', 'g');
  SELECT regexp_replace(plain, '\{\{.*?\}\}', '', 'g') || repeat('x', coalesce(sum(length(v.sample) * (length(plain) - length(replace(plain, v.name, '')))
         / length(v.name))::int, 0)) INTO plain
  FROM sms_template_variables(kind) v WHERE plain ~ ('\{\{-?\s*' || v.name || '\s*-?\}\}');
  plain := translate(plain, 'âêëîïôûçÿÀÂÈÊËÎÏÔÙÛŸ’‘“”«»–—' || U&'\00A0\202F', 'aeeiioucyAAEEEIIOUUY''''""""--  ');
  IF plain ~ ('[^' || '@£$¥èéùìòÇ\n\rØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&''()*+,./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà^{}\\~|€\[\]' || '-]') THEN
    units := length(plain) + length(regexp_replace(plain, '[' || U&'\0001' || '-' || U&'\FFFF' || ']', '', 'g'));
    needed := CASE WHEN units <= 70 THEN 1 ELSE ceil(units / 66.0) END;
  ELSE
    units := length(plain) + length(regexp_replace(plain, '[^^{}\\~|€\[\]]', '', 'g'));
    needed := CASE WHEN units <= 160 THEN 1 ELSE ceil(units / 152.0) END;
  END IF;
  IF needed > most THEN
    PERFORM sms_refuse(format('the template of %s (%s) makes texts of about %s segments; at most %s are allowed', kind, lang, needed, most),
                       'Shorten it, or raise the setting template_max_segments.');
  END IF;
END $$;

-- A version of its own for each change, however it is written. The touch of a setting tells the daemon, in the claim itself, and lets
-- one change wait for the other.
CREATE FUNCTION sms_template_insert() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    PERFORM sms_refuse('a version of a template is never changed', 'SELECT sms_template_set(kind, lang, body) adds a new one.');
  END IF;
  PERFORM sms_template_check(NEW.kind, NEW.lang, NEW.body);
  UPDATE sms_setting s SET value = s.value WHERE s.name = 'default_lang';
  NEW.version := coalesce(NEW.version, (SELECT max(t.version) FROM sms_template t WHERE t.kind = NEW.kind AND t.lang = NEW.lang) + 1, 1);
  RETURN NEW;
END $$;
CREATE TRIGGER sms_template_insert BEFORE INSERT OR UPDATE ON sms_template FOR EACH ROW EXECUTE FUNCTION sms_template_insert();

CREATE FUNCTION sms_template_set(kind text, lang text, body text, encoding text DEFAULT NULL, by text DEFAULT session_user) RETURNS int
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  stored int;
BEGIN
  IF sms_template_set.encoding NOT IN ('keep', 'fit', 'force') THEN
    PERFORM sms_refuse(format('unknown encoding "%s"', left(sms_template_set.encoding, 20)), 'Allowed: keep, fit, force.');
  END IF;
  INSERT INTO sms_template AS t (kind, lang, body, encoding, created_by)
  VALUES (sms_template_set.kind, sms_template_set.lang, sms_template_set.body, sms_template_set.encoding, sms_template_set.by)
  RETURNING t.version INTO stored;
  RETURN stored;
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
