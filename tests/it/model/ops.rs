//! Random operations. Each makes sense in every state, so that those of a failure can be left
//! out one by one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chrome_sockets::tcp::SendMarks;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::app::{ALL_LISTENERS, KINDS, Kind, LISTENERS, ListenerMap};
use super::connection::Act;
use super::faults::{ACCEPT, CONNECT, LISTEN, READ, WRITE};
use super::server::{Action, Policy};

/// Number of addresses for `listen`.
const ADDRESSES: u8 = super::drive::ADDRESSES.len() as u8;

/// How a registry is made.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Shape {
    pub arbiters: usize,
    /// Its server sockets listen in every arbiter.
    pub shared_port: bool,
}

/// One run, from an empty registry.
#[derive(Clone, Debug)]
pub struct Case {
    pub shape: Shape,
    /// The most operations before the next rest.
    pub batch: usize,
    /// Listeners take some time for each event.
    pub slow: bool,
    pub ops: Vec<Op>,
}

#[derive(Clone, Debug)]
pub enum Op {
    Server(SocketChoice, ServerOp),
    Client(SocketChoice, ClientOp),
    /// A client connects to one of the listening addresses.
    Dial(u8),
    /// An accept error on one of the addresses.
    AcceptError(u8, i32),
    /// An action of one of the peers.
    Peer(u8, Act),
    /// One of the pending connects may complete.
    Release(u8),
    App(AppChoice, AppOp),
    /// Other tasks get a few turns.
    Turns(u8),
    LongTime,
}

/// One of the two apps.
#[derive(Clone, Copy, Debug)]
pub struct AppChoice(pub usize);

/// Which socket, and how it is called.
#[derive(Clone, Copy, Debug)]
pub struct SocketChoice {
    pub app: AppChoice,
    pub pick: u8,
    pub how: ChoiceKind,
    /// By its `ClientSocket` rather than by its id.
    pub by_handle: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum ChoiceKind {
    /// One of the app's open sockets.
    Open,
    /// One of the sockets that the app has or had.
    Any,
    /// One of the other app's.
    Foreign,
    /// An id that was not allocated.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Properties {
    pub persistent: Option<bool>,
    /// An index into the test's names.
    pub name: Option<u8>,
    pub buffer_size: Option<i32>,
    /// Only of client sockets.
    pub allow_half_open: Option<bool>,
    /// Only of client sockets.
    pub user_timeout: Option<Duration>,
    /// Only of client sockets.
    pub send_limit: Option<usize>,
    /// Only of client sockets.
    pub send_marks: Option<SendMarks>,
}

#[derive(Clone, Debug)]
pub enum ServerOp {
    Create(Properties),
    Update(Properties),
    SetPaused(bool),
    Listen {
        /// An index into the test's addresses.
        port: u8,
        backlog: Option<u8>,
        by: ListenBy,
        /// An index into the invalid arguments.
        wrong: Option<u8>,
        fault: Option<(i32, i32)>,
    },
    SetPolicy(Policy),
    /// An invalid argument.
    Mistake(ServerMistake, u8),
    Disconnect,
    Close,
    GetInfo,
    GetSockets,
}

/// Which function listens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ListenBy {
    Listen,
    /// `listen_on`.
    On {
        ipv6_only: bool,
        /// With the address as a text.
        text: bool,
    },
}

/// Which setting of a server socket is invalid.
#[derive(Clone, Copy, Debug)]
pub enum ServerMistake {
    Policy,
    Limits,
    Timeouts,
}

#[derive(Clone, Debug)]
pub enum ClientOp {
    Create(Properties),
    Update(Properties),
    SetPaused(bool),
    SetKeepAlive(bool, Option<i32>),
    SetNoDelay(bool),
    Connect {
        to: ConnectTarget,
        /// `connect_to`, with these options.
        options: Option<ConnectOptions>,
        held: bool,
    },
    ShutdownWrite,
    Disconnect,
    Reset,
    /// `None` gives the socket back to the app's listeners.
    SetListeners(Option<OwnListeners>),
    /// Invalid timeouts.
    Mistake(u8),
    Send(usize),
    Close,
    GetInfo,
    GetSockets,
}

/// The listeners of one socket.
#[derive(Clone, Copy, Debug)]
pub struct OwnListeners {
    pub on_receive: Option<usize>,
    pub on_receive_error: Option<usize>,
    pub on_send_queue: Option<usize>,
    /// What the socket does when the listener of its data has died: it waits for another one, or
    /// ends the connection.
    pub waits: bool,
}

/// The target of a connect.
#[derive(Clone, Copy, Debug)]
pub enum ConnectTarget {
    Literal,
    Localhost,
    Nobody,
    Fault(i32, i32),
    UnknownName,
    WrongPort,
    PortZero,
    V4AsV6,
    /// An address of a network interface that does not exist. Only of `connect_to`.
    NoInterface,
}

/// The options of `connect_to`.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions {
    pub timeout: Option<Duration>,
    pub local: Option<SocketAddr>,
    /// With the address as a text.
    pub text: bool,
}

#[derive(Clone, Debug)]
pub enum AppOp {
    Listen(Kind, usize, bool),
    HasListener(Kind, Option<usize>),
    /// A listener's actor ends; another takes its place.
    Die(usize),
    Suspend,
    Resume,
    IsSuspended,
    /// Which listeners it adds to every event.
    SetEventPage(Option<ListenerMap>),
    Unload,
    /// An index into the test's permissions.
    SetPermissions(u8),
    /// Invalid limits.
    Mistake(u8),
    /// The actor of the client sockets, or that of the next server socket to take a turn,
    /// panics. No one may notice.
    Panic(bool),
}

pub fn case(most: usize) -> impl Strategy<Value = Case> {
    let batch = prop_oneof![2 => Just(1_usize), 1 => Just(3), 2 => Just(8)];
    let case = (batch, any::<bool>(), vec(op(), 1..=most));
    case.prop_map(|(batch, slow, ops)| Case {
        shape: Shape::default(),
        batch,
        slow,
        ops,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => (who(), server_op()).prop_map(|(choice, op)| Op::Server(choice, op)),
        40 => (who(), client_op()).prop_map(|(choice, op)| Op::Client(choice, op)),
        12 => any::<u8>().prop_map(Op::Dial),
        4 => (any::<u8>(), pick(&ACCEPT)).prop_map(|(at, errno)| Op::AcceptError(at, errno)),
        30 => (any::<u8>(), act()).prop_map(|(peer, act)| Op::Peer(peer, act)),
        2 => any::<u8>().prop_map(Op::Release),
        12 => (which(), app_op()).prop_map(|(app, op)| Op::App(app, op)),
        3 => (0..6_u8).prop_map(Op::Turns),
        1 => Just(Op::LongTime),
    ]
}

fn pick<T: Copy + std::fmt::Debug + 'static>(from: &'static [T]) -> impl Strategy<Value = T> {
    (0..from.len()).prop_map(|place| from[place])
}

fn which() -> impl Strategy<Value = AppChoice> {
    prop_oneof![9 => Just(AppChoice(0)), 1 => Just(AppChoice(1))]
}

fn who() -> impl Strategy<Value = SocketChoice> {
    let how = prop_oneof![
        60 => Just(ChoiceKind::Open),
        4 => Just(ChoiceKind::Any),
        1 => Just(ChoiceKind::Foreign),
        1 => Just(ChoiceKind::Unknown),
    ];
    (which(), any::<u8>(), how, any::<bool>()).prop_map(|(app, pick, how, by_handle)| {
        SocketChoice {
            app,
            pick,
            how,
            by_handle,
        }
    })
}

/// The last two are too long.
const USER_TIMEOUTS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(30),
    super::client::MAX_USER_TIMEOUT,
    Duration::from_millis(1 << 31),
    Duration::MAX,
];

/// The first one is invalid.
const SEND_LIMITS: [usize; 8] = [0, 1, 30, 50, 100, 1000, 8000, usize::MAX];

/// The high-water and the low-water mark. The last ones are invalid.
const SEND_MARKS: [(usize, usize); 9] = [
    (0, 0),
    (0, 0),
    (30, 10),
    (30, 30),
    (100, 0),
    (1000, 999),
    (usize::MAX, 0),
    (30, 31),
    (0, usize::MAX),
];

fn properties() -> impl Strategy<Value = Properties> {
    let sizes = &[64, 64, 1000, 4096, 0, -5, 100_000, i32::MAX];
    (
        option::of(any::<bool>()),
        option::weighted(0.3, 0..16_u8),
        option::weighted(0.3, pick(sizes)),
        option::weighted(0.9, prop::bool::weighted(0.9)),
        option::weighted(0.1, pick(&USER_TIMEOUTS)),
        (
            option::weighted(0.4, pick(&SEND_LIMITS)),
            option::weighted(0.5, pick(&SEND_MARKS)),
        ),
    )
        .prop_map(|all| {
            let (persistent, name, buffer_size, allow_half_open, user_timeout, queue) = all;
            let (send_limit, send_marks) = queue;
            Properties {
                persistent,
                name,
                buffer_size,
                allow_half_open,
                user_timeout,
                send_limit,
                send_marks: send_marks.map(|(high, low)| SendMarks { high, low }),
            }
        })
}

fn server_op() -> impl Strategy<Value = ServerOp> {
    let action = || {
        pick(&[
            Action::Pause,
            Action::BackOff,
            Action::BackOff,
            Action::Close,
        ])
    };
    let policy = (action(), action()).prop_map(|(resources, listener)| Policy {
        resources,
        listener,
    });
    let backlog = option::of(pick(&[1_u8, 2, 5, 100]));
    let wrong = option::weighted(0.1, any::<u8>());
    let fault = option::weighted(0.1, pick(&LISTEN));
    let by = prop_oneof![
        2 => Just(ListenBy::Listen),
        1 => (prop::bool::weighted(0.6), any::<bool>())
            .prop_map(|(ipv6_only, text)| ListenBy::On { ipv6_only, text }),
    ];
    let listen = (0..ADDRESSES, backlog, by, wrong, fault);
    let mistake = pick(&[
        ServerMistake::Policy,
        ServerMistake::Policy,
        ServerMistake::Limits,
        ServerMistake::Timeouts,
    ]);
    prop_oneof![
        4 => properties().prop_map(ServerOp::Create),
        3 => properties().prop_map(ServerOp::Update),
        8 => prop::bool::weighted(0.4).prop_map(ServerOp::SetPaused),
        9 => listen.prop_map(|(port, backlog, by, wrong, fault)| ServerOp::Listen {
            port,
            backlog,
            by,
            wrong,
            fault,
        }),
        2 => policy.prop_map(ServerOp::SetPolicy),
        1 => (mistake, any::<u8>()).prop_map(|(setting, which)| ServerOp::Mistake(setting, which)),
        2 => Just(ServerOp::Disconnect),
        1 => Just(ServerOp::Close),
        4 => Just(ServerOp::GetInfo),
        2 => Just(ServerOp::GetSockets),
    ]
}

fn client_op() -> impl Strategy<Value = ClientOp> {
    let to = prop_oneof![
        10 => Just(ConnectTarget::Literal),
        3 => Just(ConnectTarget::Localhost),
        1 => Just(ConnectTarget::Nobody),
        2 => pick(&CONNECT).prop_map(|(errno, code)| ConnectTarget::Fault(errno, code)),
        1 => Just(ConnectTarget::UnknownName),
        1 => Just(ConnectTarget::WrongPort),
        1 => Just(ConnectTarget::PortZero),
        1 => Just(ConnectTarget::V4AsV6),
        1 => Just(ConnectTarget::NoInterface),
    ];
    let connect = (
        to,
        option::weighted(0.4, connect_options()),
        prop::bool::weighted(0.2),
    );
    let delay = option::of(pick(&[-1, 0, 1, 60, i32::MAX]));
    prop_oneof![
        4 => properties().prop_map(ClientOp::Create),
        6 => properties().prop_map(ClientOp::Update),
        14 => prop::bool::weighted(0.3).prop_map(ClientOp::SetPaused),
        1 => (any::<bool>(), delay).prop_map(|(enable, delay)| ClientOp::SetKeepAlive(enable, delay)),
        1 => any::<bool>().prop_map(ClientOp::SetNoDelay),
        9 => connect.prop_map(|(to, options, held)| ClientOp::Connect { to, options, held }),
        2 => Just(ClientOp::ShutdownWrite),
        3 => Just(ClientOp::Disconnect),
        3 => Just(ClientOp::Reset),
        6 => option::weighted(0.8, own_listeners()).prop_map(ClientOp::SetListeners),
        1 => any::<u8>().prop_map(ClientOp::Mistake),
        14 => size().prop_map(ClientOp::Send),
        2 => Just(ClientOp::Close),
        4 => Just(ClientOp::GetInfo),
        2 => Just(ClientOp::GetSockets),
    ]
}

/// Local addresses of connections. The last one is of another family than the peers.
const LOCAL_IPS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

fn own_listeners() -> impl Strategy<Value = OwnListeners> {
    // Mostly one that is no listener of the app.
    let listener = || prop_oneof![3 => LISTENERS..ALL_LISTENERS, 1 => 0..ALL_LISTENERS];
    let all = (
        option::weighted(0.8, listener()),
        option::weighted(0.8, listener()),
        option::weighted(0.7, listener()),
        any::<bool>(),
    );
    all.prop_map(
        |(on_receive, on_receive_error, on_send_queue, waits)| OwnListeners {
            on_receive,
            on_receive_error,
            on_send_queue,
            waits,
        },
    )
}

fn connect_options() -> impl Strategy<Value = ConnectOptions> {
    let times = &[
        Duration::ZERO,
        super::client::CONNECT_TIMEOUT,
        super::client::CONNECT_TIMEOUT,
        Duration::MAX,
    ];
    let local = (pick(&LOCAL_IPS), pick(&[0_u16, 0, 1, 7001, 65_535]));
    let local = local.prop_map(SocketAddr::from);
    let all = (
        option::weighted(0.7, pick(times)),
        option::weighted(0.5, local),
        any::<bool>(),
    );
    all.prop_map(|(timeout, local, text)| ConnectOptions {
        timeout,
        local,
        text,
    })
}

/// Sizes with which a queue meets its limit or its marks exactly.
const MARKED_SIZES: [usize; 6] = [1, 10, 20, 30, 50, 100];

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0_usize), 12 => 1..40_usize, 8 => pick(&MARKED_SIZES), 4 => 100..2000_usize, 1 => 4000..9000_usize]
}

fn act() -> impl Strategy<Value = Act> {
    let limit = prop_oneof![2 => Just(None), 2 => Just(Some(0)), 3 => (1..60_usize).prop_map(Some)];
    prop_oneof![
        20 => size().prop_map(|size| Act::Send(size.max(1))),
        5 => Just(Act::End),
        1 => Just(Act::Reset),
        1 => Just(Act::Leave),
        1 => pick(&READ).prop_map(|(errno, _)| Act::ReadError(errno)),
        1 => pick(&WRITE).prop_map(|(errno, _)| Act::WriteError(errno)),
        1 => Just(Act::OptionError),
        6 => limit.prop_map(Act::Limit),
    ]
}

fn app_op() -> impl Strategy<Value = AppOp> {
    let kind = || pick(&KINDS);
    let listeners: ListenerMap = 1 << LISTENERS;
    let has = (kind(), option::of(0..LISTENERS));
    prop_oneof![
        30 => (kind(), 0..LISTENERS, prop::bool::weighted(0.7))
            .prop_map(|(kind, listener, add)| AppOp::Listen(kind, listener, add)),
        4 => has.prop_map(|(kind, listener)| AppOp::HasListener(kind, listener)),
        2 => (0..LISTENERS).prop_map(AppOp::Die),
        6 => (LISTENERS..ALL_LISTENERS).prop_map(AppOp::Die),
        5 => Just(AppOp::Suspend),
        9 => Just(AppOp::Resume),
        2 => Just(AppOp::IsSuspended),
        5 => option::of(0..listeners).prop_map(AppOp::SetEventPage),
        1 => Just(AppOp::Unload),
        2 => (0..6_u8).prop_map(AppOp::SetPermissions),
        1 => any::<u8>().prop_map(AppOp::Mistake),
        5 => any::<bool>().prop_map(AppOp::Panic),
    ]
}
