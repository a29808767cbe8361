-- Who else may create objects in the schema of the garage's tables, where the application and ours would run them: roles
-- other than superusers, the schema's owner and the owner of the tables.
SELECT n.nspname::text AS schema_name, string_agg(coalesce(r.rolname::text, 'PUBLIC'), ', ' ORDER BY r.rolname) AS creators
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(n.nspacl) a
LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE c.oid = to_regclass('core_service') AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (n.nspowner, c.relowner)
  AND NOT coalesce(r.rolsuper, false)
GROUP BY n.nspname
