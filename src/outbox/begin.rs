//! From a slot to the request: the turn at the provider, and the journal.
//!
//! Where there is a rate, a message waits for its turn first and is written down then: until the journal says that it is about to be sent it is
//! known to be unsent, and goes back when the daemon stops or its turn does not come. Where there is none, those that are seated
//! together are written down together.

use std::time::Instant;

use tracing::debug;

use super::recall::Memory;
use super::send::Desk;
use super::stage::Armed;
use crate::crash;
use crate::journal::{Begun, Key};
use crate::provider::Clearance;
use crate::provider::slots::Ticket;

impl Desk {
    /// A message whose turn it is, as the journal says; `None`: it has gone back unsent.
    pub(super) async fn cleared(&self, armed: Armed, ticket: Ticket) -> Option<(Armed, Ticket, Clearance)> {
        if let Some(clearance) = self.provider.unlimited() {
            return Some((armed, ticket, clearance));
        }
        let clearance = tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => None,
            clearance = self.provider.clearance() => clearance,
        };
        let Some(clearance) = clearance.filter(|_| self.may_still_begin(&armed)) else {
            self.return_unsent(vec![(armed, ticket)]).await;
            return None;
        };
        let (armed, ticket) = self.enter(vec![(armed, ticket)]).await.pop()?;
        Some((armed, ticket, clearance))
    }

    /// Whether nothing has happened while it waited: the provider failed, the lease ran short, or the same message came once more from a database
    /// that had forgotten the claim.
    fn may_still_begin(&self, armed: &Armed) -> bool {
        let (lease, created_us) = (armed.lease(), armed.row().created_at.as_microsecond());
        self.may_go_on()
            && lease.covers(Instant::now(), self.provider.timeout())
            && self.shared.recall.of(lease.id, created_us, lease.attempt).is_none()
    }

    /// Those of which the journal says now that they are about to be sent.
    pub(super) async fn enter(&self, mut armed: Vec<(Armed, Ticket)>) -> Vec<(Armed, Ticket)> {
        if let Err(problem) = self.write_down(&mut armed) {
            // The claim promised a journal: without it nothing may be sent.
            debug!(error = %problem, messages = armed.len(), "the journal failed; these messages go back unsent");
            self.return_unsent(std::mem::take(&mut armed)).await;
        }
        armed
    }

    async fn return_unsent(&self, armed: Vec<(Armed, Ticket)>) {
        self.provider.circuit().not_probed(Instant::now());
        self.unsent(armed.len());
        for (one, _ticket) in armed {
            self.shared.settler.record(one.give_back()).await;
        }
    }

    /// Enters attempts that are about to be made into the journal and the memory.
    fn write_down(&self, armed: &mut [(Armed, Ticket)]) -> std::io::Result<()> {
        if armed.is_empty() {
            return Ok(());
        }
        crash::point(crash::BEFORE_JOURNAL_BEGIN);
        if self.journaled {
            let entries: Vec<Begun> = armed.iter().map(|(one, _)| self.begun(one)).collect();
            let segment = self.shared.journal.begin(&entries)?;
            for (one, _) in armed.iter_mut() {
                one.journaled(segment);
            }
        }
        crash::point(crash::AFTER_JOURNAL_BEGIN);
        for (one, _) in armed.iter() {
            let (lease, created_us) = (one.lease(), one.row().created_at.as_microsecond());
            self.shared.recall.remember(lease.id, created_us, lease.attempt, Memory::UnderWay);
        }
        Ok(())
    }

    fn begun(&self, armed: &Armed) -> Begun {
        let (lease, rendered) = (armed.lease(), armed.rendered());
        Begun {
            key: Key { id: lease.id, token: lease.token },
            attempt: lease.attempt,
            created_us: armed.row().created_at.as_microsecond(),
            provider: self.provider.name().to_owned(),
            recipient: rendered.recipient.clone(),
            lang: rendered.lang.clone(),
            body: rendered.body.clone(),
            encoding: rendered.encoding.as_str().to_owned(),
            segments: rendered.segments,
        }
    }
}
