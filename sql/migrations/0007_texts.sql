-- The right text, at the right time: further settings (hours by category, languages, encodings), and templates in versions. What people
-- decide stands here and is kept sound however it is written; the daemon decides about messages (src/message/policy.rs).

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
