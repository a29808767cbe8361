-- garage/watched()
-- The triggers that should stand on the garage's tables, and how they are: missing, D disabled, O or A enabled, R for replicas only.
SELECT w.tab AS garage_table, w.trigger_name, coalesce(t.tgenabled::text, 'missing') AS state
FROM (VALUES ('core_service', 'sms_garage_service'), ('core_service', 'sms_garage_service_born'), ('core_invoice', 'sms_garage_invoice')) AS w (tab, trigger_name)
LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(w.tab) AND t.tgname = w.trigger_name
