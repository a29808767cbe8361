-- What a message says about the garage: read when the row is claimed, for a whole batch in one call. Run again at every install.
--
-- Read twice over. The first way names the columns, which is six times faster. Where one of them was dropped, renamed or changed its
-- type, that statement cannot be planned, and the second way is taken: columns are late-bound (to_jsonb(row) ->> 'name'), so that
-- what the application has changed is a missing fact of the messages that need it and not an error of all. OFFSET 0 keeps a
-- row from being turned into JSON once for each of its columns.
--
-- The daemon's role needs EXECUTE on this function and no right on the garage's tables. Dates and amounts leave as the
-- database holds them; `state` and `at` let the daemon check that the message is still true.
CREATE OR REPLACE FUNCTION sms_garage_facts(kinds text[], source_ids bigint[])
RETURNS TABLE (ord int, found boolean, phone text, state text, at timestamptz, amount text, facts jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
BEGIN
  BEGIN
    RETURN QUERY
    SELECT w.ord::int, customer.id IS NOT NULL, customer.phone::text,
           CASE w.kind WHEN 'invoice_created' THEN invoice.status::text ELSE service.status::text END,
           service.scheduled_date::timestamptz,
           -- The final amount when it is set; 0.000 means unset too, since a migration once wrote it into every row.
           CASE WHEN invoice.final_amount <> 0 THEN invoice.final_amount::text ELSE coalesce(items.total, 0)::text END,
           jsonb_build_object(
             'first_name', person.first_name::text, 'car_make', car.make::text, 'car_model', car.model::text,
             'license_plate', car.license_plate::text, 'service_title', service.title::text,
             'invoice_number', invoice.invoice_number::text)
    FROM unnest(kinds, source_ids) WITH ORDINALITY AS w (kind, id, ord)
    LEFT JOIN core_invoice invoice ON w.kind = 'invoice_created' AND invoice.id = w.id
    LEFT JOIN core_service service ON service.id = CASE WHEN w.kind = 'invoice_created' THEN invoice.service_id ELSE w.id END
    LEFT JOIN core_car car ON car.id = service.car_id
    LEFT JOIN core_customer customer ON customer.id = car.customer_id
    LEFT JOIN auth_user person ON person.id = customer.user_id
    LEFT JOIN LATERAL (SELECT sum(t.quantity * t.unit_price) AS total
                       FROM core_serviceitem t WHERE w.kind = 'invoice_created' AND t.service_id = invoice.service_id) items ON true;
    RETURN;
  EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    -- Raised before the first row: the application's tables are not what they were.
    NULL;
  END;
  RETURN QUERY
  SELECT w.ord::int, customer.row IS NOT NULL, customer.row ->> 'phone',
         CASE w.kind WHEN 'invoice_created' THEN invoice.row ELSE service.row END ->> 'status',
         (service.row ->> 'scheduled_date')::timestamptz,
         CASE WHEN (invoice.row ->> 'final_amount')::numeric <> 0 THEN invoice.row ->> 'final_amount' ELSE coalesce(items.total, 0)::text END,
         jsonb_build_object(
           'first_name', person.row ->> 'first_name', 'car_make', car.row ->> 'make', 'car_model', car.row ->> 'model',
           'license_plate', car.row ->> 'license_plate', 'service_title', service.row ->> 'title',
           'invoice_number', invoice.row ->> 'invoice_number')
  FROM unnest(kinds, source_ids) WITH ORDINALITY AS w (kind, id, ord)
  LEFT JOIN LATERAL (SELECT to_jsonb(i) AS row FROM core_invoice i WHERE w.kind = 'invoice_created' AND i.id = w.id OFFSET 0) invoice ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(s) AS row FROM core_service s
                     WHERE s.id = CASE WHEN w.kind = 'invoice_created' THEN (invoice.row ->> 'service_id')::bigint ELSE w.id END OFFSET 0) service ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(c) AS row FROM core_car c WHERE c.id = (service.row ->> 'car_id')::bigint OFFSET 0) car ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(c) AS row FROM core_customer c WHERE c.id = (car.row ->> 'customer_id')::bigint OFFSET 0) customer ON true
  LEFT JOIN LATERAL (SELECT to_jsonb(u) AS row FROM auth_user u WHERE u.id = (customer.row ->> 'user_id')::int OFFSET 0) person ON true
  LEFT JOIN LATERAL (SELECT sum((to_jsonb(t) ->> 'quantity')::numeric * (to_jsonb(t) ->> 'unit_price')::numeric) AS total
                     FROM core_serviceitem t WHERE w.kind = 'invoice_created' AND t.service_id = (invoice.row ->> 'service_id')::bigint) items ON true;
END $$;
