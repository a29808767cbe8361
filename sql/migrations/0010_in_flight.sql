-- What is just being looked at, and where the looks begin: by a daemon that does not know yet that the hours have changed, or by two claims that each hold a service
-- of one customer.

-- Below which id no claim needs to look (src/outbox/floor.rs), as each daemon knows it: the next start begins there, and not with a look through all
-- that waits.
ALTER TABLE sms_owner ADD COLUMN floor bigint NOT NULL DEFAULT 0;

-- A message waits for an hour that was found by one version of the settings. When they change, sms_setting_hours looks at all that
-- wait; one that was put back a moment later, by hours that held when it was claimed, is known by its version.
ALTER TABLE sms_outbox ADD COLUMN hours_version bigint;
COMMENT ON COLUMN sms_outbox.hours_version IS 'The version of the hours by which it waits (sms_hours_version), where the reason is quiet_hours.';
CREATE INDEX sms_outbox_quiet ON sms_outbox (hours_version) WHERE reason = 'quiet_hours';

CREATE FUNCTION sms_sets_hours(name text, unit text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT unit IN ('hours', 'days', 'dates', 'transactional|service|marketing', 'open|closed') OR name IN ('transactional.prompt', 'window_spread')
$$;
CREATE FUNCTION sms_hours_version() RETURNS bigint LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT coalesce(sum(s.version), 0)::bigint FROM sms_setting s WHERE sms_sets_hours(s.name, s.unit)
$$;
UPDATE sms_outbox SET hours_version = sms_hours_version() WHERE reason = 'quiet_hours';

DROP TRIGGER sms_setting_hours ON sms_setting;
CREATE TRIGGER sms_setting_hours AFTER UPDATE ON sms_setting FOR EACH ROW
  WHEN (NEW.value <> OLD.value AND sms_sets_hours(NEW.name, NEW.unit)) EXECUTE FUNCTION sms_setting_hours();

-- As before, and each message that is about to go out says so here first: until it has, another one of its customer may take it along,
-- although it is claimed. Of two that are about to go out in the same moment one therefore tells both. NULL: it was taken.
DROP FUNCTION sms_join(bigint, bigint, bigint[]);
CREATE FUNCTION sms_join(message_id bigint, token bigint, customer text, others bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  taken   bigint[];
  sources bigint[];
BEGIN
  -- One at a time for each customer.
  PERFORM pg_advisory_xact_lock(hashtextextended('ecar-sms: services told together to ' || customer, 0));
  UPDATE sms_outbox o SET joined = coalesce(o.joined, '{}') WHERE o.id = message_id AND o.lease_token = token AND o.state = 'sending';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  WITH picked AS MATERIALIZED (
    SELECT o.id FROM sms_outbox o
    WHERE o.id = ANY (others) AND o.id <> message_id AND o.doubt IS NULL
      AND (o.state = 'queued' AND o.reason = 'joining'
           OR o.state = 'sending' AND (o.lease_token = token OR o.reason = 'joining' AND o.joined IS NULL))
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
  UPDATE sms_outbox o SET joined = o.joined || sources WHERE o.id = message_id AND taken <> '{}';
  RETURN taken;
END $$;
