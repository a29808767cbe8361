-- What a message says about the garage: read when the row is claimed, for a whole batch in one call. Run again at every install.
--
-- Columns are late-bound (to_jsonb(row) ->> 'name'), so that a column dropped or renamed by the application is a missing fact of
-- the messages that need it and not an error of all. The daemon's role needs EXECUTE on this function and no right on the
-- garage's tables. Dates and amounts leave as the database holds them; `state` and `at` let the daemon check that the message is
-- still true.
CREATE OR REPLACE FUNCTION sms_garage_facts(kinds text[], source_ids bigint[])
RETURNS TABLE (ord int, found boolean, phone text, state text, at timestamptz, amount text, facts jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
BEGIN
  RETURN QUERY
  SELECT w.ord::int, customer.row IS NOT NULL, customer.row ->> 'phone',
         CASE w.kind WHEN 'invoice_created' THEN invoice.row ELSE service.row END ->> 'status',
         (service.row ->> 'scheduled_date')::timestamptz,
         -- The final amount when it is set; 0.000 means unset too, since a migration once wrote it into every row.
         CASE WHEN (invoice.row ->> 'final_amount')::numeric <> 0 THEN invoice.row ->> 'final_amount' ELSE coalesce(items.total, 0)::text END,
         jsonb_build_object(
           'first_name', person.row ->> 'first_name', 'car_make', car.row ->> 'make', 'car_model', car.row ->> 'model',
           'license_plate', car.row ->> 'license_plate', 'service_title', service.row ->> 'title',
           'invoice_number', invoice.row ->> 'invoice_number')
  FROM unnest(kinds, source_ids) WITH ORDINALITY AS w (kind, id, ord)
  LEFT JOIN LATERAL (SELECT to_jsonb(i) AS row FROM core_invoice i WHERE w.kind = 'invoice_created' AND i.id = w.id) invoice ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(s) AS row FROM core_service s
                     WHERE s.id = CASE WHEN w.kind = 'invoice_created' THEN (invoice.row ->> 'service_id')::bigint ELSE w.id END) service ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(c) AS row FROM core_car c WHERE c.id = (service.row ->> 'car_id')::bigint) car ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(c) AS row FROM core_customer c WHERE c.id = (car.row ->> 'customer_id')::bigint) customer ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(u) AS row FROM auth_user u WHERE u.id = (customer.row ->> 'user_id')::int) person ON true
  LEFT JOIN LATERAL (SELECT sum((to_jsonb(t) ->> 'quantity')::numeric * (to_jsonb(t) ->> 'unit_price')::numeric) AS total
                     FROM core_serviceitem t WHERE w.kind = 'invoice_created' AND t.service_id = (invoice.row ->> 'service_id')::bigint) items ON true;
END $$;
