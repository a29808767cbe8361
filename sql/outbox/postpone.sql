-- outbox/postpone(ids bigint[], tokens bigint[], states text[], waits_us bigint[], uncounts int[], failed int[], reasons text[], details text[], observed text[], recipients text[], bodies text[], encodings text[], segments int[], providers text[], outcomes text[], doubts int[], doubt_providers text[], hours bigint[])
-- Puts claimed messages back: to be retried, deferred, held, or in doubt. An attempt is recorded where a request was made
-- (outcome not null); where none was, the claim is not counted as an attempt. A negative wait means: no time, until somebody acts.
-- What waits since its event waits from the claim on, which read its age: so messages keep the order of their events.
-- A row that was taken for lost meanwhile (unknown) still carries our token: what we know of it is better than nothing.
WITH result AS (
  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
    AS r (id, token, state, wait_us, uncount, failed, reason, detail, observed, recipient, body, encoding, segments, provider, outcome, doubt, doubt_provider, hours)
), back AS (
  UPDATE sms_outbox o
  SET state = r.state, next_at = CASE WHEN r.wait_us >= 0 THEN CASE WHEN r.reason IN ('delay', 'joining') THEN coalesce(o.claimed_at, clock_timestamp()) ELSE clock_timestamp() END
                                     + r.wait_us * interval '1 microsecond' END,
      attempt = CASE o.state WHEN 'sending' THEN o.attempt - r.uncount ELSE o.attempt END, failures = o.failures + r.failed,
      reason = r.reason, detail = r.detail, observed = coalesce(r.observed, o.observed), hours_version = r.hours, lease_until = NULL,
      -- An earlier doubt is not cleared up by what a later attempt learned.
      doubt = CASE WHEN r.state = 'unknown' THEN coalesce(o.doubt, r.doubt, o.attempt) WHEN o.doubt = o.attempt THEN NULL ELSE o.doubt END,
      doubt_provider = CASE WHEN r.state = 'unknown' THEN coalesce(o.doubt_provider, r.doubt_provider, r.provider) WHEN o.doubt = o.attempt THEN NULL ELSE o.doubt_provider END
  FROM result r
  WHERE o.id = r.id AND o.lease_token = r.token AND o.state IN ('sending', 'unknown')
  RETURNING o.id, o.attempt, o.claimed_at, o.lease_owner, r.state, r.reason, r.detail, r.recipient, r.body, r.encoding, r.segments, r.provider, r.outcome
), attempts AS (
  INSERT INTO sms_attempt AS a (message_id, attempt, started_at, provider, outcome, detail, recipient, body, encoding, segments, lease_owner)
  SELECT id, attempt, claimed_at, provider, outcome, detail, recipient, body, encoding, segments, lease_owner
  FROM back WHERE outcome IS NOT NULL
  ON CONFLICT (message_id, attempt) DO UPDATE
  SET outcome = excluded.outcome, detail = excluded.detail, provider = excluded.provider, recipient = excluded.recipient, body = excluded.body,
      encoding = excluded.encoding, segments = excluded.segments
  WHERE a.outcome = 'unknown'
), events AS (
  INSERT INTO sms_event (message_id, what, reason, detail)
  SELECT b.id, CASE b.state WHEN 'queued' THEN 'deferred' ELSE b.state END, b.reason, b.detail FROM back b
  -- Said once, not at every look: this statement still sees the row as it was.
  WHERE b.outcome IS NULL AND NOT EXISTS (SELECT FROM sms_outbox o WHERE o.id = b.id AND o.reason IS NOT DISTINCT FROM b.reason)
)
SELECT id FROM back
