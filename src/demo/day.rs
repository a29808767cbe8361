//! The garage day: what happens, in order, and what each customer reads.
//!
//! Every step is a statement as the garage's application makes them, or a command of staff; it waits for the messages that
//! must follow, and fails when there are more or fewer.

use anyhow::{Result, ensure};

use super::message::Message;
use super::screen::Screen;
use super::stage::Stage;

/// Tells the day. Knows the highest message id so far, so that each step sees its own messages only.
#[derive(Debug)]
pub struct Day<'a> {
    stage: &'a mut Stage,
    screen: &'a Screen,
    last_id: i64,
}

impl<'a> Day<'a> {
    /// A day on this stage.
    pub fn new(stage: &'a mut Stage, screen: &'a Screen) -> Self {
        Self { stage, screen, last_id: 0 }
    }

    /// From morning to afternoon.
    ///
    /// # Errors
    /// A step did not go as it must, or took too long.
    pub async fn tell(mut self) -> Result<()> {
        self.reminder().await?;
        let ready = self.completions().await?;
        self.invoices().await?;
        self.languages().await?;
        self.silent_phones().await?;
        self.busy_gateway().await?;
        self.staff(ready).await
    }

    async fn reminder(&mut self) -> Result<()> {
        let how = "service 2 is scheduled, the lead time is 36 hours; an appointment in six days stays quiet";
        self.screen.step("08:00", "Leila's Renault Clio has an appointment tomorrow at 09:30", how).await?;
        self.texts(1).await?;
        Ok(())
    }

    /// Returns the id of Sami's message.
    async fn completions(&mut self) -> Result<i64> {
        self.screen.step("09:12", "Sami's Kia Rio is ready", "UPDATE: service 1 becomes completed").await?;
        self.stage.garage(&complete(1)).await?;
        let ready = self.texts(1).await?.iter().map(|message| message.id).max().unwrap_or_default();

        let how = "INSERT: a service born completed; ç has no place in GSM-7, so the text costs two segments";
        self.screen.step("09:40", "François's Citroën got a new bulb while he waited", how).await?;
        self.stage
            .garage(
                "INSERT INTO core_service (title, description, status, scheduled_date, created_at, updated_at, car_id, is_routine_maintenance) \
                 VALUES ('Ampoule', '', 'completed', now(), now(), now(), 3, false)",
            )
            .await?;
        self.texts(1).await?;

        let how = "three UPDATEs of service 4 at once: one transition, one text";
        self.screen.step("10:05", "Three colleagues complete Mohamed Amine's Golf at the same time", how).await?;
        let sql = complete(4);
        let (one, two, three) =
            tokio::try_join!(self.stage.another_session(), self.stage.another_session(), self.stage.another_session())?;
        tokio::try_join!(one.batch(&sql), two.batch(&sql), three.batch(&sql))?;
        self.texts(1).await?;
        Ok(ready)
    }

    async fn invoices(&mut self) -> Result<()> {
        let how = "INSERT: the invoice of service 1, still without items";
        self.screen.step("10:30", "Sami's invoice is issued; its items follow a moment later", how).await?;
        self.stage.garage(&invoice("INV-1A2B3C4D", "NULL", 1)).await?;
        self.stage
            .wait(self.last_id, "the invoice was not looked at", |messages| {
                messages.iter().any(|message| message.reason.as_deref() == Some("awaiting_amount"))
            })
            .await?;
        self.screen.note("no amount yet: the text waits; now the items: 2 x 45.00 and 160.00")?;
        self.stage
            .garage(
                "INSERT INTO core_serviceitem (item_type, name, quantity, unit_price, service_id) \
                 VALUES ('part', 'Filtres', 2, 45.00, 1), ('labor', 'Main d''œuvre', 1, 160.00, 1)",
            )
            .await?;
        self.texts(1).await?;

        let how = "INSERT: the invoice of service 4 with a final amount, printed as the database holds it";
        self.screen.step("11:00", "Mohamed Amine's invoice has a final amount", how).await?;
        self.stage.garage(&invoice("INV-4C1D9E07", "1250.500", 4)).await?;
        self.texts(1).await?;
        Ok(())
    }

    async fn languages(&mut self) -> Result<()> {
        let how = "services 5 and 6 in one transaction; the second customer never gave a first name";
        self.screen.step("11:20", "Two more cars are ready", how).await?;
        self.stage.garage(&format!("BEGIN; {}; {}; COMMIT", complete(5), complete(6))).await?;
        self.texts(2).await?;
        Ok(())
    }

    async fn silent_phones(&mut self) -> Result<()> {
        let how = "service 8: the number on file is \"71 123 456\"";
        self.screen.step("11:45", "Hédi's Fiat Panda is ready, but his number is a landline", how).await?;
        self.stage.garage(&complete(8)).await?;
        self.texts(1).await?;

        let how = "service 9: the number on file is \"call me maybe\"";
        self.screen.step("11:50", "Karim's Seat Ibiza is ready, but nobody can read his number", how).await?;
        self.stage.garage(&complete(9)).await?;
        self.texts(1).await?;
        Ok(())
    }

    async fn busy_gateway(&mut self) -> Result<()> {
        let how = "service 7: the gateway answers 503 with Retry-After: 2, once";
        self.screen.step("13:30", "Ines's Hyundai i20 is ready, but the gateway is overloaded", how).await?;
        self.stage.garage(&complete(7)).await?;
        for message in self.texts(1).await? {
            self.screen
                .note(&format!("{} attempts; the first was refused, so nothing was sent twice", message.attempts))?;
        }
        Ok(())
    }

    async fn staff(&mut self, ready: i64) -> Result<()> {
        let how = format!("ecar-sms resend {ready}");
        self.screen.step("14:10", "Sami deleted his message by mistake; staff send it again", &how).await?;
        self.stage.command(&["resend", &ready.to_string()]).await?;
        self.texts(1).await?;

        let (phone, text) = ("20 000 102", "Bonjour Leila, votre pneu est arrivé. À demain, Garage ECAR");
        let how = format!("ecar-sms send text '{phone}' '{text}'");
        self.screen.step("14:20", "Staff write to Leila in their own words", &how).await?;
        self.stage.command(&["send", "text", phone, text]).await?;
        self.texts(1).await?;
        Ok(())
    }

    /// Waits until the step's messages are settled, and shows them.
    async fn texts(&mut self, expected: usize) -> Result<Vec<Message>> {
        let settled = |messages: &[Message]| messages.len() >= expected && messages.iter().all(Message::is_settled);
        let messages = self.stage.wait(self.last_id, "not every message is settled", settled).await?;
        for message in &messages {
            self.last_id = self.last_id.max(message.id);
            show(self.stage, self.screen, message)?;
        }
        ensure!(messages.len() == expected, "{} messages instead of {expected}", messages.len());
        Ok(messages)
    }
}

/// Shows a message with the text that the gateway received.
///
/// # Errors
/// Standard output is closed.
pub fn show(stage: &Stage, screen: &Screen, message: &Message) -> Result<()> {
    let received = stage.received(message);
    screen.message(message, received.as_ref().map(|received| received.message.as_str()))?;
    Ok(())
}

/// As the application saves: every column is written, and the completion date may stay empty.
fn complete(service: i64) -> String {
    format!("UPDATE core_service SET status = 'completed', title = title, updated_at = now() WHERE id = {service}")
}

fn invoice(number: &str, final_amount: &str, service: i64) -> String {
    format!(
        "INSERT INTO core_invoice (invoice_number, issued_date, due_date, status, final_amount, created_at, updated_at, service_id) \
         VALUES ('{number}', current_date, current_date + 30, 'pending', {final_amount}, now(), now(), {service})"
    )
}
