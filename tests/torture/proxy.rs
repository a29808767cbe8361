//! A proxy that spoils connections, at a random byte of a random direction, so many times in each way.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng as _;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is done to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Both ends are closed or reset at once.
    Cut,
    /// Nothing passes for a while, longer than a request may take at times; then it goes on, or is cut.
    Stall,
    /// One end is told that nothing more comes; the other direction goes on.
    HalfClose,
    /// Each piece is late for a while.
    Delay,
    /// A part of what is under way arrives, then it is cut.
    Truncate,
}

/// All of them, in the order of the counts.
pub const TROUBLES: [Trouble; 5] =
    [Trouble::Cut, Trouble::Stall, Trouble::HalfClose, Trouble::Delay, Trouble::Truncate];

/// How long a stall lasts, milliseconds.
const STALL_MS: Range<u64> = 50..2_500;

/// How late a delayed piece is, milliseconds, and how many are.
const DELAY_MS: Range<u64> = 10..150;
const DELAYED_PIECES: usize = 8;

/// A connection that is idle for so long leaves its trouble to another.
const IDLE: Duration = Duration::from_secs(1);

/// Where connections lead.
#[derive(Debug, Clone)]
pub enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A proxy that is listening. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    pub addr: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct State {
    upstream: Upstream,
    /// Bytes that pass before the trouble, at most.
    reach: usize,
    left: [AtomicUsize; TROUBLES.len()],
    done: [AtomicUsize; TROUBLES.len()],
}

impl Proxy {
    /// Listens; each trouble is made so many times, within the first `reach` bytes of what a connection carries next.
    pub async fn start(upstream: Upstream, reach: usize, times: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream,
            reach,
            left: std::array::from_fn(|_| AtomicUsize::new(times)),
            done: std::array::from_fn(|_| AtomicUsize::new(0)),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&state), stop.clone())));
        Self { addr, state, _stop: stop.drop_guard() }
    }

    /// How often each trouble was made.
    pub fn counts(&self) -> [usize; TROUBLES.len()] {
        std::array::from_fn(|index| self.state.done[index].load(Ordering::Relaxed))
    }

    /// No more troubles from now on.
    pub fn calm(&self) {
        self.state.left.iter().for_each(|left| left.store(0, Ordering::Relaxed));
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(stop.clone().run_until_cancelled_owned(carry(client, Arc::clone(&state))));
    }
}

async fn carry(client: TcpStream, state: Arc<State>) {
    let _ = client.set_nodelay(true);
    let server: Box<dyn Stream> = match &state.upstream {
        Upstream::Tcp(addr) => {
            let Ok(stream) = TcpStream::connect(addr).await else { return };
            let _ = stream.set_nodelay(true);
            Box::new(stream)
        }
        Upstream::Unix(path) => {
            let Ok(stream) = UnixStream::connect(path).await else { return };
            Box::new(stream)
        }
    };
    let reset = rand::rng().random_bool(0.5);
    if reset {
        // What is still unsent is thrown away, and the client sees a reset.
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    // One direction has the trouble, the other is left alone.
    let (up, down) = if rand::rng().random_bool(0.5) { (true, false) } else { (false, true) };
    // Ended both, or one was cut: then dropping the halves ends the other.
    let _ = tokio::try_join!(pump(from_client, to_server, up, &state), pump(from_server, to_client, down, &state));
}

/// The connection was cut.
struct Cut;

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    troubled: bool,
    state: &State,
) -> Result<(), Cut> {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    let mut plan = None;
    let mut delayed = 0;
    loop {
        let read = match tokio::time::timeout(IDLE, from.read(&mut buffer)).await {
            Ok(read) => read.map_err(|_| Cut)?,
            Err(_) => {
                plan = None;
                continue;
            }
        };
        plan = plan.or_else(|| troubled.then(|| Plan::draw(state)).flatten());
        if read == 0 {
            // An end that has left already need not be told.
            let _ = to.shutdown().await;
            return Ok(());
        }
        let mut piece = &buffer[..read];
        if delayed > 0 {
            delayed -= 1;
            wait(DELAY_MS).await;
        }
        if let Some(due) = plan.as_ref().filter(|plan: &&Plan<'_>| passed + read > plan.after) {
            let before = due.after.saturating_sub(passed);
            let trouble = plan.take().map_or(Trouble::Cut, Plan::made);
            match trouble {
                Trouble::Cut => return Err(Cut),
                Trouble::Truncate => {
                    let _ = to.write_all(&piece[..before]).await;
                    return Err(Cut);
                }
                Trouble::HalfClose => {
                    to.write_all(&piece[..before]).await.map_err(|_| Cut)?;
                    let _ = to.shutdown().await;
                    // What still comes this way is swallowed.
                    while from.read(&mut buffer).await.map_err(|_| Cut)? > 0 {}
                    return Ok(());
                }
                Trouble::Stall => {
                    to.write_all(&piece[..before]).await.map_err(|_| Cut)?;
                    piece = &piece[before..];
                    wait(STALL_MS).await;
                    if rand::rng().random_bool(0.5) {
                        return Err(Cut);
                    }
                }
                Trouble::Delay => {
                    delayed = DELAYED_PIECES;
                    wait(DELAY_MS).await;
                }
            }
            passed = 0;
        } else {
            passed += read;
        }
        to.write_all(piece).await.map_err(|_| Cut)?;
    }
}

/// A trouble that is to come. One that never comes, since its connection ended before, is given back.
struct Plan<'a> {
    state: &'a State,
    index: usize,
    after: usize,
    made: bool,
}

impl<'a> Plan<'a> {
    fn draw(state: &'a State) -> Option<Self> {
        let first = rand::rng().random_range(0..TROUBLES.len());
        let mut turns = (0..TROUBLES.len()).map(|turn| (first + turn) % TROUBLES.len());
        let index = turns.find(|index| {
            state.left[*index].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        })?;
        Some(Self { state, index, after: rand::rng().random_range(0..state.reach), made: false })
    }

    fn made(mut self) -> Trouble {
        self.made = true;
        self.state.done[self.index].fetch_add(1, Ordering::Relaxed);
        TROUBLES[self.index]
    }
}

impl Drop for Plan<'_> {
    fn drop(&mut self) {
        if !self.made {
            self.state.left[self.index].fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn wait(milliseconds: Range<u64>) {
    let wait = rand::rng().random_range(milliseconds);
    tokio::time::sleep(Duration::from_millis(wait)).await;
}
