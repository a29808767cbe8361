//! A fast gateway in a process of its own, so that its CPU is told apart from the daemon's and from ours.
//!
//! The bench starts itself once more with [`HIDDEN`] as its only argument. That process prints two ports: one takes HTTP (every POST
//! is one message, answered 200 with an id, after a delay if one is set), the other takes one question a line and answers each
//! with one line. It ends when the line of questions is closed, so it cannot outlive the bench. One thread, keepalive, no copies
//! but the body; each message is kept as its number and the moment at which its body was complete.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::process::now_us;

/// The argument by which the bench becomes the gateway.
pub const HIDDEN: &str = "--be-the-gateway";

/// Numbers are kept as what they exceed this one by: +216 20 000 000.
pub const FIRST_PHONE: u64 = 21_620_000_000;

#[derive(Default)]
struct Seen {
    hits: Vec<(u32, i64)>,
    in_flight: usize,
    most_in_flight: usize,
    delay: Duration,
}

/// Runs as the gateway until the bench is gone.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let messages = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let questions = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!("{} {}", messages.local_addr().unwrap().port(), questions.local_addr().unwrap().port());
        let (stream, _) = questions.accept().await.unwrap();
        let shared = Rc::clone(&seen);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = messages.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| take(Rc::clone(&shared), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut answer = reply(&mut seen.borrow_mut(), &line);
            answer.push('\n');
            if write.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    });
}

async fn take(seen: Rc<RefCell<Seen>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let (id, delay) = {
        let mut seen = seen.borrow_mut();
        seen.hits.push((phone(&body), now_us()));
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        (seen.hits.len(), seen.delay)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut shared = seen.borrow_mut();
    shared.in_flight = shared.in_flight.saturating_sub(1);
    let mut response = Response::new(Full::new(Bytes::from(format!("{{\"id\":\"gw-{id:09}\"}}"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The digits after the word `phone`, less [`FIRST_PHONE`].
fn phone(body: &[u8]) -> u32 {
    let at = body.windows(5).position(|word| word == b"phone").unwrap_or(body.len());
    let digits = body[at..].iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    number.checked_sub(FIRST_PHONE).and_then(|offset| u32::try_from(offset).ok()).unwrap_or(u32::MAX)
}

fn reply(seen: &mut Seen, line: &str) -> String {
    let mut words = line.split(' ');
    let question = words.next().unwrap_or_default();
    let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
    let hit = |index: usize| seen.hits.get(index).map_or(0, |hit| hit.1);
    match (question, numbers.as_slice()) {
        ("count", []) => seen.hits.len().to_string(),
        ("at", [index]) => hit(*index).to_string(),
        ("stats", []) => {
            let distinct: HashSet<u32> = seen.hits.iter().map(|hit| hit.0).collect();
            let last = seen.hits.len().saturating_sub(1);
            format!("{} {} {} {} {}", seen.hits.len(), distinct.len(), hit(0), hit(last), seen.most_in_flight)
        }
        ("arrivals", [from, to]) => {
            let mut line = String::new();
            for (phone, at) in seen.hits.iter().filter(|hit| (*from..*to).contains(&(hit.0 as usize))) {
                let _ = write!(line, "{phone}:{at} ");
            }
            line
        }
        ("reset", [delay_ms]) => {
            seen.hits = Vec::new();
            seen.most_in_flight = seen.in_flight;
            seen.delay = Duration::from_millis(*delay_ms as u64);
            "done".to_owned()
        }
        _ => format!("unknown: {line}"),
    }
}

/// What it has received.
#[derive(Debug, Clone, Copy)]
pub struct Stats {
    pub hits: usize,
    pub distinct: usize,
    pub first_us: i64,
    pub last_us: i64,
    pub most_in_flight: usize,
}

/// The bench's hand on the gateway.
pub struct Gateway {
    line: Mutex<(BufReader<OwnedReadHalf>, OwnedWriteHalf)>,
    port: u16,
    _process: Child,
}

impl Gateway {
    pub async fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(HIDDEN)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ports = lines.next_line().await.unwrap().expect("the gateway names its ports");
        let ports: Vec<u16> = ports.split(' ').map(|port| port.parse().unwrap()).collect();
        let (read, write) = TcpStream::connect(("127.0.0.1", ports[1])).await.unwrap().into_split();
        Self { line: Mutex::new((BufReader::new(read), write)), port: ports[0], _process: process }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/messages", self.port)
    }

    async fn ask(&self, question: &str) -> String {
        let mut line = self.line.lock().await;
        line.1.write_all(format!("{question}\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        line.0.read_line(&mut answer).await.unwrap();
        answer.trim_end().to_owned()
    }

    /// Forgets everything; answers take this long from now on.
    pub async fn reset(&self, delay: Duration) {
        assert_eq!(self.ask(&format!("reset {}", delay.as_millis())).await, "done");
    }

    pub async fn count(&self) -> usize {
        self.ask("count").await.parse().unwrap()
    }

    /// When the message of that index came, from 0, in microseconds since 1970.
    pub async fn at(&self, index: usize) -> i64 {
        self.ask(&format!("at {index}")).await.parse().unwrap()
    }

    pub async fn stats(&self) -> Stats {
        let answer = self.ask("stats").await;
        let words: Vec<i64> = answer.split(' ').map(|word| word.parse().unwrap()).collect();
        let count = |index: usize| usize::try_from(words[index]).unwrap();
        Stats { hits: count(0), distinct: count(1), first_us: words[2], last_us: words[3], most_in_flight: count(4) }
    }

    /// Number (less the first one) and moment of all messages to the numbers of that range.
    pub async fn arrivals(&self, from: usize, to: usize) -> Vec<(usize, i64)> {
        let answer = self.ask(&format!("arrivals {from} {to}")).await;
        let pairs = answer.split_whitespace().filter_map(|pair| pair.split_once(':'));
        pairs.map(|(phone, at)| (phone.parse().unwrap(), at.parse().unwrap())).collect()
    }
}
