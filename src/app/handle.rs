//! The handle of an app: what a Rust program holds.

use std::time::Duration;

use actix::Addr;

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::app::event::OnEvent;
use crate::app::tcp::Tcp;
use crate::app::tcp_server::TcpServer;
use crate::app_activity::SuspendInfo;
use crate::draining::{Drain, DrainInfo, Drained};
use crate::ids::AppId;
use crate::manifest::Permissions;
use crate::registry::{AppLimits, Registry, SetAppLimits, SetPermissions};
use crate::supervision::RestartInfo;

/// An app's `chrome.sockets`: its view of a [`Registry`].
///
/// It is a cheap handle: clones, and other `App`s with the same id on the same
/// registry, are the same app. Calls are sent when the function is called, in
/// the order of the calls; awaiting the [`Answer`] tells the outcome.
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
    /// `runtime.onSuspend`: the app is being [suspended](App::suspend).
    pub on_suspend: OnEvent<SuspendInfo>,
    /// `onDrain` (beyond Chrome): how far a drain has come.
    pub on_drain: OnEvent<DrainInfo>,
    /// `onRestart` (beyond Chrome): one of the crate's own actors has fallen,
    /// and goes on.
    pub on_restart: OnEvent<RestartInfo>,
    pub(super) caller: Caller,
}

impl App {
    /// The app with this id on a registry; it need not have been heard of.
    pub fn new(id: impl Into<AppId>, registry: &Addr<Registry>) -> Self {
        let caller = Caller::new(id.into(), registry);
        App {
            tcp_server: TcpServer::new(caller.clone()),
            tcp: Tcp::new(caller.clone()),
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

    /// Sets what the app may do, in place of what it might before (until the
    /// first call, [`Registry::permissions`]). No other app is concerned.
    ///
    /// `listen` and `connect` are checked when they are carried out, also by a
    /// [`ClientSocket`](crate::tcp::ClientSocket). The answer means that every
    /// call made from then on is checked by the new permissions. What listens
    /// or is connected already is not closed, and accepted clients need none.
    ///
    /// ```
    /// use chrome_sockets::{App, Error, Permissions, Registry};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new("my-app", &Registry::new().start());
    /// let key = r#"{ "tcpServer": { "listen": "127.0.0.1:*" } }"#;
    /// app.set_permissions(Permissions::from_sockets(key).expect("it is right"));
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

    /// Beyond Chrome: sets the app's limits, in place of those before; it has
    /// none until this is called. What is open stays open, and counts. Higher
    /// limits let in what waits, at once. Connections that are closed at a
    /// limit are counted and told as those of a server socket's own are
    /// ([`TcpServer::set_limits`]). No other app is concerned, and unloading the
    /// app forgets them. They go along in a [handover](crate::handover) with a
    /// server socket of the app, if the next process has not set any.
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
    /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT) for what the
    /// documentation of [`Limits`](crate::tcp_server::Limits) excludes; the
    /// limits are as before then. [`Stopped`](crate::Error::Stopped).
    pub fn set_limits(&self, limits: AppLimits) -> Answer<()> {
        self.caller.call(|app| SetAppLimits::new(app, limits))
    }

    /// Drains all that the app has: no server socket listens any more, and
    /// every connection, accepted or made, may finish until the deadline, as
    /// [`TcpServer::drain`] tells for one server socket. `connect` still works,
    /// as finishing may need it; what it connects is part of the drain. An
    /// app without sockets has drained at once. [`DrainAll`](crate::draining::DrainAll)
    /// is for all apps of a registry.
    ///
    /// # Errors
    /// [`Stopped`](crate::Error::Stopped): the registry ended before the drain was over,
    /// by [`Shutdown`](crate::Shutdown) or with its last address (a waiting answer
    /// is none), and closed all its sockets.
    pub fn drain(&self, deadline: Duration) -> Answer<Drained> {
        self.caller.call(|app| Drain::new(app, deadline))
    }

    /// The registry that owns its sockets: its address of now. Another one when
    /// the arbiter that it lived in has ended.
    pub fn registry(&self) -> Addr<Registry> {
        self.caller.registry()
    }
}
