//! Handover through systemd: socket activation, and the descriptor store.
//!
//! The store keeps descriptors with names while the service restarts
//! (`FileDescriptorStoreMax=`): one descriptor for each socket, and a file in memory with the
//! [records](super::wire) of the sockets.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use actix::prelude::*;
use actix_rt::time::timeout;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::net::sockopt;
use sd_notify::NotifyState;

use super::activated::Activated;
use super::successor::{ExportGuard, wait_for_delivery};
use super::wire::{self, descriptor_name};
use super::{Error, Receipt, TIMEOUT};
use crate::handover_state::HandoverState;
use crate::os;
use crate::registry::Registry;

/// The prefix of this crate's names in the store.
const PREFIX: &str = "chrome-sockets-";
/// The name of the file with the records.
const STATE: &str = "chrome-sockets-state";

/// The first descriptor that systemd passes (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: u32 = 3;

/// The most descriptors that are accepted; systemd's own limit for the store is lower by default.
const MAX_DESCRIPTORS: u32 = 1 << 16;

/// The largest file of records, in bytes.
const MAX_STATE: u64 = 2 << 30;

/// The contents of the descriptor store.
#[derive(Debug)]
pub(super) struct StoredState {
    records: Vec<u8>,
    sockets: HashMap<String, OwnedFd>,
    names: Vec<String>,
}

/// The descriptors that systemd has passed, sorted by their origin.
pub(super) struct PassedDescriptors {
    pub(super) stored: Option<StoredState>,
    pub(super) activated: Vec<Activated>,
}

/// Takes the descriptors that systemd has passed; `None` if there are none.
pub(super) fn take_passed() -> Result<Option<PassedDescriptors>, Error> {
    let passed = take_descriptors().map_err(Error::os("taking descriptors from systemd"))?;
    Ok((!passed.is_empty()).then(|| sort(passed)))
}

fn sort(passed: Vec<(Option<String>, OwnedFd)>) -> PassedDescriptors {
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
                address: os::local_address_of(&descriptor),
                listener: descriptor,
            }),
        }
    }
    // A socket unit passes its listener again, which the store has returned too.
    let cookie = |socket: &OwnedFd| sockopt::socket_cookie(socket).ok();
    let stored: HashSet<u64> = sockets.values().filter_map(cookie).collect();
    activated.retain(|it| cookie(&it.listener).is_none_or(|it| !stored.contains(&it)));
    let records = state.map(read_state).transpose();
    let stored = (!names.is_empty()).then(|| StoredState {
        // Descriptors without readable records are unusable: `open` fails then.
        records: records.ok().flatten().unwrap_or_default(),
        sockets,
        names,
    });
    PassedDescriptors { stored, activated }
}

fn take_descriptors() -> io::Result<Vec<(Option<String>, OwnedFd)>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    // The variables are inherited by processes that they are not for.
    if std::env::var("LISTEN_PID").ok() != Some(std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let Ok(count) = std::env::var("LISTEN_FDS") else {
        return Ok(Vec::new());
    };
    let count = count.parse::<u32>().ok();
    let count = count.filter(|count| *count <= MAX_DESCRIPTORS);
    let count = count.ok_or_else(|| invalid("LISTEN_FDS is not a number of descriptors".into()))?;
    for number in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + count {
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

/// Whether a descriptor came through `exec`: then it is open and not marked to be closed on `exec`.
/// The standard library marks what it opens, and [`take_descriptors`] what it takes.
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
    // A device or a pipe might never end.
    if file.metadata()?.is_file() {
        file.rewind()?;
        file.take(MAX_STATE).read_to_end(&mut records)?;
    }
    Ok(records)
}

impl StoredState {
    /// Decodes the state. Also returns all names in the store, to remove them.
    pub(super) fn open(self) -> (Result<HandoverState, Error>, Vec<String>) {
        (wire::read_stored(&self.records, self.sockets), self.names)
    }
}

/// Gives every persistent socket of the registry to systemd's descriptor store, and
/// removes them here, as [`hand_over`](super::hand_over) does. The next start of
/// the service finds them. Call it before the process ends, for instance on
/// SIGTERM. `None` if the process does not run under systemd; then nothing
/// happens.
///
/// The unit needs `FileDescriptorStoreMax=`, one more than there are sockets, and
/// `NotifyAccess=main` where that is not the default.
///
/// # Errors
/// Nothing was stored, and all sockets go on here.
pub async fn to_systemd(registry: &Addr<Registry>) -> Result<Option<Receipt>, Error> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(None);
    }
    let (export, state) = ExportGuard::new(registry).await?;
    let state = blocking(move || {
        let stored = store(&state);
        if stored.is_err() {
            // The next start must not find a part of the sockets.
            remove_state(&state);
        }
        stored.map(|()| state)
    })
    .await?;
    let receipt = export.commit(&state);
    wait_for_delivery(registry).await;
    Ok(Some(receipt))
}

/// Removes names from the store.
pub(super) async fn remove(names: Vec<String>) -> Result<(), Error> {
    blocking(move || {
        let removed: io::Result<()> = names.iter().try_for_each(|name| remove_name(name));
        removed.map_err(Error::os("emptying systemd's descriptor store"))
    })
    .await
}

/// Runs `work` on a thread that may block: systemd may be slow to receive.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match timeout(TIMEOUT, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.unwrap_or(Err(Error::Stopped)),
        Err(_) => Err(Error::TimedOut),
    }
}

/// Fails if the store is too small. systemd tells its size from version 254 on.
fn check_room(descriptors: usize) -> Result<(), Error> {
    let room = std::env::var("FDSTORE").ok();
    let room = room.and_then(|room| room.parse::<usize>().ok());
    match room {
        Some(room) if room < descriptors => Err(Error::Refused(format!(
            "FileDescriptorStoreMax= is {room}, but {descriptors} descriptors must be stored"
        ))),
        _ => Ok(()),
    }
}

fn store(state: &HandoverState) -> Result<(), Error> {
    let records = wire::records(state)?;
    let sockets = records.iter().filter(|it| it.descriptor.is_some());
    check_room(sockets.count() + 1)?;
    let os_error = |error| Error::os("giving descriptors to systemd")(error);
    let file = rustix::fs::memfd_create(STATE, MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(|error| os_error(error.into()))?);
    // The records of an earlier handover name descriptors that are replaced below.
    remove_name(STATE).map_err(os_error)?;
    for record in &records {
        record.write_to(&mut file)?;
        if let (Some(name), Some(descriptor)) = (descriptor_name(&record.record), record.descriptor)
        {
            remove_name(&name).map_err(os_error)?;
            store_descriptor(&name, descriptor).map_err(os_error)?;
        }
    }
    store_descriptor(STATE, file.as_fd()).map_err(os_error)?;
    wait_until_received().map_err(os_error)
}

fn store_descriptor(name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let state = [
        NotifyState::FdStore,
        NotifyState::FdName(name),
        // Without it, systemd removes a connection whose peer has closed it.
        NotifyState::Custom("FDPOLL=0"),
    ];
    sd_notify::notify_with_fds(&state, &[descriptor])
}

fn remove_name(name: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
}

/// Removes everything that [`store`] may have stored.
fn remove_state(state: &HandoverState) {
    let _ = remove_name(STATE);
    let records = wire::records(state).unwrap_or_default();
    for name in records.iter().filter_map(|it| descriptor_name(&it.record)) {
        let _ = remove_name(&name);
    }
}

/// Waits until systemd has received all notifications: it ignores those of a process that has
/// ended. systemd closes the passed end of the pipe when it has received them.
fn wait_until_received() -> io::Result<()> {
    let (own, passed) = io::pipe()?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[passed.as_fd()])?;
    drop(passed);
    let limit = Timespec::try_from(TIMEOUT).map_err(io::Error::other)?;
    let mut own = [PollFd::new(&own, PollFlags::empty())];
    match poll(&mut own, Some(&limit))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::handover_state::{TransferredClient, TransferredServer, TransferredUdp};

    fn descriptor() -> OwnedFd {
        File::open("/dev/null").expect("a device").into()
    }

    /// A server socket, a client socket with unsent data, and a UDP socket.
    fn handover_state() -> HandoverState {
        let server = json!({
            "app": "a \"b\"", "id": 3, "name": "n\0",
            "paused": true, "encrypts": false, "suspended": false,
            "policy": {
                "connection": "Continue",
                "resources": {
                    "BackOff": {"first": Duration::from_millis(1), "last": Duration::MAX},
                },
                "listener": "Escalate",
            },
            "file": {"path": b"/run/\xff", "device": 1, "inode": u64::MAX},
            "app_limits": {
                "accepted": {"per_peer": {"most": usize::MAX, "then": "Reset"}},
                "sockets": 0,
            },
        });
        let client = json!({
            "app": "", "id": 9, "buffer_size": 1,
            "paused": false, "never_resumed": true, "suspended": true,
            "timeouts": {"claim": Duration::MAX, "send": Duration::from_nanos(1)},
            "connection": {
                "peer": {"Path": b"/\xff"},
                "dialled": {"local": "Unnamed", "host": "localhost"},
            },
        });
        let udp = json!({
            "app": "u", "id": 2, "name": "", "paused": true, "suspended": true,
            "loopback": false, "groups": ["224.0.0.251", "ff02::fb"],
        });
        HandoverState {
            last_server: 4,
            last_client: u64::MAX,
            last_udp: 2,
            servers: vec![TransferredServer {
                record: serde_json::from_value(server).expect("a record"),
                listener: Some(descriptor()),
            }],
            clients: vec![TransferredClient {
                record: serde_json::from_value(client).expect("a record"),
                stream: Some(descriptor()),
                unsent: vec![Bytes::from_static(b"{un"), Bytes::from_static(b"sent")],
            }],
            udp_sockets: vec![TransferredUdp {
                record: serde_json::from_value(udp).expect("a record"),
                socket: Some(descriptor()),
            }],
            not_transferred: Vec::new(),
        }
    }

    fn stored(state: &HandoverState) -> StoredState {
        let mut stored = StoredState {
            records: Vec::new(),
            sockets: HashMap::new(),
            names: Vec::new(),
        };
        for record in wire::records(state).expect("records") {
            record.write_to(&mut stored.records).expect("a record");
            if let (Some(name), Some(_)) = (descriptor_name(&record.record), record.descriptor) {
                stored.sockets.insert(name, descriptor());
            }
        }
        stored
    }

    /// Opens the state without one of its descriptors.
    fn open_without(name: &str) -> HandoverState {
        let mut stored = stored(&handover_state());
        stored.sockets.remove(name).expect("a stored descriptor");
        stored.open().0.expect("a state")
    }

    #[test]
    fn a_stored_state_is_opened_unchanged() {
        let handover_state = handover_state();
        let opened = stored(&handover_state).open().0.expect("a state");
        assert_eq!((opened.last_server, opened.last_client), (4, u64::MAX));
        assert_eq!(opened.servers[0].record, handover_state.servers[0].record);
        assert!(opened.servers[0].listener.is_some());
        assert_eq!(opened.clients[0].record, handover_state.clients[0].record);
        assert!(opened.clients[0].stream.is_some());
        assert_eq!(opened.clients[0].unsent.concat(), b"{unsent");
    }

    #[test]
    fn a_listener_that_is_stored_and_activated_comes_once() {
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
        let stored = passed.stored.expect("a stored state");
        assert_eq!(stored.names, ["chrome-sockets-server-3"]);
    }

    #[test]
    fn a_state_that_is_not_a_file_is_not_read() {
        let endless = File::open("/dev/zero").expect("a device");
        let passed = sort(vec![(Some(STATE.to_owned()), endless.into())]);
        let stored = passed.stored.expect("a stored state");
        assert!(stored.records.is_empty());
        let (opened, names) = stored.open();
        assert!(matches!(opened, Err(Error::Malformed(_))));
        assert_eq!(names, [STATE], "it is removed from the store");
    }

    #[test]
    fn too_many_announced_sockets_are_refused_before_they_are_read() {
        let announced = |servers: u64, clients: u64| {
            let whole = stored(&HandoverState::default()).records;
            let text = String::from_utf8(whole[4..].to_vec()).expect("JSON");
            let text = text.replace("\"servers\":0", &format!("\"servers\":{servers}"));
            let text = text.replace("\"clients\":0", &format!("\"clients\":{clients}"));
            let length = u32::try_from(text.len()).expect("it is short");
            let stored = StoredState {
                records: [&length.to_be_bytes(), text.as_bytes()].concat(),
                sockets: HashMap::new(),
                names: Vec::new(),
            };
            let refused = stored.open().0.expect_err("no record follows");
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
    fn the_limits_of_sending_and_receiving_are_the_same() {
        let mut state = handover_state();
        let part = Bytes::from(vec![0; 1 << 20]);
        state.clients[0].unsent = vec![part; 1 << 10];
        assert!(wire::records(&state).is_ok());
        state.clients[0].unsent.push(Bytes::from_static(b"x"));
        assert!(matches!(wire::records(&state), Err(Error::Refused(_))));
        assert!(wire::is_within_limits(1 << 20, 0));
        assert!(!wire::is_within_limits((1 << 20) + 1, 0));
    }

    #[test]
    fn a_descriptor_that_was_not_kept_loses_only_its_socket() {
        let state = open_without("chrome-sockets-client-9");
        assert!(state.servers[0].listener.is_some());
        assert!(state.clients.is_empty());

        let state = open_without("chrome-sockets-server-3");
        assert!(state.servers[0].listener.is_none(), "it may listen again");
        assert_eq!(state.clients.len(), 1);

        let state = open_without("chrome-sockets-udp-2");
        assert!(state.udp_sockets[0].socket.is_none(), "it may bind again");
        assert_eq!(state.clients.len(), 1);
    }

    #[test]
    fn records_that_are_cut_or_changed_are_an_error_or_another_state() {
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
