//! Unix sockets, beyond `chrome.sockets`.

use crate::address::UnixAddress;
use crate::answer::Answer;
use crate::app::tcp::Tcp;
use crate::app::tcp_server::TcpServer;
use crate::ids::{ClientSocketId, ServerSocketId};
use crate::tcp::ConnectOptions;
use crate::tcp_server::ListenOptions;

impl TcpServer {
    /// Beyond Chrome: listens on a Unix socket. This is [`listen_on`](Self::listen_on)
    /// with a [`UnixAddress`](crate::UnixAddress); `mode` and `backlog` are as in
    /// [`ListenOptions`].
    ///
    /// `address` is a path, or [an abstract name](crate::UnixAddress::from_abstract).
    /// With a `mode`, the file has exactly these rights before anybody can connect.
    /// `None` leaves them to the umask of the process.
    ///
    /// **The file.** If a file of this name exists, this connects to it. If it is a
    /// socket at which nothing listens, because its process was killed, it is replaced;
    /// a server that lives finds a connection that ends at once. Any other file stays,
    /// and the call answers [`ADDRESS_IN_USE`](crate::NetError::ADDRESS_IN_USE). While
    /// this runs, a locked file `.NAME.chrome-sockets` in the same folder keeps other
    /// processes that use this crate from the same name. The folder must not be
    /// writable for users that are not trusted, unless it has the sticky bit, as `/tmp`.
    ///
    /// The file is removed when the socket stops listening, unless another one has
    /// taken its place. In a [handover](crate::handover) it stays, and the next process
    /// removes it. The file of a socket that systemd has opened stays as well.
    ///
    /// Everything else is as with TCP, except for these:
    /// - [`AcceptInfo::peer_credentials`](crate::tcp_server::AcceptInfo::peer_credentials)
    ///   has the process, user and group of the peer. Limits per peer count users.
    /// - `localAddress`, `localPort` and those of the peer are `None`; `local` and
    ///   `peer` have the names. Most clients have none.
    /// - `set_no_delay`, `set_keep_alive` and `user_timeout` answer
    ///   [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED).
    /// - What was sent is acknowledged when the kernel has it. There is no reset: after
    ///   `reset`, or a limit that resets, the peer still reads what was sent before, and
    ///   then the end; if the connection had unread input, an error
    ///   (`ECONNRESET`) in place of the end.
    /// - [`set_reuse_port`](Self::set_reuse_port) is not possible. With several arbiters
    ///   one of them accepts for all.
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and:
    /// - [`UnixPermissionDenied`](crate::Error::UnixPermissionDenied): a manifest
    ///   restricts the app.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): the name is empty, or has
    ///   more than 107 bytes (103 on systems other than Linux), or a NUL in a path; a
    ///   mode above `0o777`, or of an abstract name; `set_reuse_port` was called.
    /// - [`FILE_NOT_FOUND`](crate::NetError::FILE_NOT_FOUND): there is no such folder.
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): an abstract name on a
    ///   system other than Linux, or a network of your own without Unix sockets.
    ///
    /// ```
    /// use chrome_sockets::{App, Registry};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let app = App::new("my-app", &Registry::new().start());
    /// let server = app.tcp_server.create(Default::default()).await?.socket_id;
    /// let path = std::env::temp_dir().join(format!("doc-{}.sock", std::process::id()));
    /// app.tcp_server.listen_unix(server, &path, Some(0o600), None).await?;
    /// # assert!(path.exists());
    ///
    /// let client = app.tcp.create(Default::default()).await?.socket_id;
    /// app.tcp.connect_unix(client, &path).await?;
    /// app.tcp_server.close(server).await?;
    /// assert!(!path.exists());
    /// # Ok::<_, chrome_sockets::Error>(())
    /// # }).expect("every call succeeds");
    /// ```
    pub fn listen_unix(
        &self,
        socket_id: ServerSocketId,
        address: impl Into<UnixAddress>,
        mode: Option<u32>,
        backlog: Option<i32>,
    ) -> Answer<()> {
        let options = ListenOptions {
            mode,
            backlog,
            ..ListenOptions::default()
        };
        self.listen_on(socket_id, address.into(), options)
    }
}

impl Tcp {
    /// Beyond Chrome: connects to a Unix socket, by its path or
    /// [abstract name](crate::UnixAddress::from_abstract). This is
    /// [`connect_to`](Self::connect_to) with a [`UnixAddress`](crate::UnixAddress), for
    /// [`ConnectOptions::timeout`].
    ///
    /// The connection is used like any other; [`listen_unix`](crate::TcpServer::listen_unix)
    /// says what is different. [`SocketInfo::peer_credentials`](crate::tcp::SocketInfo)
    /// tells who listens there. For [`secure`](Self::secure) the certificate has to be
    /// valid for `localhost`. While the backlog is full, this tries again for about two
    /// minutes, as TCP does.
    ///
    /// # Errors
    /// After an error the socket is as before and may connect again.
    /// - [`UnixPermissionDenied`](crate::Error::UnixPermissionDenied): a manifest
    ///   restricts the app. This is checked first.
    /// - [`InvalidArgument`](crate::Error::InvalidArgument): the name is empty, or has
    ///   more than 107 bytes (103 on systems other than Linux), or a NUL in a path.
    /// - [`FILE_NOT_FOUND`](crate::NetError::FILE_NOT_FOUND): there is no such file.
    /// - [`CONNECTION_REFUSED`](crate::NetError::CONNECTION_REFUSED): nothing listens
    ///   there, or the file is no socket.
    /// - [`NETWORK_ACCESS_DENIED`](crate::NetError::NETWORK_ACCESS_DENIED): the mode of
    ///   the file, or of a folder above it, forbids it.
    /// - [`CONNECTION_TIMED_OUT`](crate::NetError::CONNECTION_TIMED_OUT): the backlog
    ///   stayed full.
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): an abstract name on a
    ///   system other than Linux, or a network of your own without Unix sockets.
    /// - Those of [`connect`](Self::connect) that do not concern addresses.
    pub fn connect_unix(
        &self,
        socket_id: ClientSocketId,
        address: impl Into<UnixAddress>,
    ) -> Answer<()> {
        self.connect_to(socket_id, address.into(), ConnectOptions::default())
    }
}
