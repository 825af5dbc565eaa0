//! A round: all operations begin, each is repeated until the time is over, and nothing is left
//! in flight.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use super::connection::{Connection, ECHO_TIMEOUT, Messages, pattern};
use crate::plan::Kind;
use crate::process::ProcStats;
use crate::report::Sample;
use crate::{Failure, Result};

/// Connections that may be opened before the server has accepted them: a part of its backlog.
const UNACCEPTED: usize = 1000;
/// Events of one `epoll_wait`.
const EVENTS: usize = 256;
const MIB: usize = 1024 * 1024;
/// Bytes that a short connection echoes.
const CHURNED: usize = 64;

/// How operations use connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectionUse {
    /// Each operation on a connection of its own, repeated.
    Exchange,
    /// A new connection for each operation.
    Churn,
    /// A new connection without data for each operation.
    Accept,
    /// One connection sends, and all receive.
    FanOut,
}

/// The load of a server.
pub struct Engine {
    connection_use: ConnectionUse,
    port: u16,
    epoll: OwnedFd,
    messages: Messages,
    /// As many as operations in flight, except for a fan-out; `None` while there is no
    /// connection.
    connections: Vec<Option<Connection>>,
    /// Number of opened connections.
    opened: usize,
    /// Connections whose operation is not complete.
    in_flight: usize,
    /// No more operations begin.
    stopping: bool,
    count: u64,
    /// In nanoseconds.
    durations: Histogram<u64>,
}

/// The counters at one moment.
struct Counters {
    at: Instant,
    count: u64,
    cpu: u64,
    ticks: (u64, u64),
    own_cpu: u64,
}

impl Engine {
    /// Opens all connections that stay.
    pub fn new(kind: Kind, port: u16) -> Result<Self> {
        let (connection_use, messages, count) = match kind {
            Kind::Echo { bytes, connections } | Kind::Stream { bytes, connections } => {
                (ConnectionUse::Exchange, Messages::echo(bytes), connections)
            }
            Kind::Udp { bytes, clients } => {
                (ConnectionUse::Exchange, Messages::echo(bytes), clients)
            }
            Kind::Subscribers { connections } => {
                (ConnectionUse::Exchange, Messages::echo(64), connections)
            }
            Kind::Pause => (ConnectionUse::Exchange, Messages::echo(64), 1),
            Kind::Receive { connections } => (
                ConnectionUse::Exchange,
                Messages::new(MIB, b".".to_vec()),
                connections,
            ),
            Kind::Send { connections } => (
                ConnectionUse::Exchange,
                Messages::new(1, pattern(MIB)),
                connections,
            ),
            Kind::Churn { clients } => (ConnectionUse::Churn, Messages::echo(CHURNED), clients),
            Kind::Accept { clients } => {
                (ConnectionUse::Accept, Messages::new(0, Vec::new()), clients)
            }
            Kind::FanOut { bytes, connections } => {
                (ConnectionUse::FanOut, Messages::echo(bytes), connections)
            }
            Kind::Idle { .. } | Kind::Listeners { .. } => {
                return Err("memory has no load".into());
            }
        };
        let mut engine = Engine {
            connection_use,
            port,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            messages,
            connections: (0..count).map(|_| None).collect(),
            opened: 0,
            in_flight: 0,
            stopping: false,
            count: 0,
            durations: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
        };
        if matches!(
            connection_use,
            ConnectionUse::Exchange | ConnectionUse::FanOut
        ) {
            for number in 0..count {
                let mut connection = match kind {
                    Kind::Udp { .. } => Connection::datagrams(port, number)?,
                    _ => Connection::open(port, number)?,
                };
                // The answer on the last one means that the server has accepted all.
                if connection_use == ConnectionUse::Exchange && (number + 1) % UNACCEPTED == 0 {
                    connection.messages(&mut engine.messages)?;
                }
                engine.keep(number, connection)?;
            }
        }
        Ok(engine)
    }

    fn keep(&mut self, place: usize, connection: Connection) -> Result<()> {
        use epoll::EventFlags;
        connection.set_nonblocking()?;
        let data = epoll::EventData::new_u64(place as u64);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &connection, data, flags)?;
        self.connections[place] = Some(connection);
        Ok(())
    }

    /// Warms up for a tenth of `seconds`, measures for `seconds`, and waits for what is in
    /// flight.
    pub fn round(&mut self, seconds: Duration, server: ProcStats) -> Result<Sample> {
        self.stopping = false;
        self.begin_all()?;
        self.run_until(Instant::now() + seconds / 10)?;

        self.durations.reset();
        let start = self.counters(server)?;
        self.run_until(start.at + seconds)?;
        // A slow operation gets its time.
        while self.count == start.count && start.at.elapsed() < ECHO_TIMEOUT {
            self.handle_events(Instant::now() + ECHO_TIMEOUT)?;
        }
        let end = self.counters(server)?;
        if end.count == start.count {
            return Err("no operation was completed".into());
        }
        let resident = server.resident()?;

        let quantile = |at: f64| self.durations.value_at_quantile(at);
        let sample = Sample {
            operations: end.count - start.count,
            seconds: (end.at - start.at).as_secs_f64(),
            cpu: end.cpu - start.cpu,
            user_ticks: end.ticks.0 - start.ticks.0,
            system_ticks: end.ticks.1 - start.ticks.1,
            load_cpu: end.own_cpu - start.own_cpu,
            resident,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            longest: self.durations.max(),
        };
        self.stopping = true;
        let until = Instant::now() + ECHO_TIMEOUT;
        while self.in_flight > 0 {
            self.handle_events(until)?;
            if Instant::now() > until {
                return Err(format!("{} operations did not end", self.in_flight).into());
            }
        }
        Ok(sample)
    }

    fn counters(&self, server: ProcStats) -> Result<Counters> {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Ok(Counters {
            at: Instant::now(),
            count: self.count,
            cpu: server.cpu_time()?,
            ticks: server.ticks()?,
            own_cpu: own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64,
        })
    }

    fn run_until(&mut self, until: Instant) -> Result<()> {
        while Instant::now() < until {
            self.handle_events(until)?;
        }
        Ok(())
    }

    /// Handles the next events, if any come before then.
    fn handle_events(&mut self, until: Instant) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left)?;
        let mut events = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            waited => {
                waited?;
            }
        }
        for event in events {
            let place = usize::try_from(event.data.u64())?;
            self.advance(place)
                .map_err(|error| -> Failure { format!("connection {place}: {error}").into() })?;
        }
        Ok(())
    }

    fn begin_all(&mut self) -> Result<()> {
        match self.connection_use {
            ConnectionUse::FanOut => self.fan_out(),
            _ => (0..self.connections.len()).try_for_each(|place| self.begin(place)),
        }
    }

    /// Begins the next operation in this place.
    fn begin(&mut self, place: usize) -> Result<()> {
        if matches!(
            self.connection_use,
            ConnectionUse::Churn | ConnectionUse::Accept
        ) {
            let connection = Connection::open(self.port, self.opened)?;
            self.opened += 1;
            self.keep(place, connection)?;
        }
        let Some(connection) = &mut self.connections[place] else {
            return Err("no connection".into());
        };
        self.in_flight += 1;
        match self.connection_use {
            ConnectionUse::Accept => Ok(()),
            ConnectionUse::Churn => {
                connection.begin(connection.next_mark());
                connection.write(&mut self.messages)
            }
            ConnectionUse::Exchange | ConnectionUse::FanOut => {
                connection.since = Instant::now();
                connection.begin(connection.next_mark());
                connection.write(&mut self.messages)
            }
        }
    }

    /// The last connection sends: the server has accepted all others before.
    fn fan_out(&mut self) -> Result<()> {
        let Some((Some(speaker), others)) = self.connections.split_last_mut() else {
            return Err("no connections".into());
        };
        let mark = speaker.next_mark();
        for other in others.iter_mut().flatten() {
            other.expect(mark);
        }
        speaker.since = Instant::now();
        speaker.begin(mark);
        self.in_flight = self.connections.len();
        match self.connections.last_mut() {
            Some(Some(speaker)) => speaker.write(&mut self.messages),
            _ => Err("no connection".into()),
        }
    }

    /// Handles an event of the connection in this place.
    fn advance(&mut self, place: usize) -> Result<()> {
        // A connection that is closed here may have a pending event.
        let Some(connection) = &mut self.connections[place] else {
            return Ok(());
        };
        let done = match self.connection_use {
            ConnectionUse::Accept => connection.has_ended()?,
            ConnectionUse::Exchange | ConnectionUse::Churn | ConnectionUse::FanOut => {
                if connection.is_done(&self.messages) {
                    return Ok(());
                }
                connection.write(&mut self.messages)?;
                connection.read(&mut self.messages)?
            }
        };
        if done { self.end(place) } else { Ok(()) }
    }

    fn end(&mut self, place: usize) -> Result<()> {
        self.in_flight -= 1;
        if self.connection_use == ConnectionUse::FanOut {
            if self.in_flight > 0 {
                return Ok(());
            }
            let speaker = self.connections.last().and_then(Option::as_ref);
            let since = speaker.ok_or("no connection")?.since;
            self.done(since)?;
            return if self.stopping {
                Ok(())
            } else {
                self.fan_out()
            };
        }
        if let Some(connection) = &self.connections[place] {
            let since = connection.since;
            self.done(since)?;
        }
        if matches!(
            self.connection_use,
            ConnectionUse::Churn | ConnectionUse::Accept
        ) {
            self.connections[place] = None;
        }
        if self.stopping {
            Ok(())
        } else {
            self.begin(place)
        }
    }

    fn done(&mut self, since: Instant) -> Result<()> {
        self.count += 1;
        let took = u64::try_from(since.elapsed().as_nanos())?;
        Ok(self.durations.record(took.max(1))?)
    }
}
