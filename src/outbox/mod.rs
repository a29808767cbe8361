//! The life of a row of `sms_outbox`: claim, prepare, send, settle, rescue. Knows no table of the garage and no provider's
//! protocol.
//!
//! # Protocol
//!
//! **Claim.** One claimer task owns all scheduling state: which provider, how many free slots, what the rate allows, where
//! to look. It claims as many rows as can be sent now, and at full speed those of the next moment. The claim commits before
//! anything is sent: it is the write-ahead intent. Each claimed row carries a lease: this daemon's owner number, a token of
//! the claim, an end by the database's clock.
//!
//! **Prepare.** Facts are read for the whole batch, and what is on record of its numbers ([`contacts`]); several services of one
//! customer may be put together ([`join`]); [`policy`](crate::message::policy) decides, the text is rendered and fitted. A row that cannot
//! be sent is settled, deferred or held with a reason; it never blocks the next.
//!
//! **Send.** A request is written only when the rest of the lease covers the longest time it may take, and in its turn where the provider has a
//! rate; until then the message is known to be unsent. Then exactly one
//! [`Outcome`](crate::message::outcome::Outcome) follows. No transaction is open meanwhile.
//!
//! **Settle.** One settler task writes results, as many as have come in, fenced by the token. While results cannot be
//! written nothing is claimed; they are kept and tried again until they are.
//!
//! **Rescue.** Rows of a daemon that died are sorted by its [`journal`](crate::journal), where it is at hand: never written, answered,
//! or in doubt. Without it all whose lease ran out are in doubt. What is in doubt is never simply queued again: [`doubt`] asks for
//! receipts and the provider, and in the end the policy of the kind.
//!
//! **Wake.** The claimer polls; a NOTIFY only shortens the wait. It asks for one (a flag) before it sleeps, and looks once
//! more after asking.
//!
//! **Guards.** Before all this: is this the database that we were installed in ([`guards`]), and is this a flood ([`stampede`])?
//! A copy is not texted from, a flood is held for staff.
//!
//! A statement whose answer is lost may have taken effect. A claim: the rows are leased to a token that was never handed
//! out, and [`rescue::unclaim`] frees them, since nothing was sent. A settlement: it is run again; the second run finds
//! nothing, which is taken as done.

mod begin;
pub mod bulk;
pub mod claim;
pub mod clock;
pub mod contacts;
pub mod doubt;
pub mod fleet;
pub mod floor;
pub mod guards;
pub mod join;
pub mod lease;
pub mod ledger;
pub mod lines;
pub mod patrol;
pub mod prepare;
pub mod pulse;
pub mod recall;
pub mod recover;
pub mod rescue;
pub mod result;
mod routing;
pub mod send;
pub mod settings;
pub mod settle;
pub mod staff;
pub mod stage;
pub mod stampede;
pub mod templates;
pub mod trial;
mod waiting;
pub mod wake;
pub mod worker;
