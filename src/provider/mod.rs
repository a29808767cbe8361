//! Providers: who carries the messages. Adapters know request and response shapes only and no queue; beside them stand
//! what the sender must respect for each provider: requests at once, messages per second, and its circuit.

pub mod circuit;
pub mod credit;
pub mod generic;
pub mod health;
pub mod inquiry;
pub mod log;
pub mod outgoing;
pub mod pace;
pub mod receipt;
pub mod route;
pub mod router;
pub mod slots;
pub mod smpp;
pub mod vendor;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::message::outcome::Outcome;
use circuit::{Admission, Circuit};
use credit::{Credit, CreditView};
use generic::{BalanceConfig, GenericConfig, GenericError, HttpProvider};
use health::Health;
use inquiry::{DEFAULT_ABSENT_AFTER, Finding, Inquiry};
use log::{LogConfig, LogProvider};
use outgoing::Outgoing;
use pace::{Pace, Turn};
use receipt::{Delivery, Push, PushError, Pushed, Receipt};
use route::RouteConfig;
use secrecy::ExposeSecret as _;
use slots::Slots;
use smpp::{SessionTask, SmppConfig, SmppError, SmppProvider};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Requests at once of a provider without a limit of its own.
const LOG_CONCURRENCY: usize = 32;

/// When a provider is asked for a receipt first, after it took the message: most are there by then.
pub const FIRST_POLL: Duration = Duration::from_secs(10);

/// The same where it tells by itself: only what it has not told for this long is asked about.
const FIRST_POLL_BESIDE_PUSHES: Duration = Duration::from_secs(300);

/// Providers in the order in which they are tried, replaced as a whole by a reload.
pub type Providers = Arc<Vec<Arc<Provider>>>;

/// The adapters there are.
#[derive(Debug)]
enum Adapter {
    Generic(Box<HttpProvider>),
    Log(LogProvider),
    Smpp(Arc<SmppProvider>),
}

/// One provider with its limits.
#[derive(Debug)]
pub struct Provider {
    name: String,
    adapter: Adapter,
    slots: Arc<Slots>,
    concurrency: usize,
    timeout: Duration,
    max_segments: Option<u32>,
    pace: Option<Pace>,
    route: RouteConfig,
    health: Health,
    credit: Credit,
    circuit: Mutex<Circuit>,
}

/// That one message may leave now: the rate has room for it, and counts it. Nothing is sent without.
#[derive(Debug)]
#[must_use = "the rate is used by it"]
pub struct Clearance(Option<Turn>);

impl Provider {
    /// An HTTP gateway.
    ///
    /// # Errors
    /// [`GenericError`], naming the key that is wrong.
    pub fn generic(name: &str, config: GenericConfig, tls: ClientConfig) -> Result<Self, GenericError> {
        let concurrency = config.concurrency.max(1);
        let (timeout, max_segments, rate) = (config.total_timeout, config.max_segments, config.rate);
        let adapter = Adapter::Generic(Box::new(HttpProvider::new(name.to_owned(), config, tls)?));
        Ok(Self::with(name, adapter, concurrency, timeout, max_segments, rate))
    }

    /// A provider that writes to the log.
    pub fn log(name: &str, config: LogConfig) -> Self {
        Self::with(
            name,
            Adapter::Log(LogProvider::new(name.to_owned(), config)),
            LOG_CONCURRENCY,
            Duration::from_secs(1),
            None,
            None,
        )
    }

    /// A message centre. It is bound by [`session`](Self::session); a `former` provider of the same name and configuration
    /// hands its session over.
    ///
    /// # Errors
    /// [`SmppError`], naming the key that is wrong.
    pub fn smpp(name: &str, config: SmppConfig, tls: ClientConfig, former: Option<&Self>) -> Result<Self, SmppError> {
        let (concurrency, timeout) = (config.window.max(1), config.response_timeout);
        let (max_segments, rate) = (config.max_segments, config.rate);
        let kept = former.filter(|former| former.name == name).and_then(|former| match &former.adapter {
            Adapter::Smpp(smpp) if smpp.serves(&config) => Some(Arc::clone(smpp)),
            Adapter::Smpp(_) | Adapter::Generic(_) | Adapter::Log(_) => None,
        });
        let smpp = match kept {
            Some(smpp) => smpp,
            None => Arc::new(SmppProvider::new(name.to_owned(), config, tls)?),
        };
        Ok(Self::with(name, Adapter::Smpp(smpp), concurrency, timeout, max_segments, rate))
    }

    /// The session of a provider that keeps a link of its own, to be run until `stop`; what comes on it goes to
    /// `deliveries`. `None` for the others, and when it runs already.
    pub fn session(&self, deliveries: &mpsc::Sender<Delivery>, stop: CancellationToken) -> Option<SessionTask> {
        match &self.adapter {
            Adapter::Smpp(smpp) => smpp.session(deliveries, stop),
            Adapter::Generic(_) | Adapter::Log(_) => None,
        }
    }

    /// Whether it keeps a link, with its credentials given once.
    pub fn keeps_link(&self) -> bool {
        matches!(self.adapter, Adapter::Smpp(_))
    }

    /// What is wrong with the link it keeps, if it keeps one and there is.
    pub fn link_problem(&self) -> Option<String> {
        match &self.adapter {
            Adapter::Smpp(smpp) => smpp.problem(),
            Adapter::Generic(_) | Adapter::Log(_) => None,
        }
    }

    fn with(
        name: &str,
        adapter: Adapter,
        concurrency: usize,
        timeout: Duration,
        max_segments: Option<u32>,
        rate: Option<f64>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            adapter,
            slots: Slots::new(concurrency),
            concurrency,
            timeout,
            max_segments,
            pace: rate.and_then(Pace::new),
            route: RouteConfig::default(),
            health: Health::default(),
            credit: Credit::default(),
            circuit: Mutex::new(Circuit::default()),
        }
    }

    /// The same, with what is said about which messages it takes.
    #[must_use]
    pub fn routed(mut self, route: RouteConfig) -> Self {
        self.route = route;
        self
    }

    /// Which messages it takes, and how many.
    pub fn route(&self) -> &RouteConfig {
        &self.route
    }

    /// How well it does.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What is known of its credit.
    pub fn credit(&self) -> &Credit {
        &self.credit
    }

    fn balance_config(&self) -> Option<&BalanceConfig> {
        match &self.adapter {
            Adapter::Generic(http) => http.config().balance.as_ref(),
            Adapter::Log(_) | Adapter::Smpp(_) => None,
        }
    }

    /// How often it is to be asked what is left; `None`: it cannot be asked.
    pub fn balance_every(&self) -> Option<Duration> {
        self.balance_config().map(|balance| balance.every)
    }

    /// Below which balance it is low, in its unit.
    pub fn balance_low(&self) -> Option<f64> {
        self.balance_config().and_then(|balance| balance.low)
    }

    /// In what its balance is counted.
    pub fn balance_unit(&self) -> &str {
        self.balance_config().map_or("", |balance| balance.unit.as_str())
    }

    /// Its credit, for people; `None`: it cannot be asked.
    pub fn credit_view(&self) -> Option<CreditView> {
        self.balance_config().map(|balance| self.credit.view(&balance.unit, balance.low))
    }

    /// Asks what is left of the credit.
    ///
    /// # Errors
    /// Why there is no answer, in a sentence without secrets.
    pub async fn ask_balance(&self) -> Result<f64, String> {
        match &self.adapter {
            Adapter::Generic(http) => http.ask_balance().await,
            Adapter::Log(_) | Adapter::Smpp(_) => {
                Err("this kind of provider cannot be asked for its balance".to_owned())
            }
        }
    }

    /// Whether it has stopped answering.
    pub fn is_stalled(&self, now: Instant) -> bool {
        self.health.is_stalled(now)
    }

    /// Its name in logs, metrics and records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host and port that it is asked at, when there is one and it does not depend on the message.
    pub fn endpoint(&self) -> Option<(String, u16)> {
        match &self.adapter {
            Adapter::Generic(http) => http.config().endpoint(),
            Adapter::Log(_) => None,
            Adapter::Smpp(smpp) => Some((smpp.config().host.clone(), smpp.config().port)),
        }
    }

    /// Requests at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.slots.seated()
    }

    /// The longest that one attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Longest text it takes, in segments.
    pub fn max_segments(&self) -> Option<u32> {
        self.max_segments
    }

    /// One for each request under way.
    pub fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Its rate, when it has one.
    pub fn pace(&self) -> Option<&Pace> {
        self.pace.as_ref()
    }

    /// For any message at any time, where there is no rate.
    pub fn unlimited(&self) -> Option<Clearance> {
        self.pace.is_none().then_some(Clearance(None))
    }

    /// Waits until the rate has room for a message. `None`: it has none within 2 s.
    pub async fn clearance(&self) -> Option<Clearance> {
        match &self.pace {
            Some(pace) => pace.turn().await.map(|turn| Clearance(Some(turn))),
            None => Some(Clearance(None)),
        }
    }

    /// Sends one message, at once.
    pub async fn send(&self, message: &Outgoing, Clearance(turn): Clearance) -> Outcome {
        let under_way = self.health.begin(Instant::now());
        let outcome = match &self.adapter {
            Adapter::Generic(http) => http.send(message).await,
            Adapter::Log(log) => log.send(message),
            Adapter::Smpp(smpp) => smpp.send(message).await,
        };
        under_way.ended(&outcome, Instant::now());
        if let (Some(pace), Some(turn)) = (&self.pace, &turn) {
            pace.answered(turn, matches!(outcome, Outcome::Accepted { .. }));
        }
        outcome
    }

    /// Whether it can be asked what became of a message.
    pub fn can_look_up(&self) -> bool {
        match &self.adapter {
            Adapter::Generic(http) => http.can_look_up(),
            Adapter::Log(_) | Adapter::Smpp(_) => false,
        }
    }

    /// Asks what became of an attempt. [`Finding::Unclear`] when it cannot be asked.
    pub async fn look_up(&self, inquiry: &Inquiry) -> Finding {
        match &self.adapter {
            Adapter::Generic(http) => http.look_up(inquiry).await,
            Adapter::Log(_) => Finding::unclear("the provider that writes to the log cannot be asked"),
            Adapter::Smpp(_) => Finding::unclear("a message centre cannot be asked"),
        }
    }

    /// How long after its end an attempt may still be missing where look-ups find it.
    pub fn absent_after(&self) -> Duration {
        match &self.adapter {
            Adapter::Generic(http) => http.absent_after(),
            Adapter::Log(_) | Adapter::Smpp(_) => DEFAULT_ABSENT_AFTER,
        }
    }

    /// Whether a request whose reference it has seen before is not sent again by it.
    pub fn deduplicates(&self) -> bool {
        match &self.adapter {
            Adapter::Generic(http) => http.config().deduplicates,
            Adapter::Log(_) | Adapter::Smpp(_) => false,
        }
    }

    /// What it has pushed.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn read_push(&self, push: &Push<'_>) -> Result<Vec<Pushed>, PushError> {
        match &self.adapter {
            Adapter::Generic(http) => http.read_push(push),
            Adapter::Log(_) | Adapter::Smpp(_) => Err(PushError::NotConfigured),
        }
    }

    /// The last part of the path at which it pushes, when it does.
    pub fn push_token(&self) -> Option<&str> {
        match &self.adapter {
            Adapter::Generic(http) => http.config().push_token.as_ref().map(|token| token.expose_secret()),
            Adapter::Log(_) | Adapter::Smpp(_) => None,
        }
    }

    /// How many messages it may be asked about at once; `None`: it cannot be asked for receipts.
    pub fn poll_batch(&self) -> Option<usize> {
        match &self.adapter {
            Adapter::Generic(http) => http.poll_batch(),
            Adapter::Log(_) | Adapter::Smpp(_) => None,
        }
    }

    /// Asks for the receipts of messages, by its own ids.
    ///
    /// # Errors
    /// Why there is no answer, in a sentence without secrets.
    pub async fn ask_receipts(&self, ids: &[&str]) -> Result<Vec<Receipt>, String> {
        match &self.adapter {
            Adapter::Generic(http) => http.ask_receipts(ids).await,
            Adapter::Log(_) => Err("the provider that writes to the log cannot be asked".to_owned()),
            Adapter::Smpp(_) => Err("a message centre tells by itself".to_owned()),
        }
    }

    /// Whether it tells by itself what became of its messages.
    pub fn pushes_receipts(&self) -> bool {
        match &self.adapter {
            Adapter::Generic(http) => http.config().receipts.is_some() && http.config().push_token.is_some(),
            Adapter::Log(_) => false,
            Adapter::Smpp(smpp) => smpp.config().receipts,
        }
    }

    /// Whether receipts of its messages are to be expected: when it is asked first, zero when it is never asked; `None`: nobody tells.
    pub fn awaits_receipts(&self) -> Option<Duration> {
        match (self.poll_batch().is_some(), self.pushes_receipts()) {
            (true, true) => Some(FIRST_POLL_BESIDE_PUSHES),
            (true, false) => Some(FIRST_POLL),
            (false, true) => Some(Duration::ZERO),
            (false, false) => None,
        }
    }

    /// What may be sent now; see [`Circuit`].
    pub fn admission(&self, now: Instant) -> Admission {
        self.circuit().admission(now)
    }

    /// The circuit, for short, lock-free-in-practice reads and writes: never held across an await.
    pub fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
