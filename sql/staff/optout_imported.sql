-- staff/optout_imported(source text, entries bigint, added bigint, bad bigint, by text)
-- Notes that a list was taken over to its end.
INSERT INTO sms_optout_import (source, entries, added, bad, by) VALUES ($1, $2, $3, $4, $5) RETURNING id
