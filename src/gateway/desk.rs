//! The desk: the one place where the script in force and the record meet.
//!
//! Owns both behind one lock, so that decisions and entries have one order; the lock is never held across an await.
//! Beside it stand counters of connections, and the two who are told of entries: subscribers and the receipts' courier.
//! Being too slow for either loses them news, never the gateway a message.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast;

use super::account::Account;
use super::courier::{Courier, Errand};
use super::dialect::books::{Books, Seen};
use super::dialect::call::Call;
use super::dialect::sending::{Sending, Stamp};
use super::dialect::speech::{Dialect, Refusal, Reply, Sight};
use super::dialect::vendor::Vendor;
use super::director::{Act, Cue, Director};
use super::ledger::{Answer, Fate, Ledger, Received, Totals};
use super::letter::Round;
use super::post::Post;
use super::receipts::{Plan, Receipts};
use super::rule::{Action, Fault};
use super::script::{Lookup, Script, SmppScript};

/// News a subscriber may fall behind before it loses the oldest, in messages.
const NEWS_KEPT: usize = 4_096;

/// Everything `GET /stats` tells.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// Sums over the record.
    #[serde(flatten)]
    pub totals: Totals,
    /// Connections taken since the start.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// Requests to send that are being answered now.
    pub in_flight: u64,
    /// Most requests to send that were being answered at one time, since the start or the last clear.
    pub max_in_flight: u64,
    /// Look-ups since the start, also those that are not offered.
    pub lookups: u64,
}

/// What becomes of a message after it was entered.
#[derive(Debug)]
pub(super) enum Verdict {
    /// As the script has it.
    Play(Cue, Arc<Received>),
    /// 200 with the id of the first message with its reference, after this time.
    Repeat(Duration, u64),
    /// 400 with this sentence.
    Complain(String),
    /// 401.
    WrongKey,
    /// 507: not entered.
    Full,
}

/// What becomes of a request to send to a vendor.
#[derive(Debug)]
pub(super) enum Heard {
    /// As the script has it.
    Played(Played),
    /// The vendor refuses.
    Refused(Reply),
    /// 507: not entered.
    Full,
}

/// A request to a vendor that was entered.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) cue: Cue,
    pub(super) messages: Vec<Arc<Received>>,
    pub(super) plan: Plan,
    pub(super) receipts: Arc<Receipts>,
    pub(super) account: Arc<Account>,
    /// The credentials of the request.
    pub(super) key: String,
}

/// What a look-up finds.
#[derive(Debug)]
pub(super) enum Found {
    /// Those that were taken and fit.
    Taken(Vec<Arc<Received>>),
    /// The script does not let itself be asked this way.
    NotOffered,
    /// The API key that was given is wrong.
    WrongKey,
}

/// What is looked up.
#[derive(Debug)]
pub(super) enum Question<'a> {
    Reference(&'a str),
    Recipient(&'a str, Timestamp),
}

#[derive(Debug)]
struct State {
    director: Director,
    ledger: Ledger,
    books: Books,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    news: broadcast::Sender<Arc<Received>>,
    courier: Courier,
    connections: AtomicU64,
    lookups: AtomicU64,
    replies: AtomicU64,
    open_connections: Tally,
    in_flight: Tally,
}

impl Desk {
    pub(super) fn new(script: Script, courier: Courier) -> Desk {
        Desk {
            state: Mutex::new(State {
                director: Director::new(script),
                ledger: Ledger::default(),
                books: Books::default(),
            }),
            news: broadcast::Sender::new(NEWS_KEPT),
            courier,
            connections: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            open_connections: Tally::default(),
            in_flight: Tally::default(),
        }
    }

    /// Enters a message and says what becomes of it.
    pub(super) fn receive(&self, mut post: Post, path: &str) -> Verdict {
        let mut state = self.lock();
        let State { director, ledger, .. } = &mut *state;
        if ledger.is_full() {
            ledger.count(Answer::Status(507));
            return Verdict::Full;
        }
        let key_ok = director.key_ok(post.key.as_deref());
        if let Some(complaint) = post.complaint.take() {
            self.tell(ledger.enter(post, path, key_ok, Fate::refused(400)));
            return Verdict::Complain(complaint);
        }
        if !key_ok {
            self.tell(ledger.enter(post, path, false, Fate::refused(401)));
            return Verdict::WrongKey;
        }
        let known = post.reference.as_deref().filter(|_| director.deduplicates());
        if let Some(first) = known.and_then(|reference| ledger.taken_with(reference)).map(Arc::clone) {
            self.tell(ledger.enter(post, path, true, Fate::repeat_of(&first)));
            return Verdict::Repeat(director.repeat_delay(), first.seq);
        }
        let cue = director.decide(path, &post.phone, &post.message);
        let fate = fate(&cue.act, director.error_takes());
        let received = ledger.enter(post, path, true, fate);
        self.tell(Arc::clone(&received));
        let receipts = director.receipts().filter(|_| fate.accepted).map(Arc::clone);
        drop(state);
        if let Some(receipts) = receipts {
            self.courier.send(Errand::new(Arc::clone(&received), receipts));
        }
        Verdict::Play(cue, received)
    }

    /// Enters what a vendor is asked to send, and says what becomes of it. One request has one fate, also when it holds
    /// several messages: that of its first.
    pub(super) fn hear(&self, dialect: &dyn Dialect, call: &Call) -> Heard {
        let sendings = dialect.read(call);
        let complaint = dialect.check(call, &sendings);
        let mut state = self.lock();
        let State { director, ledger, books } = &mut *state;
        if ledger.is_full() {
            ledger.count(Answer::Status(507));
            return Heard::Full;
        }
        let account = director.account(dialect.vendor());
        let admitted = dialect.admit(call, &account, books);
        let key_ok = admitted.is_ok();
        let judged = admitted.and_then(|key| complaint.map(|()| key));
        let key = match judged.and_then(|key| dialect.recheck(&sendings, ledger).map(|()| key)) {
            Ok(key) => key,
            Err(refusal) => {
                let reply = dialect.refused(call, &refusal);
                for sending in sendings {
                    let fate = Fate::refused(reply.status.as_u16());
                    self.tell(ledger.enter(post(sending, call), &call.full_path, key_ok, fate));
                }
                return Heard::Refused(reply);
            }
        };
        let (phone, text) = sendings.first().map_or(("", ""), |first| (first.phone.as_str(), first.text.as_str()));
        let cue = director.decide(&call.full_path, phone, text);
        let receipts = director.vendor_receipts();
        let plan = director.plan(&receipts);
        let fate = vendor_fate(&cue.act, director.error_takes(), dialect, call);
        if let Some(first) = sendings.first() {
            let seen = Seen { key: key.clone(), account: first.account.clone(), sender: first.sender.clone() };
            books.remember(dialect.vendor(), seen);
        }
        let due = Timestamp::now().saturating_add(cue.delay + plan.after).unwrap_or(Timestamp::MAX);
        let mut messages = Vec::with_capacity(sendings.len());
        for sending in sendings {
            let stamp = |seq| {
                Some(Box::new(Stamp {
                    vendor: dialect.vendor(),
                    id: dialect.id(seq, &sending),
                    account: sending.account.clone(),
                    callback: sending.callback.clone(),
                    notes: sending.notes.clone(),
                    delivered: plan.delivered,
                    code: receipts.code.as_ref().map(|code| code.0.clone()),
                    due,
                }))
            };
            let received = ledger.enter_stamped(post(sending.clone(), call), &call.full_path, true, fate, stamp);
            self.tell(Arc::clone(&received));
            messages.push(received);
        }
        Heard::Played(Played { cue, messages, plan, receipts, account, key })
    }

    /// Asks a vendor about what it was given.
    pub(super) fn ask(&self, dialect: &dyn Dialect, call: &Call) -> Reply {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let State { director, ledger, books } = &mut *state;
        let account = director.account(dialect.vendor());
        let ids = director.vendor_receipts().ids;
        dialect.ask(call, &mut Sight { ledger, books, account: &account, now: Timestamp::now(), ids })
    }

    /// What is known for a reply of a customer: its number, who sent last, the account, and how the script pushes.
    pub(super) fn replying(&self, vendor: Vendor) -> (u64, Seen, Arc<Account>, Arc<Receipts>) {
        let seq = self.replies.fetch_add(1, Ordering::Relaxed) + 1;
        let state = self.lock();
        (seq, state.books.last(vendor), state.director.account(vendor), state.director.vendor_receipts())
    }

    /// Hands letters to the courier.
    pub(super) fn push(&self, round: Round) {
        self.courier.push(round);
    }

    /// Looks up what was taken. `key` is the API key of the asker, when there is one.
    pub(super) fn look_up(&self, question: &Question<'_>, key: Option<&str>) -> Found {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let state = self.lock();
        if key.is_some() && !state.director.key_ok(key) {
            return Found::WrongKey;
        }
        match question {
            Question::Reference(_) if !state.director.offers(Lookup::Reference) => Found::NotOffered,
            Question::Recipient(..) if !state.director.offers(Lookup::Recipient) => Found::NotOffered,
            Question::Reference(reference) => {
                Found::Taken(state.ledger.taken_with(reference).map(Arc::clone).into_iter().collect())
            }
            Question::Recipient(phone, since) => Found::Taken(state.ledger.taken_for(phone, *since)),
        }
    }

    /// What the script says of the message centre.
    pub(super) fn smpp(&self) -> Arc<SmppScript> {
        Arc::clone(self.lock().director.smpp())
    }

    /// Whether this is the scripted key.
    pub(super) fn key_ok(&self, key: &str) -> bool {
        self.lock().director.key_ok(Some(key))
    }

    /// Whether a request is reset before its body is read, and after how long.
    pub(super) fn before_read(&self) -> Option<Duration> {
        self.lock().director.before_read()
    }

    pub(super) fn count(&self, answer: Answer) {
        self.lock().ledger.count(answer);
    }

    pub(super) fn messages(&self) -> Vec<Arc<Received>> {
        self.lock().ledger.messages().to_vec()
    }

    pub(super) fn message_count(&self) -> usize {
        self.lock().ledger.messages().len()
    }

    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.ledger.clear();
        state.books.forget_reports();
        drop(state);
        self.in_flight.forget_peak();
    }

    pub(super) fn set_script(&self, script: Script) {
        self.lock().director = Director::new(script);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Received>> {
        self.news.subscribe()
    }

    pub(super) fn stats(&self) -> Stats {
        let totals = self.lock().ledger.totals();
        Stats {
            totals,
            connections: self.connections.load(Ordering::Relaxed),
            open_connections: self.open_connections.now(),
            in_flight: self.in_flight.now(),
            max_in_flight: self.in_flight.peak(),
            lookups: self.lookups.load(Ordering::Relaxed),
        }
    }

    /// Counts a connection for as long as the guard lives.
    pub(super) fn connected(&self) -> Counted<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open_connections.begin()
    }

    /// Counts a request to send for as long as the guard lives.
    pub(super) fn answering(&self) -> Counted<'_> {
        self.in_flight.begin()
    }

    fn tell(&self, received: Arc<Received>) {
        // An error means that nobody listens.
        let _ = self.news.send(received);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic that a reader could stumble over: sums at worst miss one message.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is entered for an act: the answer, whether it says that the message was taken, and whether it was.
fn fate(act: &Act, error_takes: bool) -> Fate {
    let (answer, accepted, taken) = match act {
        Act::Accept => (Answer::Status(200), true, true),
        Act::Error(status) => (Answer::Status(status.as_u16()), false, takes(*status, error_takes)),
        Act::Rule(rule) => match &rule.action {
            Action::Fault(fault) => (Answer::Fault(*fault), false, fault_takes(*fault)),
            Action::Answer { status, accepts, .. } => {
                (Answer::Status(status.as_u16()), *accepts, takes(*status, error_takes))
            }
            // The generic protocol has no codes.
            Action::Refuse { status, .. } => {
                let status = status.unwrap_or(StatusCode::BAD_REQUEST);
                (Answer::Status(status.as_u16()), false, status.is_server_error() && error_takes)
            }
        },
    };
    Fate { answer, accepted, taken, repeat_of: None }
}

/// The same for a vendor, whose successes and errors have statuses of their own.
fn vendor_fate(act: &Act, error_takes: bool, dialect: &dyn Dialect, call: &Call) -> Fate {
    let fate = fate(act, error_takes);
    match act {
        Act::Accept => Fate { answer: Answer::Status(dialect.success().as_u16()), ..fate },
        Act::Error(_) => fate,
        Act::Rule(rule) => match &rule.action {
            Action::Refuse { code, status, .. } => {
                let own = dialect.refused(call, &Refusal::scripted(code)).status;
                let status = status.unwrap_or(own);
                let taken = status.is_server_error() && error_takes;
                Fate { answer: Answer::Status(status.as_u16()), taken, ..fate }
            }
            Action::Answer { .. } | Action::Fault(_) => fate,
        },
    }
}

/// A message to a vendor as the record keeps it.
fn post(sending: Sending, call: &Call) -> Post {
    Post {
        key: None,
        sender_id: sending.sender,
        phone: sending.phone,
        message: sending.text,
        reference: sending.reference,
        unusual: Some(call.kept().to_string().into()),
        complaint: None,
    }
}

/// Whether a message answered with this status is taken. A success without JSON is one that the client cannot read.
fn takes(status: StatusCode, error_takes: bool) -> bool {
    status.is_success() || (status.is_server_error() && error_takes)
}

/// Whether a message is taken before this happens to its answer.
fn fault_takes(fault: Fault) -> bool {
    match fault {
        Fault::ResetBeforeRead | Fault::Redirect => false,
        Fault::ResetAfterRead
        | Fault::CloseAfterRead
        | Fault::Silence
        | Fault::Truncated
        | Fault::NoJson
        | Fault::Huge
        | Fault::Endless
        | Fault::Garbage => true,
    }
}

/// How many there are now, and the most there were.
#[derive(Debug, Default)]
struct Tally {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Tally {
    fn begin(&self) -> Counted<'_> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
        Counted(self)
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    fn forget_peak(&self) {
        self.peak.store(self.now(), Ordering::Relaxed);
    }
}

/// One that is counted while it lives.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a Tally);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
