//! 64 clients that send requests, and compare each answer with what was asked.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use support::LIMIT;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::super::client::{Client, all_permissions, next, request};
use super::poll;

/// All clients but those of the gateway.
const CLIENTS: usize = 64;

/// The requests of a connection that ends by itself.
const REQUESTS: u64 = 20;

/// The pause of a client between two requests, so that the load leaves the machine time for checks.
const THINK_TIME: Duration = Duration::from_millis(5);

/// The name of servers that echo, and have no name of their own.
pub const ECHO: &str = "echo";

/// What the clients connect to.
#[derive(Clone, Copy)]
pub struct Targets {
    /// A balancer of HTTP requests.
    pub web: Option<SocketAddr>,
    /// A balancer of connections. Its servers speak HTTP too if there is a `web`, and echo
    /// otherwise.
    pub apps: SocketAddr,
    /// A balancer of gateways.
    pub gateway: Option<SocketAddr>,
    /// The address of the clients, which the servers must know.
    pub clients: Ipv4Addr,
}

/// What went wrong.
#[derive(PartialEq, Eq, Debug)]
pub enum Failure {
    /// A connection ended, or could not be opened.
    Ended {
        client: usize,
        /// Who has answered on it before.
        server: Option<String>,
        why: String,
    },
    /// The balancer got no answer to a request, and has repeated it at no other server.
    NoAnswer { method: &'static str, why: String },
    /// Something that no end of a server explains.
    Wrong(String),
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, u64>,
    failures: Vec<Failure>,
    /// The server of each client's connection to `apps`.
    connected: BTreeMap<usize, String>,
    /// How often a client of the gateway has connected.
    gateway_clients: usize,
}

struct Shared {
    targets: Targets,
    stop: AtomicBool,
    requests_per_connection: AtomicU64,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no client has panicked")
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn fail(&self, failure: Failure) {
        self.state().failures.push(failure);
    }

    /// Counts an answer of this server, on a connection on which `before` has answered before.
    fn count_answer(&self, client: usize, name: &str, is_web: bool, before: Option<&str>) {
        let mut state = self.state();
        *state.answers.entry(name.to_owned()).or_default() += 1;
        if is_web {
            return;
        }
        if before.is_some_and(|before| before != name) {
            let what = format!("a connection went from {before:?} to {name}");
            state.failures.push(Failure::Wrong(what));
        }
        state.connected.insert(client, name.to_owned());
    }

    fn has_requests_left(&self, sent: u64) -> bool {
        !self.is_stopped() && sent < self.requests_per_connection.load(Ordering::Relaxed)
    }
}

/// A running load, in a thread of its own.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a load has seen.
pub struct Outcome {
    pub answers: u64,
    pub failures: Vec<Failure>,
}

impl Load {
    pub fn start(targets: Targets) -> Self {
        let shared = Arc::new(Shared {
            targets,
            stop: AtomicBool::new(false),
            requests_per_connection: AtomicU64::new(REQUESTS),
            state: Mutex::default(),
        });
        let clients = shared.clone();
        let thread = thread::spawn(move || {
            actix_rt::System::new().block_on(run(clients));
        });
        Load {
            shared,
            thread: Some(thread),
        }
    }

    /// Waits until each of these has answered again.
    pub fn wait_for_answers_of(&self, names: &[&str]) {
        let count = |name: &str| self.shared.state().answers.get(name).copied();
        let before: Vec<_> = names.iter().map(|name| count(name)).collect();
        let answered = || names.iter().zip(&before).all(|(it, old)| count(it) > *old);
        assert!(
            poll(answered),
            "{names:?}: {:?}",
            self.shared.state().answers
        );
    }

    /// Waits until clients of the gateway have connected this often.
    pub fn wait_for_gateway_clients(&self, times: usize) {
        let connected = || self.shared.state().gateway_clients >= times;
        let seen = poll(connected);
        assert!(seen, "{times}: {}", self.shared.state().gateway_clients);
    }

    /// From now on no connection to `apps` ends by itself. Returns the server of each, by client.
    pub fn keep_connections(&self) -> BTreeMap<usize, String> {
        let requests = &self.shared.requests_per_connection;
        requests.store(u64::MAX, Ordering::Relaxed);
        let clients = CLIENTS - web_clients(&self.shared.targets);
        let all = || self.shared.state().connected.len() == clients;
        assert!(poll(all), "{:?}", self.shared.state().connected);
        self.shared.state().connected.clone()
    }

    /// Connections end by themselves again.
    pub fn end_connections(&self) {
        let requests = &self.shared.requests_per_connection;
        requests.store(REQUESTS, Ordering::Relaxed);
    }

    /// Waits until this many connections have failed.
    pub fn wait_for_ended(&self, count: usize) {
        let ended = || {
            let state = self.shared.state();
            let failures = state.failures.iter();
            failures
                .filter(|it| matches!(it, Failure::Ended { .. }))
                .count()
                >= count
        };
        assert!(poll(ended), "{count}: {:?}", self.shared.state().failures);
    }

    /// Stops all clients after their requests.
    pub fn stop(mut self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("no client has panicked");
        let mut state = self.shared.state();
        Outcome {
            answers: state.answers.values().sum(),
            failures: std::mem::take(&mut state.failures),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// How many of the clients use `web`: half of them.
fn web_clients(targets: &Targets) -> usize {
    targets.web.map_or(0, |_| CLIENTS / 2)
}

async fn run(shared: Arc<Shared>) {
    let web = web_clients(&shared.targets);
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let shared = shared.clone();
        tasks.push(actix_rt::spawn(async move {
            while !shared.is_stopped() {
                match shared.targets.web {
                    Some(target) if client < web => connection(&shared, client, target, true).await,
                    _ => connection(&shared, client, shared.targets.apps, false).await,
                }
            }
        }));
    }
    if let Some(target) = shared.targets.gateway {
        tasks.push(actix_rt::spawn(gateway_clients(shared, target)));
    }
    for task in tasks {
        task.await.expect("no client panics");
    }
}

/// One connection of a client.
async fn connection(shared: &Shared, client: usize, target: SocketAddr, is_web: bool) {
    let mut server = None;
    let result = requests(shared, client, target, is_web, &mut server).await;
    if !is_web {
        shared.state().connected.remove(&client);
    }
    if let Err(error) = result {
        let why = format!("{target}: {error}");
        shared.fail(Failure::Ended {
            client,
            server,
            why,
        });
    }
}

/// Sends requests, one at a time. `server` becomes the server that answers.
async fn requests(
    shared: &Shared,
    client: usize,
    target: SocketAddr,
    is_web: bool,
    server: &mut Option<String>,
) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((shared.targets.clients, 0).into())?;
    let stream = timeout(LIMIT, socket.connect(target)).await??;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    for sent in 0.. {
        if !shared.has_requests_left(sent) {
            break;
        }
        // Up to 6 KiB, which comes in several segments.
        let length = sent as usize % 7 * 1024;
        let body = format!("{client}-{sent}-{:x<length$}", "");
        let exchange = async {
            match shared.targets.web {
                Some(_) => http(shared, &mut stream, sent, &body).await,
                None => echo(&mut stream, &body).await,
            }
        };
        let answered = match timeout(LIMIT, exchange).await? {
            // Before the first answer of a server HAProxy sends a 502, and later it only closes.
            Err(error) if is_web && error.kind() == io::ErrorKind::UnexpectedEof => {
                let (method, why) = (method(sent), error.to_string());
                shared.fail(Failure::NoAnswer { method, why });
                None
            }
            answered => answered?,
        };
        let Some(name) = answered else {
            // It was reported, and the balancer closes.
            break;
        };
        shared.count_answer(client, &name, is_web, server.as_deref());
        *server = Some(name);
        tokio::time::sleep(THINK_TIME).await;
    }
    Ok(())
}

/// Every fourth request has effects, as far as a balancer knows.
fn method(sent: u64) -> &'static str {
    match sent % 4 {
        3 => "POST",
        _ => "GET",
    }
}

/// A request, and the name of the server that has answered it.
async fn http(
    shared: &Shared,
    stream: &mut BufReader<TcpStream>,
    sent: u64,
    body: &str,
) -> io::Result<Option<String>> {
    let (method, path) = (method(sent), format!("/{body:.40}?{sent}"));
    let body = match method {
        "POST" => body,
        _ => "",
    };
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).await?;
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|it| it.parse().ok()).unwrap_or(0);
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        } else if line.is_empty() {
            break;
        }
    }
    if status != 200 {
        let why = format!("{status}");
        shared.fail(Failure::NoAnswer { method, why });
        return Ok(None);
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (name, rest) = answer.split_once(' ').unwrap_or_default();
    let client = shared.targets.clients;
    if rest != format!("{client} {method} {path} {body}") {
        let what = format!("the answer to {method} {path} {body} of {client}: {answer}");
        shared.fail(Failure::Wrong(what));
        return Ok(None);
    }
    Ok(Some(name.to_owned()))
}

/// A line that comes back.
async fn echo(stream: &mut BufReader<TcpStream>, text: &str) -> io::Result<Option<String>> {
    stream.write_all(format!("{text}\n").as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(line) if line == text => Ok(Some(ECHO.to_owned())),
        Some(line) => Err(io::Error::other(format!("not {text}: {line}"))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A client of the gateway that connects again whenever its host stops.
async fn gateway_clients(shared: Arc<Shared>, target: SocketAddr) {
    while !shared.is_stopped() {
        let hello = json!({ "app": "page", "manifest": all_permissions() });
        let mut client = match Client::try_connect_with(target, request(target), hello).await {
            Ok(client) => client,
            Err(refusal) => {
                let what = format!("the gateway has refused its client: {refusal}");
                return shared.fail(Failure::Wrong(what));
            }
        };
        shared.state().gateway_clients += 1;
        // Until the load stops, or the host has closed.
        let closed = loop {
            match timeout(THINK_TIME, next(&mut client.socket)).await {
                Ok(frame) => break frame,
                Err(_) if shared.is_stopped() => return,
                Err(_) => {}
            }
        };
        let reason = closed.as_ref().map(|frame| &frame["close"]["code"]);
        if reason != Some(&json!("stopping")) {
            let what = format!("the gateway has closed: {closed:?}");
            return shared.fail(Failure::Wrong(what));
        }
    }
}
