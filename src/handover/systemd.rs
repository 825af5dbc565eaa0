//! systemd between two processes: socket activation, and its descriptor store.
//!
//! The store keeps descriptors under names across a restart of the service
//! (`FileDescriptorStoreMax=`): here a descriptor for each socket, and a file
//! in memory with the records of [`wire`](super::wire).

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use actix::prelude::*;
use actix_rt::time::timeout;
use futures::FutureExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::net::sockopt;
use sd_notify::NotifyState;

use super::succession::{Held, delivered};
use super::wire::{self, Record, Source};
use super::{Activated, Error, LIMIT, Receipt};
use crate::handover_state::HandoverState;
use crate::registry::Registry;

/// What our names in the store begin with.
const PREFIX: &str = "chrome-sockets-";
const STATE: &str = "chrome-sockets-state";

/// The first descriptor that is passed.
const FIRST: u32 = 3;

/// The most descriptors that are taken: systemd's own limit for its store is
/// lower by default, and descriptors that were not passed are not ours.
const MOST: u32 = 1 << 16;

/// The largest file of records that is read.
const MAX_STATE: u64 = 2 << 30;

/// What the descriptor store kept.
#[derive(Debug)]
pub(super) struct Stored {
    records: Vec<u8>,
    sockets: HashMap<String, OwnedFd>,
    names: Vec<String>,
}

/// The descriptors that systemd has passed, ours and others.
pub(super) struct Passed {
    pub(super) stored: Option<Stored>,
    pub(super) activated: Vec<Activated>,
}

pub(super) fn take() -> Result<Option<Passed>, Error> {
    let passed = passed().map_err(Error::os("taking what systemd has passed"))?;
    Ok((!passed.is_empty()).then(|| sort(passed)))
}

fn sort(passed: Vec<(Option<String>, OwnedFd)>) -> Passed {
    let mut state = None;
    let mut names = Vec::new();
    let mut sockets = HashMap::new();
    let mut activated = Vec::new();
    for (name, descriptor) in passed {
        match name {
            Some(name) if name.starts_with(PREFIX) => {
                names.push(name.clone());
                if name == STATE {
                    state = Some(descriptor);
                } else {
                    sockets.insert(name, descriptor);
                }
            }
            name => activated.push(Activated {
                name,
                address: rustix::net::getsockname(&descriptor)
                    .ok()
                    .and_then(|address| address.try_into().ok()),
                listener: descriptor,
            }),
        }
    }
    // A socket unit passes its listener again, which has come back from the
    // store already.
    let cookie = |socket: &OwnedFd| sockopt::socket_cookie(socket).ok();
    let known: HashSet<u64> = sockets.values().filter_map(cookie).collect();
    activated.retain(|it| cookie(&it.listener).is_none_or(|it| !known.contains(&it)));
    let records = state.map(read_state).transpose();
    let stored = (!names.is_empty()).then(|| Stored {
        // Without records, what is stored is nothing that can be used.
        records: records.ok().flatten().unwrap_or_default(),
        sockets,
        names,
    });
    Passed { stored, activated }
}

fn passed() -> io::Result<Vec<(Option<String>, OwnedFd)>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mine = std::env::var("LISTEN_PID").ok();
    if mine != Some(std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let Ok(count) = std::env::var("LISTEN_FDS") else {
        return Ok(Vec::new());
    };
    let count = count.parse::<u32>().ok().filter(|count| *count <= MOST);
    let count = count.ok_or_else(|| invalid("LISTEN_FDS is not a number of descriptors".into()))?;
    for number in FIRST..FIRST + count {
        if !is_passed(number) {
            let text = format!("descriptor {number} was not passed, or was taken before");
            return Err(invalid(text));
        }
    }
    let passed = sd_listen_fds::get().map_err(|error| invalid(error.to_string()))?;
    let passed = passed.into_iter().map(|(name, descriptor)| {
        let descriptor = descriptor.into_std();
        rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
        Ok((name.filter(|name| !name.is_empty()), descriptor))
    });
    passed.collect()
}

/// Whether a descriptor has come through `exec`: then it is open, and nobody
/// has marked it to be closed there, as [`passed`] does and all of Rust.
fn is_passed(number: u32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    let info = info.unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| !OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC))
}

fn read_state(descriptor: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(descriptor);
    let mut records = Vec::new();
    if file.metadata()?.is_file() {
        file.rewind()?;
        file.take(MAX_STATE).read_to_end(&mut records)?;
    }
    Ok(records)
}

impl Stored {
    /// The estate, and the names that it had in the store.
    pub(super) fn open(self) -> (Result<HandoverState, Error>, Vec<String>) {
        let mut memory = Memory {
            records: io::Cursor::new(self.records),
            sockets: self.sockets,
        };
        // Nothing in memory has to be waited for.
        let handover_state = wire::receive_estate(&mut memory).now_or_never();
        let handover_state =
            handover_state
                .unwrap_or(Err(Error::Gone))
                .map_err(|error| match error {
                    Error::Gone => {
                        Error::Malformed("the records in the store are cut short".into())
                    }
                    error => error,
                });
        (handover_state, self.names)
    }
}

struct Memory {
    records: io::Cursor<Vec<u8>>,
    sockets: HashMap<String, OwnedFd>,
}

impl Source for Memory {
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.records.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    fn descriptors(&mut self, record: &Record) -> VecDeque<OwnedFd> {
        let name = name_of(record);
        let socket = name.and_then(|name| self.sockets.remove(&name));
        socket.into_iter().collect()
    }

    /// The store has a limit.
    fn may_lack(&self) -> bool {
        true
    }
}

fn name_of(record: &Record) -> Option<String> {
    match record {
        Record::Server(server) => Some(format!("{PREFIX}server-{}", server.id)),
        Record::Client(client) => Some(format!("{PREFIX}client-{}", client.id)),
        _ => None,
    }
}

/// Gives every persistent socket of the registry to systemd's descriptor
/// store, and forgets them here, as [`hand_over`](super::hand_over) does: the
/// next start of the service finds them. Call it before the end, for instance
/// on SIGTERM. `None`: this process is not under systemd, and nothing was
/// done.
///
/// The unit needs `FileDescriptorStoreMax=`, one more than there are sockets,
/// and `NotifyAccess=main` where this is not the default.
///
/// # Errors
/// Nothing was given away, and everything goes on here.
pub async fn to_systemd(registry: &Addr<Registry>) -> Result<Option<Receipt>, Error> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(None);
    }
    let (held, handover_state) = Held::take(registry).await?;
    let handover_state = blocking(move || {
        let stored = store(&handover_state);
        if stored.is_err() {
            // Half an estate must not be found.
            forget_all(&handover_state);
        }
        stored.map(|()| handover_state)
    })
    .await?;
    let receipt = held.let_go(&handover_state);
    delivered(registry).await;
    Ok(Some(receipt))
}

/// Takes names out of the store.
pub(super) async fn remove(names: Vec<String>) -> Result<(), Error> {
    blocking(move || {
        let removed: io::Result<()> = names.iter().try_for_each(|name| forget(name));
        removed.map_err(Error::os("emptying systemd's descriptor store"))
    })
    .await
}

/// systemd may be slow to take what is sent to it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match timeout(LIMIT, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.unwrap_or(Err(Error::Stopped)),
        Err(_) => Err(Error::TimedOut),
    }
}

/// systemd says how many descriptors it keeps, from version 254 on.
fn check_room(handover_state: &HandoverState) -> Result<(), Error> {
    let room = std::env::var("FDSTORE").ok();
    let room = room.and_then(|room| room.parse::<usize>().ok());
    let listeners = handover_state
        .servers
        .iter()
        .filter(|it| it.listener.is_some());
    let streams = handover_state
        .clients
        .iter()
        .filter(|it| it.stream.is_some());
    let needed = listeners.count() + streams.count() + 1;
    match room {
        Some(room) if room < needed => Err(Error::Refused(format!(
            "FileDescriptorStoreMax= is {room}, and {needed} descriptors are to be kept"
        ))),
        _ => Ok(()),
    }
}

fn store(handover_state: &HandoverState) -> Result<(), Error> {
    check_room(handover_state)?;
    let doing = "giving descriptors to systemd";
    let state = rustix::fs::memfd_create(STATE, MemfdFlags::CLOEXEC);
    let mut state = File::from(state.map_err(|error| Error::os(doing)(error.into()))?);
    // An older state would name what is not there any more.
    forget(STATE).map_err(Error::os(doing))?;
    for piece in wire::pieces(handover_state)? {
        state.write_all(&piece.head()?).map_err(Error::os(doing))?;
        for part in piece.data {
            state.write_all(part).map_err(Error::os(doing))?;
        }
        if let (Some(name), Some(descriptor)) = (name_of(&piece.record), piece.descriptor) {
            forget(&name).map_err(Error::os(doing))?;
            keep(&name, descriptor).map_err(Error::os(doing))?;
        }
    }
    keep(STATE, state.as_fd()).map_err(Error::os(doing))?;
    barrier().map_err(Error::os(doing))
}

fn keep(name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    // systemd is not to look at what its peer does.
    let state = [
        NotifyState::FdStore,
        NotifyState::FdName(name),
        NotifyState::Custom("FDPOLL=0"),
    ];
    sd_notify::notify_with_fds(&state, &[descriptor])
}

fn forget(name: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
}

/// Takes out what has been stored of this estate.
fn forget_all(handover_state: &HandoverState) {
    let _ = forget(STATE);
    for piece in wire::pieces(handover_state).unwrap_or_default() {
        if let Some(name) = name_of(&piece.record) {
            let _ = forget(&name);
        }
    }
}

/// Waits until systemd has taken all that was sent before: from a process
/// that has ended it takes nothing.
fn barrier() -> io::Result<()> {
    let (seen, unseen) = io::pipe()?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[unseen.as_fd()])?;
    drop(unseen);
    let limit = Timespec::try_from(LIMIT).map_err(io::Error::other)?;
    let mut seen = [PollFd::new(&seen, PollFlags::empty())];
    match poll(&mut seen, Some(&limit))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use std::time::Duration;

    use crate::handover_state::{
        ActionRecord, AppLimitsRecord, AtLimitRecord, Client, ClientRecord, ConnectionRecord,
        LimitRecord, LimitsRecord, PolicyRecord, Server, ServerRecord, TimeoutsRecord,
    };

    fn descriptor() -> OwnedFd {
        File::open("/dev/null").expect("it is there").into()
    }

    /// A server socket, and a client socket with unsent data.
    fn handover_state() -> HandoverState {
        let server = ServerRecord {
            app: "a \"b\"".into(),
            id: 3,
            name: Some("n\0".into()),
            paused: true,
            accept_error: None,
            unreported_error: None,
            unreported_errno: None,
            reuse_port: false,
            encrypts: false,
            suspended: false,
            timeouts: None,
            policy: Some(Box::new(PolicyRecord {
                connection: ActionRecord::Continue,
                resources: ActionRecord::BackOff {
                    first: Duration::from_millis(1),
                    last: Duration::MAX,
                },
                listener: ActionRecord::Escalate,
            })),
            limits: None,
            app_limits: Some(Box::new(AppLimitsRecord {
                accepted: LimitsRecord {
                    per_peer: Some(LimitRecord {
                        most: usize::MAX,
                        then: AtLimitRecord::Reset,
                    }),
                    ..LimitsRecord::default()
                },
                sockets: Some(0),
            })),
        };
        let client = ClientRecord {
            app: String::new(),
            id: 9,
            name: None,
            buffer_size: Some(1),
            paused: false,
            never_resumed: true,
            timeouts: Some(TimeoutsRecord {
                claim: Some(Duration::MAX),
                idle: None,
                send: Some(Duration::from_nanos(1)),
            }),
            suspended: true,
            offered_by: None,
            connection: Some(ConnectionRecord {
                peer: "[::1]:7".parse().expect("an address"),
                dialled: None,
                write_error: None,
                end: None,
            }),
        };
        HandoverState {
            last_server: 4,
            last_client: u64::MAX,
            servers: vec![Server {
                record: server,
                listener: Some(descriptor()),
            }],
            clients: vec![Client {
                record: client,
                stream: Some(descriptor()),
                unsent: vec![Bytes::from_static(b"{un"), Bytes::from_static(b"sent")],
            }],
            not_transferred: Vec::new(),
        }
    }

    fn stored(handover_state: &HandoverState) -> Stored {
        let mut stored = Stored {
            records: Vec::new(),
            sockets: HashMap::new(),
            names: Vec::new(),
        };
        for piece in wire::pieces(handover_state).expect("it can be written") {
            stored.records.extend(piece.head().expect("it has a head"));
            stored.records.extend(piece.data.concat());
            if let (Some(name), Some(_)) = (name_of(&piece.record), piece.descriptor) {
                stored.sockets.insert(name, descriptor());
            }
        }
        stored
    }

    #[test]
    fn what_was_stored_opens_as_it_was() {
        let handover_state = handover_state();
        let opened = stored(&handover_state).open().0.expect("it can be read");
        assert_eq!((opened.last_server, opened.last_client), (4, u64::MAX));
        assert_eq!(opened.servers[0].record, handover_state.servers[0].record);
        assert!(opened.servers[0].listener.is_some());
        assert_eq!(opened.clients[0].record, handover_state.clients[0].record);
        assert!(opened.clients[0].stream.is_some());
        assert_eq!(opened.clients[0].unsent.concat(), b"{unsent");
    }

    #[test]
    fn a_listener_that_comes_both_ways_comes_once() {
        let (one, other) = crate::os::fd_passing::pair().expect("two sockets");
        let again = one.try_clone().expect("a second descriptor");
        let passed = [
            ("web.socket", again),
            ("chrome-sockets-server-3", one),
            ("other.socket", other),
        ];
        let passed = passed.map(|(name, socket)| (Some(name.to_owned()), socket));
        let passed = sort(passed.into());
        let names: Vec<_> = passed.activated.iter().map(Activated::name).collect();
        assert_eq!(names, [Some("other.socket")]);
        let stored = passed.stored.expect("something was stored");
        assert_eq!(stored.names, ["chrome-sockets-server-3"]);
    }

    #[test]
    fn a_state_that_is_no_file_is_not_read() {
        let endless = File::open("/dev/zero").expect("it is there");
        let passed = sort(vec![(Some(STATE.to_owned()), endless.into())]);
        let stored = passed.stored.expect("something was stored");
        assert!(stored.records.is_empty());
        let (opened, names) = stored.open();
        assert!(matches!(opened, Err(Error::Malformed(_))));
        assert_eq!(names, [STATE], "it is taken out");
    }

    #[test]
    fn more_sockets_than_an_estate_may_have_are_refused_before_they_come() {
        let announced = |servers: u64, clients: u64| {
            let whole = stored(&HandoverState::default()).records;
            let text = String::from_utf8(whole[4..].to_vec()).expect("JSON");
            let text = text.replace("\"servers\":0", &format!("\"servers\":{servers}"));
            let text = text.replace("\"clients\":0", &format!("\"clients\":{clients}"));
            let length = u32::try_from(text.len()).expect("it is short");
            let stored = Stored {
                records: [&length.to_be_bytes(), text.as_bytes()].concat(),
                sockets: HashMap::new(),
                names: Vec::new(),
            };
            let refused = stored.open().0.expect_err("none of them comes");
            refused.to_string()
        };
        let too_many = "too many sockets are announced";
        for (servers, clients) in [(1 << 20, 0), (0, 1 << 20), (1, (1 << 20) - 1)] {
            let error = announced(servers, clients);
            assert!(error.contains("cut short"), "{error}");
            assert!(announced(servers, clients + 1).contains(too_many));
            assert!(announced(servers + 1, clients).contains(too_many));
        }
        assert!(announced(u64::MAX, 1).contains(too_many));
    }

    #[test]
    fn no_more_sockets_and_data_are_given_away_than_are_taken() {
        let mut handover_state = handover_state();
        let piece = Bytes::from(vec![0; 1 << 20]);
        handover_state.clients[0].unsent = vec![piece; 1 << 10];
        assert!(wire::pieces(&handover_state).is_ok());
        handover_state.clients[0]
            .unsent
            .push(Bytes::from_static(b"x"));
        assert!(matches!(
            wire::pieces(&handover_state),
            Err(Error::Refused(_))
        ));
        assert!(wire::fits(1 << 20, 0));
        assert!(!wire::fits((1 << 20) + 1, 0));
    }

    #[test]
    fn a_descriptor_that_was_not_kept_costs_its_socket_alone() {
        let mut lacking = stored(&handover_state());
        lacking
            .sockets
            .remove("chrome-sockets-client-9")
            .expect("it was stored");
        let opened = lacking.open().0.expect("it can be read");
        assert!(opened.servers[0].listener.is_some());
        assert!(opened.clients.is_empty());

        let mut lacking = stored(&handover_state());
        lacking
            .sockets
            .remove("chrome-sockets-server-3")
            .expect("it was stored");
        let opened = lacking.open().0.expect("it can be read");
        assert!(opened.servers[0].listener.is_none(), "it may listen again");
        assert_eq!(opened.clients.len(), 1);
    }

    #[test]
    fn records_that_are_cut_or_changed_anywhere_are_an_error_or_another_estate() {
        let whole = stored(&handover_state()).records;
        for at in 0..whole.len() {
            let mut cut = stored(&handover_state());
            cut.records.truncate(at);
            assert!(cut.open().0.is_err(), "cut at {at}");
            for bit in [1, 0x80] {
                let mut changed = stored(&handover_state());
                changed.records[at] ^= bit;
                // No panic, and no more memory than there are bytes.
                let _ = changed.open();
            }
        }
    }
}
