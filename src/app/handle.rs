//! The handle of an app: what a Rust program holds.

use std::time::Duration;

use actix::Addr;

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::app::event::OnEvent;
use crate::app::system_network::SystemNetwork;
use crate::app::tcp::Tcp;
use crate::app::tcp_server::TcpServer;
use crate::app::udp::Udp;
use crate::app_activity::SuspendInfo;
use crate::draining::{Drain, DrainInfo, Drained};
use crate::ids::AppId;
use crate::manifest::Permissions;
use crate::registry::{AppLimits, Registry, SetAppLimits, SetPermissions};
use crate::supervision::RestartInfo;

/// An app's `chrome.sockets`: a handle to its part of a [`Registry`].
///
/// It is cheap to clone. Clones, and other `App`s with the same id and registry,
/// are the same app. A call is sent when its function is called, so calls keep
/// their order; await the [`Answer`] to learn the outcome.
///
/// Keep an `App`, or the registry's address, while its sockets are needed: when the last
/// one is dropped, the registry ends and closes them. It logs that at level `info`, if any
/// socket is open.
///
/// ```
/// use chrome_sockets::{App, Registry};
///
/// # actix_rt::System::new().block_on(async {
/// let app = App::new("my-app", &Registry::new().start());
/// let server = app.tcp_server.create(Default::default()).await?.socket_id;
/// app.tcp_server.listen(server, "127.0.0.1", 0, None).await?;
/// let info = app.tcp_server.get_info(server).await?;
/// println!("listening on {}", info.local_addr().expect("it listens"));
/// # Ok::<_, chrome_sockets::Error>(())
/// # }).expect("every call succeeds");
/// ```
#[derive(Clone, Debug)]
pub struct App {
    /// `chrome.sockets.tcpServer`.
    pub tcp_server: TcpServer,
    /// `chrome.sockets.tcp`.
    pub tcp: Tcp,
    /// `chrome.sockets.udp`.
    pub udp: Udp,
    /// `chrome.system.network`.
    pub system_network: SystemNetwork,
    /// `runtime.onSuspend`: the app is being [suspended](App::suspend).
    pub on_suspend: OnEvent<SuspendInfo>,
    /// `onDrain` (beyond Chrome): the progress of a drain.
    pub on_drain: OnEvent<DrainInfo>,
    /// `onRestart` (beyond Chrome): one of the crate's own actors has failed and
    /// was restarted.
    pub on_restart: OnEvent<RestartInfo>,
    pub(super) caller: Caller,
}

impl App {
    /// The app with this id. The registry creates it with the first call that
    /// needs it.
    pub fn new(id: impl Into<AppId>, registry: &Addr<Registry>) -> Self {
        let caller = Caller::new(id.into(), registry);
        App {
            tcp_server: TcpServer::new(caller.clone()),
            tcp: Tcp::new(caller.clone()),
            udp: Udp::new(caller.clone()),
            system_network: SystemNetwork::new(caller.clone()),
            on_suspend: OnEvent::new(caller.clone()),
            on_drain: OnEvent::new(caller.clone()),
            on_restart: OnEvent::new(caller.clone()),
            caller,
        }
    }

    /// The app's id.
    pub fn id(&self) -> &AppId {
        self.caller.app()
    }

    /// Replaces the app's permissions; before the first call of this function it
    /// has those of [`Registry::permissions`]. Other apps are not affected.
    ///
    /// Permissions are checked when `listen` and `connect` are carried out, also
    /// for a [`ClientSocket`](crate::tcp::ClientSocket). The answer means that
    /// every later call is checked by the new permissions. Sockets that listen or
    /// are connected already are not closed. Accepted clients need no permission.
    ///
    /// ```
    /// use chrome_sockets::{App, Error, Permissions, Registry};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new("my-app", &Registry::new().start());
    /// let key = r#"{ "tcpServer": { "listen": "127.0.0.1:*" } }"#;
    /// let permissions = Permissions::from_sockets(key).expect("it is right");
    /// app.set_permissions(permissions).await?;
    ///
    /// let server = app.tcp_server.create(Default::default()).await?.socket_id;
    /// let anywhere = app.tcp_server.listen(server, "0.0.0.0", 0, None).await;
    /// assert_eq!(anywhere, Err(Error::PermissionDenied));
    /// app.tcp_server.listen(server, "127.0.0.1", 0, None).await?;
    /// # Ok::<_, chrome_sockets::Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    pub fn set_permissions(&self, permissions: Permissions) -> Answer<()> {
        self.caller
            .call(|app| SetPermissions::new(app, permissions))
    }

    /// Beyond Chrome: replaces the app's limits; by default it has none. Open
    /// connections stay open, and count. If limits are raised, connections that
    /// wait are accepted at once. Connections that are closed at a limit are
    /// counted and reported like those at a server socket's own limits
    /// ([`TcpServer::set_limits`]). Other apps are not affected. Unloading the app
    /// removes its limits. A [handover](crate::handover) of a server socket
    /// carries its app's limits, unless the next process has set any.
    ///
    /// ```
    /// use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
    /// use chrome_sockets::{App, AppLimits, Error, Registry};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new("my-app", &Registry::new().start());
    /// let connections = Some(Limit { most: 10_000, then: AtLimit::Queue });
    /// let accepted = Limits { connections, ..Limits::default() };
    /// app.set_limits(AppLimits { accepted, sockets: Some(1) }).await?;
    ///
    /// app.tcp_server.create(Default::default()).await?;
    /// let one_more = app.tcp.create(Default::default()).await;
    /// assert_eq!(one_more, Err(Error::TooManySockets));
    /// # Ok::<_, chrome_sockets::Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for values that the
    /// documentation of [`Limits`](crate::tcp_server::Limits) excludes; the
    /// limits are unchanged then. [`Stopped`](crate::Error::Stopped).
    pub fn set_limits(&self, limits: AppLimits) -> Answer<()> {
        self.caller.call(|app| SetAppLimits::new(app, limits))
    }

    /// Drains all sockets of the app: server sockets stop listening, and every
    /// connection, accepted or made, may finish until the deadline, as
    /// [`TcpServer::drain`] describes for one server socket. `connect` still
    /// works, because connections may need others to finish; its connections are
    /// part of the drain. Sockets of `chrome.sockets.udp` have no connections, and
    /// stay as they are. An app without sockets is drained at once.
    /// [`DrainAll`](crate::draining::DrainAll) drains all apps of a registry.
    ///
    /// # Errors
    /// [`Stopped`](crate::Error::Stopped): the registry ended before the drain was over,
    /// by [`Shutdown`](crate::Shutdown) or because its last address was dropped (an
    /// answer that is awaited is no address), and closed all its sockets.
    pub fn drain(&self, deadline: Duration) -> Answer<Drained> {
        self.caller.call(|app| Drain::new(app, deadline))
    }

    /// The current address of the app's registry. It changes when the registry's
    /// arbiter ends.
    pub fn registry(&self) -> Addr<Registry> {
        self.caller.registry()
    }
}
