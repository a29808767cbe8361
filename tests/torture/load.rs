//! The load: messages written one by one, each committed by itself, while things go wrong.
//!
//! Free texts and completed services are mixed as a garage mixes them. A writer whose connection breaks connects again and
//! goes on with the next message, as an application does; what became of the interrupted one nobody knows but the database.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ecar_sms::db::Target;
use ecar_sms::db::script::Session;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::judge::mark;

/// Every so many messages one is a completed service, as long as there are services.
const SERVICE_EVERY: u64 = 10;

/// Connections that write.
const WRITERS: u64 = 3;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(10);

/// How long one insert may take: beyond it the connection is given up.
const INSERT_TIMEOUT: Duration = Duration::from_secs(5);

/// What was enqueued.
#[derive(Debug, Default, Clone)]
pub struct Enqueued {
    /// Committed: the server said so.
    pub certain: BTreeSet<u64>,
    /// Written, but the connection broke before the answer.
    pub maybe: BTreeSet<u64>,
    /// How long the load ran.
    pub took: Duration,
}

impl Enqueued {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let messages = self.certain.len() as f64;
        messages / self.took.as_secs_f64().max(0.001)
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    writers: Vec<JoinHandle<Enqueued>>,
    stop: CancellationToken,
}

impl Load {
    /// Writes so many messages a second to the database. The first `services` numbers are services that can be completed.
    pub fn start(url: &str, per_second: u64, services: u64) -> Self {
        let stop = CancellationToken::new();
        let writer = |number| tokio::spawn(write(url.to_owned(), number, per_second, services, stop.clone()));
        Self { writers: (0..WRITERS).map(writer).collect(), stop }
    }

    /// Ends it; what is being written is finished.
    pub async fn stop(self) -> Enqueued {
        self.stop.cancel();
        let mut enqueued = Enqueued::default();
        for writer in self.writers {
            let written = writer.await.unwrap();
            enqueued.certain.extend(written.certain);
            enqueued.maybe.extend(written.maybe);
            enqueued.took = enqueued.took.max(written.took);
        }
        enqueued
    }
}

/// One connection: every so many-th message is its own.
async fn write(url: String, writer: u64, per_second: u64, services: u64, stop: CancellationToken) -> Enqueued {
    let target = Target::parse(&url).unwrap();
    let begun = Instant::now();
    let mut enqueued = Enqueued::default();
    let mut session: Option<Session> = None;
    let mut written = 0;
    // What an outage kept back is not written in one rush afterwards.
    let mut allowed = 0.0;
    let mut looked = Instant::now();
    while !stop.is_cancelled() {
        tokio::time::sleep(TICK).await;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let rate = per_second as f64 / WRITERS as f64;
        allowed = f64::min(allowed + looked.elapsed().as_secs_f64() * rate, rate);
        looked = Instant::now();
        while allowed >= 1.0 && !stop.is_cancelled() {
            let Some(open) = &session else {
                session =
                    tokio::time::timeout(INSERT_TIMEOUT, Session::connect(&target)).await.ok().and_then(Result::ok);
                if session.is_none() {
                    break;
                }
                continue;
            };
            written += 1;
            let own = written * WRITERS + writer;
            let service =
                Some(own / SERVICE_EVERY).filter(|number| own.is_multiple_of(SERVICE_EVERY) && *number <= services);
            let number = service.unwrap_or(services + own);
            let sql = service.map_or_else(|| free_text(number), complete);
            if matches!(tokio::time::timeout(INSERT_TIMEOUT, open.batch(&sql)).await, Ok(Ok(()))) {
                enqueued.certain.insert(number);
            } else {
                enqueued.maybe.insert(number);
                session = None;
            }
            allowed -= 1.0;
        }
    }
    enqueued.took = begun.elapsed();
    enqueued
}

/// A free text of this number.
pub fn free_text(number: u64) -> String {
    format!(
        "INSERT INTO sms_outbox (kind, recipient, body) VALUES ('custom', '20 000 {:03}', 'Bonjour {}')",
        number % 1_000,
        mark(number)
    )
}

/// Free texts of these numbers, in one transaction.
pub fn free_texts(from: u64, count: u64) -> String {
    format!(
        "INSERT INTO sms_outbox (kind, recipient, body)
         SELECT 'custom', (21620000000 + i % 1000)::text, 'Bonjour #' || i FROM generate_series({from}, {}) i",
        from + count - 1
    )
}

/// Completes a service, as the application does.
fn complete(number: u64) -> String {
    format!("UPDATE core_service SET title = title, status = 'completed', updated_at = now() WHERE id = {number}")
}

/// Services 1 to `count`, in progress, each with a car and a customer of its own; the car's model is the mark.
pub fn services(count: u64) -> String {
    format!(
        "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
         SELECT i, '!', false, 'user' || i, 'Sami', 'Ben Ali', '', false, true, now() FROM generate_series(1, {count}) i;
         INSERT INTO core_customer (id, phone, created_at, updated_at, user_id)
         SELECT i, to_char(20000000 + i % 1000, 'FM99 999 999'), now(), now(), i FROM generate_series(1, {count}) i;
         INSERT INTO core_car (id, make, model, year, license_plate, fuel_type, mileage, created_at, updated_at, customer_id, initial_mileage)
         SELECT i, 'Kia', '#' || i, 2020, i || ' TN 1', 'gasoline', 1, now(), now(), i, 0 FROM generate_series(1, {count}) i;
         INSERT INTO core_service (id, title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance)
         SELECT i, 'Vidange', '', 'in_progress', now(), now(), now(), i, false FROM generate_series(1, {count}) i"
    )
}
