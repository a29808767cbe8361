-- Objects of other people in the garage's schema that would run with the rights of whoever installs, or stand where ours
-- belong: CREATE OR REPLACE leaves a function to its old owner, a view or table of ours may have been prepared with triggers,
-- and a function named like the system's but with fitting arguments is preferred to it. Trusted are superusers, whoever
-- installs, and the owner of the garage's tables, who could do all that anyway. Names are written out, since this runs first.
WITH trusted AS (
  SELECT r.oid FROM pg_catalog.pg_roles r
  WHERE r.rolsuper OR r.rolname OPERATOR(pg_catalog.=) CURRENT_USER
     OR r.oid OPERATOR(pg_catalog.=) (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('core_service')::pg_catalog.oid)
), home AS (
  SELECT c.relnamespace AS oid FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('core_service')::pg_catalog.oid
), found (what, owner) AS (
  SELECT 'function ' OPERATOR(pg_catalog.||) p.oid::pg_catalog.regprocedure::pg_catalog.text, p.proowner
  FROM pg_catalog.pg_proc p, home WHERE p.pronamespace OPERATOR(pg_catalog.=) home.oid
    AND (p.proname::pg_catalog.text OPERATOR(pg_catalog.~) '^sms_'::pg_catalog.text
         OR EXISTS (SELECT FROM pg_catalog.pg_proc s WHERE s.proname OPERATOR(pg_catalog.=) p.proname
                    AND s.pronamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid))
  UNION ALL
  SELECT 'operator ' OPERATOR(pg_catalog.||) o.oid::pg_catalog.regoperator::pg_catalog.text, o.oprowner
  FROM pg_catalog.pg_operator o, home WHERE o.oprnamespace OPERATOR(pg_catalog.=) home.oid
  UNION ALL
  SELECT 'relation ' OPERATOR(pg_catalog.||) c.relname::pg_catalog.text, c.relowner
  FROM pg_catalog.pg_class c, home WHERE c.relnamespace OPERATOR(pg_catalog.=) home.oid
    AND c.relname::pg_catalog.text OPERATOR(pg_catalog.~) '^sms_'::pg_catalog.text
  UNION ALL
  SELECT 'type ' OPERATOR(pg_catalog.||) t.typname::pg_catalog.text, t.typowner
  FROM pg_catalog.pg_type t, home WHERE t.typnamespace OPERATOR(pg_catalog.=) home.oid
    AND t.typname::pg_catalog.text OPERATOR(pg_catalog.~) '^sms_'::pg_catalog.text AND t.typrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
    AND t.typelem OPERATOR(pg_catalog.=) 0::pg_catalog.oid
)
SELECT f.what OPERATOR(pg_catalog.||) ' of ' OPERATOR(pg_catalog.||) pg_catalog.pg_get_userbyid(f.owner)::pg_catalog.text AS stranger
FROM found f WHERE NOT EXISTS (SELECT FROM trusted t WHERE t.oid OPERATOR(pg_catalog.=) f.owner) ORDER BY 1 LIMIT 20
