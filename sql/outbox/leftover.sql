-- outbox/leftover(owner int)
-- What a daemon that is gone left behind: the rows still leased to it, and those taken for lost meanwhile that its journal may
-- know more about.
SELECT id, kind, lease_token, attempt, created_at, state, journaled, failures, doubt, doubt_provider
FROM sms_outbox WHERE lease_owner = $1 AND state IN ('sending', 'unknown')
