-- Settings that staff and operators change while the daemon runs. `unit` says how a value is read: boolean, count,
-- duration (30s, 2h, 1 day), or a list of words separated by |.
CREATE TABLE sms_setting (
  name        text PRIMARY KEY,
  value       text NOT NULL,
  unit        text NOT NULL,
  description text NOT NULL,
  version     bigint NOT NULL DEFAULT 1,
  updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_by  text NOT NULL DEFAULT session_user
);

-- A bad value is refused however it is written; the version tells the daemon, in the claim itself, that something changed.
CREATE FUNCTION sms_setting_check() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  length_of interval;
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
  WHEN 'duration' THEN
    BEGIN
      length_of := CASE WHEN NEW.value ~ '^[0-9]+$' AND NEW.value <> '0' THEN NULL ELSE NEW.value::interval END;
    EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
      length_of := NULL;
    END;
    IF length_of IS NULL OR length_of < interval '0' OR length_of > interval '10 years' THEN
      PERFORM sms_refuse(format('%s: "%s" is not a duration', NEW.name, left(NEW.value, 60)), 'Write for example 30s, 10min, 2h, 3 days.');
    END IF;
  ELSE
    IF NOT NEW.value = ANY (string_to_array(NEW.unit, '|')) THEN
      PERFORM sms_refuse(format('%s: "%s" is not allowed', NEW.name, left(NEW.value, 60)), 'Allowed: ' || replace(NEW.unit, '|', ', ') || '.');
    END IF;
  END CASE;
  IF TG_OP = 'UPDATE' THEN
    NEW.version := OLD.version + 1;
    NEW.updated_at := clock_timestamp();
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER sms_setting_check BEFORE INSERT OR UPDATE ON sms_setting FOR EACH ROW EXECUTE FUNCTION sms_setting_check();

INSERT INTO sms_setting (name, value, unit, description) VALUES
  ('paused', 'false', 'boolean', 'true: nothing is claimed; messages wait'),
  ('stampede_limit', '0', 'count', 'garage events within one minute above which they are held for staff; 0 = off (not yet in force in this version)'),
  ('unknown_wait', '10min', 'duration', 'how long a message that may have been sent waits for proof before its policy decides'),
  ('history_retention', '400 days', 'duration', 'how long settled messages are kept; 0 = for ever'),
  ('appointment_reminder.lead', '24h', 'duration', 'how long before an appointment its reminder is sent'),
  ('invoice_created.settle', '2min', 'duration', 'how long an invoice may stay without an amount before its message is held');
INSERT INTO sms_setting (name, value, unit, description)
SELECT kind || '.' || setting, value, unit, description
FROM (VALUES
    ('service_completed', '24h', 'resend'), ('invoice_created', '72h', 'resend'), ('appointment_reminder', '24h', 'resend'),
    ('custom', '24h', 'hold'), ('campaign', '24h', 'hold')) AS k (kind, validity, policy)
CROSS JOIN LATERAL (VALUES
    ('enabled', 'true', 'boolean', 'false: messages of this kind are skipped with reason disabled'),
    ('delay', '0s', 'duration', 'how long after the event the message goes out'),
    ('validity', k.validity, 'duration', 'a message older than this expires instead of being sent'),
    ('unknown_policy', k.policy, 'resend|hold', 'what happens to a message that may have been sent, when no proof came')
) AS s (setting, value, unit, description);

CREATE FUNCTION sms_set(name text, value text, by text DEFAULT session_user) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  stored text;
BEGIN
  IF sms_set.value IS NULL THEN
    PERFORM sms_refuse(format('%s: the value is missing', left(sms_set.name, 60)), 'SELECT sms_set(name, value)');
  END IF;
  UPDATE sms_setting s SET value = sms_set.value, updated_by = sms_set.by WHERE s.name = sms_set.name RETURNING s.value INTO stored;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('ecar-sms: there is no setting "%s"', left(sms_set.name, 60)),
      HINT = 'Known: ' || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM sms_setting s);
  END IF;
  RETURN stored;
END $$;
