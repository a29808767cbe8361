-- A small garage in Tunis on the morning of the demo. Numbers are written as its staff write them.
-- Ids are given, so that the day can speak of them, and leave the identities where the application would go on.

INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT id, '!', false, username, first_name, last_name, '', is_staff, true, now() - interval '2 years'
FROM (VALUES
  (1, 'sami',       'Sami',       'Trabelsi',   false),
  (2, 'leila',      'Leila',      'Ben Salah',  false),
  (3, 'francois',   'François',   'Martin',     false),
  (4, 'amine',      'Mohamed Amine', 'Gharbi',  false),
  (5, 'mohamed',    'محمد',        'الهمامي',     false),
  (6, 'noname',     '',           '',           false),
  (7, 'ines',       'Ines',       'Jaziri',     false),
  (8, 'hedi',       'Hédi',       'Mansour',    false),
  (9, 'karim',      'Karim',      'Bouazizi',   false),
  (10, 'atelier',   'Nour',       'Atelier',    true)
) AS person (id, username, first_name, last_name, is_staff);

INSERT INTO core_customer (id, phone, address, created_at, updated_at, user_id)
SELECT id, phone, address, now() - interval '2 years', now() - interval '1 month', id
FROM (VALUES
  (1, '20 000 101',       'Rue de Marseille, Tunis'),
  (2, '21620000102',      'Avenue Habib Bourguiba, Ariana'),
  (3, '+216 20 000 103',  'La Marsa'),
  (4, '0021620000104',    'Ben Arous'),
  (5, '20.000.105',       NULL),
  (6, '(20) 000106',      NULL),
  (7, '020000107',        'Bardo'),
  (8, '71 123 456',       'Le Kram'),
  (9, 'call me maybe',    NULL)
) AS customer (id, phone, address);

INSERT INTO core_car (id, make, model, year, license_plate, fuel_type, mileage, created_at, updated_at, customer_id, initial_mileage)
SELECT id, make, model, year, plate, fuel, mileage, now() - interval '2 years', now() - interval '1 month', id, mileage - 20000
FROM (VALUES
  (1, 'Kia',        'Rio',          2019, '201 TU 1001', 'petrol',  64200),
  (2, 'Renault',    'Clio',         2021, '214 TU 1002', 'petrol',  38900),
  (3, 'Citroën',    'C4 Picasso',   2014, '172 TU 1003', 'diesel', 151000),
  (4, 'Volkswagen', 'Golf 7 GTD',   2017, '190 TU 1004', 'diesel',  98400),
  (5, 'Peugeot',    '208',          2020, '207 TU 1005', 'petrol',  51700),
  (6, 'Isuzu',      'D-Max',        2018, '196 TU 1006', 'diesel', 120300),
  (7, 'Hyundai',    'i20',          2022, '222 TU 1007', 'petrol',  27400),
  (8, 'Fiat',       'Panda',        2012, '155 TU 1008', 'petrol', 143000),
  (9, 'Seat',       'Ibiza',        2016, '184 TU 1009', 'petrol',  88800)
) AS car (id, make, model, year, plate, fuel, mileage);

INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
SELECT id, title, '', status,
       (date_trunc('day', now() AT TIME ZONE 'Africa/Tunis') + after) AT TIME ZONE 'Africa/Tunis',
       now() - interval '3 days', now() - interval '1 day', car_id, routine
FROM (VALUES
  (1, 'Révision des 60 000 km',      'in_progress', interval '8 hours',          1, true),
  (2, 'Plaquettes de frein',         'scheduled',   interval '1 day 9.5 hours',  2, false),
  (4, 'Embrayage',                   'in_progress', interval '8.5 hours',        4, false),
  (5, 'Climatisation',               'in_progress', interval '9 hours',          5, false),
  (6, 'Courroie de distribution',    'in_progress', interval '9 hours',          6, true),
  (7, 'Vidange',                     'in_progress', interval '10 hours',         7, true),
  (8, 'Batterie',                    'in_progress', interval '10.5 hours',       8, false),
  (9, 'Amortisseurs',                'in_progress', interval '11 hours',         9, false),
  (10, 'Contrôle technique',         'scheduled',   interval '6 days 14 hours',  1, true),
  (11, 'Parallélisme',               'in_progress', interval '12 hours',         2, false)
) AS service (id, title, status, after, car_id, routine);

SELECT setval(pg_get_serial_sequence('auth_user', 'id'), 10), setval(pg_get_serial_sequence('core_customer', 'id'), 9),
       setval(pg_get_serial_sequence('core_car', 'id'), 9), setval(pg_get_serial_sequence('core_service', 'id'), 11);
