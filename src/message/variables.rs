//! What a template may speak of. The same list stands in SQL (`sms_template_variables`), where templates are checked when they are
//! saved; a test compares the two.

use super::kind::Kind;

/// A variable of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name, as templates write it.
    pub name: &'static str,
    /// What it is, for people.
    pub meaning: &'static str,
    /// An ordinary long value, to measure templates with.
    pub sample: &'static str,
    /// Whether it may be empty; such a variable stands in an `if`.
    pub may_be_empty: bool,
}

const fn variable(name: &'static str, meaning: &'static str, sample: &'static str) -> Variable {
    Variable { name, meaning, sample, may_be_empty: false }
}

const SERVICE: [Variable; 5] = [
    Variable {
        may_be_empty: true,
        ..variable("first_name", "the customer's first name; may be empty", "Mohamed Amine")
    },
    variable("car_make", "the make of the car", "Volkswagen"),
    variable("car_model", "its model; further cars of a joined text follow here", "Golf 7 GTD"),
    variable("license_plate", "its licence plate", "123 TUN 4567"),
    variable("service_title", "the title of the service", "Vidange et filtres"),
];

const INVOICE: [Variable; 3] = [
    variable("invoice_number", "the number of the invoice", "INV-1A2B3C4D"),
    variable("amount", "its amount as the database holds it", "1250.500"),
    variable("amount_text", "the same as the language writes it, with the currency", "1 250,500 DT"),
];

const APPOINTMENT: [Variable; 4] = [
    variable("date", "the day of the appointment, dd/mm/yyyy", "23/11/2026"),
    variable("date_text", "the same in words", "mercredi 23 septembre 2026"),
    variable("weekday", "the day of the week", "mercredi"),
    Variable { may_be_empty: true, ..variable("time", "HH:MM; empty where only the day is known", "09:30") },
];

/// The variables of a kind; none for kinds that carry their own text.
pub fn of(kind: Kind) -> impl Iterator<Item = &'static Variable> {
    let (own, further): (&[Variable], &[Variable]) = match kind {
        Kind::ServiceCompleted => (&SERVICE, &[]),
        Kind::InvoiceCreated => (&SERVICE, &INVOICE),
        Kind::AppointmentReminder => (&SERVICE, &APPOINTMENT),
        Kind::Custom | Kind::Campaign => (&[], &[]),
    };
    own.iter().chain(further)
}
