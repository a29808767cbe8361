-- garage/expected()
-- Columns of the garage's tables that the triggers, facts and reminders read, and that are not there: drift, for the doctor.
SELECT w.tab || '.' || w.col AS missing
FROM (VALUES
  ('core_service', 'id'), ('core_service', 'status'), ('core_service', 'scheduled_date'), ('core_service', 'car_id'), ('core_service', 'title'),
  ('core_service', 'created_at'),
  ('core_invoice', 'id'), ('core_invoice', 'status'), ('core_invoice', 'service_id'), ('core_invoice', 'final_amount'), ('core_invoice', 'invoice_number'),
  ('core_serviceitem', 'service_id'), ('core_serviceitem', 'quantity'), ('core_serviceitem', 'unit_price'),
  ('core_car', 'id'), ('core_car', 'make'), ('core_car', 'model'), ('core_car', 'license_plate'), ('core_car', 'customer_id'),
  ('core_customer', 'id'), ('core_customer', 'phone'), ('core_customer', 'user_id'), ('auth_user', 'id'), ('auth_user', 'first_name')
) AS w (tab, col)
WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(w.tab) AND a.attname = w.col AND NOT a.attisdropped)
