//! The calls of a [`ClientSocket`], other than those that send.

use crate::address::Endpoint;
use crate::answer::{Answer, Reply};
use crate::error::Error;
use crate::tcp::command::Command;
use crate::tcp::connection::connect::Target;
use crate::tcp::connection::secure::{Secure, SecureAs};
use crate::tcp::socket::ClientSocket;
use crate::tcp::socket_listeners::OwnListeners;
use crate::tcp::{
    ConnectOptions, DnsQueryType, SecureOptions, SocketInfo, SocketListeners, SocketProperties,
    Timeouts,
};
use crate::telemetry::Span;

impl ClientSocket {
    /// `tcp.update`: sets the given properties and keeps the others. Legal in every state; the
    /// properties stay with the socket from one connection to the next.
    ///
    /// # Errors
    /// Nothing changes after these:
    /// - [`InvalidArgument`](Error::InvalidArgument): a name above
    ///   [`MAX_NAME`](crate::MAX_NAME) bytes, or a `user_timeout` above `i32::MAX` ms.
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): a `user_timeout` where the OS has none.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    ///   registry has ended.
    pub fn update(&self, properties: SocketProperties) -> Answer<()> {
        self.call(|reply| Command::Update(Box::new(properties), reply))
    }

    /// `tcp.setPaused`: a paused socket reports neither data nor the end of its connection, and TCP
    /// slows the peer; sends go on. An accepted socket starts paused. Legal in every state; the value
    /// stays with the socket, but each `onReceiveError` pauses it.
    ///
    /// The answer to `true` means that every earlier `onReceive` was handled, and that none is raised
    /// until the socket is resumed. A later call with `false` answers it too.
    ///
    /// # Errors
    /// - [`EventsInFlight`](Error::EventsInFlight): a listener has not handled an earlier event within
    ///   [`PAUSE_GRACE`](crate::PAUSE_GRACE) (5 seconds), for instance because it keeps the event while
    ///   it waits for this answer. The socket is paused nevertheless.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    ///   registry has ended.
    pub fn set_paused(&self, paused: bool) -> Answer<()> {
        self.call(|reply| Command::SetPaused(paused, reply))
    }

    /// `tcp.setKeepAlive`: has the OS probe an idle connection after `delay` seconds, and again every
    /// `delay` seconds. `None` and 0 keep the present delays. By default every connection is probed
    /// after 45 s and every 45 s. A later connection of the socket has the default again.
    ///
    /// # Errors
    /// The connection stays as it is after all of them.
    /// - [`FAILED`](crate::NetError::FAILED): the socket is not connected, the delay is negative, or the
    ///   OS refuses it (Linux: above 32,767 s).
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    ///   registry has ended.
    pub fn set_keep_alive(&self, enable: bool, delay: Option<i32>) -> Answer<()> {
        self.call(|reply| Command::SetKeepAlive(enable, delay.unwrap_or(0), reply))
    }

    /// `tcp.setNoDelay`: small packets are sent at once (`true`, the default), or are collected by
    /// Nagle's algorithm (`false`). A later connection of the socket has the default again.
    ///
    /// # Errors
    /// The connection stays as it is after all of them.
    /// - [`FAILED`](crate::NetError::FAILED): the socket is not connected.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    ///   registry has ended.
    pub fn set_no_delay(&self, no_delay: bool) -> Answer<()> {
        self.call(|reply| Command::SetNoDelay(no_delay, reply))
    }

    /// Replaces the socket's timeouts (beyond Chrome), after which an inactive connection is ended; by
    /// default there are none. All of them start now. They stay with the socket from one connection to
    /// the next, and in a handover. Legal in every state.
    ///
    /// # Errors
    /// - [`InvalidArgument`](Error::InvalidArgument): one of them is zero; nothing changes.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    ///   registry has ended.
    pub fn set_timeouts(&self, timeouts: Timeouts) -> Answer<()> {
        self.call(|reply| Command::SetTimeouts(Box::new(timeouts), reply))
    }

    /// Sets the socket's own listeners (beyond Chrome): its events go to them from now on, and not to
    /// those of the app; `None` gives it back to those. They may be in any arbiter. Events in flight
    /// stay where they were sent, and the new listeners get nothing before those are handled, or after
    /// [`PAUSE_GRACE`](crate::PAUSE_GRACE) (5 seconds). Events that wait for a listener go to the new
    /// ones. Listeners that are set before the first `set_paused(false)` of an accepted client miss
    /// nothing. They stay, also for later connections, until others are set, the socket is closed, or
    /// the app is suspended; a handover does not carry them. The socket holds their addresses.
    ///
    /// # Errors
    /// [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    /// registry has ended.
    pub fn set_listeners(&self, listeners: impl Into<Option<SocketListeners>>) -> Answer<()> {
        let own = OwnListeners::boxed(listeners.into());
        self.call(|reply| Command::SetListeners(own, reply))
    }

    /// `tcp.connect`: connects to a host name or an IP address. A name with several addresses is tried
    /// at the next one 250 ms after the one before it, or as soon as an attempt fails; the first
    /// that answers wins (RFC 8305). There is no time limit but the OS's, some minutes; `disconnect`
    /// and `close` end the attempt. A socket that is not paused receives at once.
    ///
    /// # Errors
    /// The socket stays usable after all of them, and may connect again.
    /// - [`InvalidArgument`](Error::InvalidArgument): the port is outside 0–65535, or the address is
    ///   link-local.
    /// - [`PermissionDenied`](Error::PermissionDenied): the app's permissions do not cover it.
    /// - [`SOCKET_IS_CONNECTED`](crate::NetError::SOCKET_IS_CONNECTED): it is connected, or is
    ///   connecting; that goes on.
    /// - [`NAME_NOT_RESOLVED`](crate::NetError::NAME_NOT_RESOLVED): there is no such name, or none with
    ///   an address of the query type.
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): port 0.
    /// - [`CONNECTION_REFUSED`](crate::NetError::CONNECTION_REFUSED),
    ///   [`CONNECTION_TIMED_OUT`](crate::NetError::CONNECTION_TIMED_OUT),
    ///   [`ADDRESS_UNREACHABLE`](crate::NetError::ADDRESS_UNREACHABLE) and other errors of the OS: those
    ///   of the last address that was tried.
    /// - [`ABORTED`](crate::NetError::ABORTED): `disconnect`, `reset` or `close` was called meanwhile.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    ///   registry has ended.
    pub fn connect(
        &self,
        peer_address: &str,
        peer_port: i32,
        dns_query_type: DnsQueryType,
    ) -> Answer<()> {
        let target = Target::new(peer_address, peer_port, dns_query_type);
        self.call(|reply| Command::Connect(Box::new(target), reply))
    }

    /// Connects to an address or a host (beyond Chrome), with a time limit, a local address or the
    /// scope of a link-local address: `socket_addr`, `("host", 80)`, `("fe80::1%eth0", 80)`; or to a
    /// Unix socket, by its [`UnixAddress`](crate::UnixAddress), with the errors of
    /// [`connect_unix`](crate::Tcp::connect_unix).
    ///
    /// # Errors
    /// The socket stays usable after all of them, and may connect again. They are those of
    /// [`connect`](Self::connect), and:
    /// - [`CONNECTION_TIMED_OUT`](crate::NetError::CONNECTION_TIMED_OUT): the time limit has elapsed.
    /// - [`InvalidArgument`](Error::InvalidArgument): a time limit of zero, a link-local address
    ///   without a scope, or a scope at another address.
    /// - [`ADDRESS_INVALID`](crate::NetError::ADDRESS_INVALID): the local address is not one of this
    ///   machine, no address of the host has its family, or there is no such interface.
    /// - [`ADDRESS_IN_USE`](crate::NetError::ADDRESS_IN_USE): another socket has the local port.
    /// - [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED): a network of your own cannot choose the
    ///   local address.
    pub fn connect_to(&self, endpoint: impl Into<Endpoint>, options: ConnectOptions) -> Answer<()> {
        let target = Target::of(endpoint.into(), options);
        self.call(|reply| Command::Connect(Box::new(target), reply))
    }

    /// `tcp.disconnect`: ends the connection, or the attempt to connect. The socket keeps its id and
    /// its properties, and may connect again. A connected socket that is not paused raises
    /// `onReceiveError` ([`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED)) before the answer,
    /// and becomes paused. A socket that is not connected is unchanged.
    ///
    /// Earlier sends still reach the peer, and a clean end behind them, also if its input was not
    /// read. The answer does not wait for that. It is given up after 30 seconds in which the peer
    /// acknowledges nothing; then the connection is reset.
    ///
    /// # Errors
    /// [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    /// registry has ended.
    pub fn disconnect(&self) -> Answer<()> {
        self.call(Command::Disconnect)
    }

    /// Shuts the writing side of the connection (beyond Chrome): the peer receives every earlier send
    /// and then the end (FIN), while the socket goes on to receive. The answer means that the OS has
    /// all earlier sends and the end; the peer's reading may delay it without a limit, unless
    /// [`Timeouts::send`] is set. Later sends answer
    /// [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED). A second call has no effect, and
    /// is answered with the first. If the peer has ended its side before, and
    /// [`allow_half_open`](SocketProperties::allow_half_open) has kept the connection, the socket is not
    /// connected when the answer comes, without another event; it may connect again.
    ///
    /// # Errors
    /// - [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED): the socket is not connected,
    ///   or TLS is being started.
    /// - The error of an earlier send that fails: the peer finds no orderly end.
    /// - [`ABORTED`](crate::NetError::ABORTED): `reset` was called meanwhile.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    ///   registry has ended.
    pub fn shutdown_write(&self) -> Answer<()> {
        self.call(Command::ShutdownWrite)
    }

    /// Resets the connection (beyond Chrome): the peer gets a RST and loses what it has not read, and
    /// nothing lingers. Sends that are not complete answer [`ABORTED`](crate::NetError::ABORTED). The
    /// socket keeps its id and may connect again. If it was connected and not paused, `onReceiveError`
    /// ([`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED)) is raised before the answer; a
    /// half-closed connection has had its event. A socket that is not connected is unchanged.
    ///
    /// # Errors
    /// [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    /// registry has ended.
    pub fn reset(&self) -> Answer<()> {
        self.call(Command::Reset)
    }

    /// `tcp.secure`: encrypts the connection of a paused socket by TLS, as its client. The server's
    /// certificate must be valid for the host that `connect` was given. Earlier sends leave
    /// unencrypted first; sends during the handshake wait, and leave encrypted. The handshake takes at
    /// most [`HANDSHAKE_TIMEOUT`](crate::tcp::HANDSHAKE_TIMEOUT) (30 seconds). Without the feature `tls` it
    /// answers [`NOT_IMPLEMENTED`](crate::NetError::NOT_IMPLEMENTED), and nothing changes.
    ///
    /// # Errors
    /// The socket is as before after these:
    /// - [`SocketNotConnected`](Error::SocketNotConnected): it is not connected, or one side of the
    ///   connection has ended.
    /// - [`InvalidArgument`](Error::InvalidArgument): it is encrypted already, or a protocol name of
    ///   [`SecureOptions::alpn`] is too long.
    /// - [`NO_SSL_VERSIONS_ENABLED`](crate::NetError::NO_SSL_VERSIONS_ENABLED): the options allow no
    ///   version.
    ///
    /// The socket is closed, its id is gone, and sends that wait fail, after these:
    /// - [`FAILED`](crate::NetError::FAILED): it is not paused, or was accepted.
    /// - [`SSL_PROTOCOL_ERROR`](crate::NetError::SSL_PROTOCOL_ERROR): the peer does not use TLS.
    /// - [`SSL_VERSION_OR_CIPHER_MISMATCH`](crate::NetError::SSL_VERSION_OR_CIPHER_MISMATCH),
    ///   [`CERT_AUTHORITY_INVALID`](crate::NetError::CERT_AUTHORITY_INVALID),
    ///   [`CERT_COMMON_NAME_INVALID`](crate::NetError::CERT_COMMON_NAME_INVALID) and other faults of
    ///   the handshake or of the certificate.
    /// - [`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED),
    ///   [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET): the peer ended the connection.
    /// - [`TIMED_OUT`](crate::NetError::TIMED_OUT): the handshake took too long.
    /// - [`ABORTED`](crate::NetError::ABORTED): `disconnect`, `reset` or `close` was called meanwhile.
    ///   After `disconnect` and `reset` the socket is open, and may connect again.
    ///
    /// [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    /// registry has ended.
    pub fn secure(&self, options: SecureOptions) -> Answer<()> {
        self.secure_as(SecureAs::Client(options))
    }

    /// Encrypts the connection of a paused socket by TLS, as its server (STARTTLS; beyond Chrome, with
    /// the feature `tls`). Await `set_paused(true)`, send the protocol's reply, call this, and resume
    /// when it has answered. **Discard everything that was received behind the peer's command**: it was
    /// not encrypted, so anybody on the way may have inserted it. Earlier sends leave unencrypted first;
    /// later ones wait, and leave encrypted. The handshake takes at most
    /// [`tls::Server::timeout`](crate::tls::Server::timeout) (10 seconds by default).
    ///
    /// # Errors
    /// The socket is as before after these:
    /// - [`SocketNotConnected`](Error::SocketNotConnected): it is not connected, or one side of the
    ///   connection has ended.
    /// - [`InvalidArgument`](Error::InvalidArgument): it is encrypted already, or is being encrypted.
    ///
    /// The socket is closed, its id is gone, and sends that wait fail, after these:
    /// - [`FAILED`](crate::NetError::FAILED): it is not paused, or earlier data was not handled.
    /// - [`SSL_PROTOCOL_ERROR`](crate::NetError::SSL_PROTOCOL_ERROR),
    ///   [`SSL_VERSION_OR_CIPHER_MISMATCH`](crate::NetError::SSL_VERSION_OR_CIPHER_MISMATCH) and other
    ///   faults of the handshake.
    /// - [`CONNECTION_CLOSED`](crate::NetError::CONNECTION_CLOSED),
    ///   [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET): the peer ended the connection.
    /// - [`TIMED_OUT`](crate::NetError::TIMED_OUT): the handshake took too long.
    /// - [`ABORTED`](crate::NetError::ABORTED): `disconnect`, `reset` or `close` was called meanwhile.
    ///   After `disconnect` and `reset` the socket is open, and may connect again.
    ///
    /// [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    /// registry has ended.
    #[cfg(feature = "tls")]
    pub fn secure_as_server(&self, tls: crate::tls::Server) -> Answer<()> {
        self.secure_as(SecureAs::Server(tls))
    }

    fn secure_as(&self, secure_as: SecureAs) -> Answer<()> {
        self.call(|reply| Command::Secure(Box::new(Secure::Start(secure_as, reply))))
    }

    /// `tcp.close`: ends the connection as [`disconnect`](Self::disconnect) does, so that earlier
    /// sends arrive, and removes the socket. Its id is unknown at once: every later call of every
    /// handle answers [`SocketNotFound`](Error::SocketNotFound). A connected socket that is not paused
    /// raises `onReceiveError` before the answer.
    ///
    /// # Errors
    /// [`SocketNotFound`](Error::SocketNotFound): it is closed already. [`Stopped`](Error::Stopped): the
    /// registry has ended.
    pub fn close(&self) -> Answer<()> {
        let (answer, reply) = Answer::pair();
        self.close_with_reply(reply.in_span(&self.call_span(Some("tcp.close"))));
        answer
    }

    /// [`close`](Self::close) without an answer. A socket that is closed already is unchanged.
    pub fn do_close(&self) {
        let reply = Reply::discard();
        self.close_with_reply(reply.in_span(&self.call_span(Some("tcp.close"))));
    }

    /// [`disconnect`](Self::disconnect) without an answer. A closed socket is unchanged.
    pub fn do_disconnect(&self) {
        self.do_call(Command::Disconnect);
    }

    /// [`reset`](Self::reset) without an answer. A closed socket is unchanged.
    pub fn do_reset(&self) {
        self.do_call(Command::Reset);
    }

    /// [`shutdown_write`](Self::shutdown_write) without an answer. A socket that is closed or not
    /// connected is unchanged.
    pub fn do_shutdown_write(&self) {
        self.do_call(Command::ShutdownWrite);
    }

    /// [`set_paused`](Self::set_paused) without an answer. A closed socket is unchanged. Handlers
    /// may still be called after `do_set_paused(true)`: only an answer tells when none is.
    pub fn do_set_paused(&self, paused: bool) {
        self.do_call(|reply| Command::SetPaused(paused, reply));
    }

    /// [`update`](Self::update) without an answer. A closed socket is unchanged. Nothing changes
    /// if the name is too long.
    pub fn do_update(&self, properties: SocketProperties) {
        self.do_call(|reply| Command::Update(Box::new(properties), reply));
    }

    /// [`set_keep_alive`](Self::set_keep_alive) without an answer. Nothing changes if the socket is
    /// not connected, and if the OS refuses the delay.
    pub fn do_set_keep_alive(&self, enable: bool, delay: Option<i32>) {
        self.do_call(|reply| Command::SetKeepAlive(enable, delay.unwrap_or(0), reply));
    }

    /// [`set_no_delay`](Self::set_no_delay) without an answer. Nothing changes if the socket is not
    /// connected.
    pub fn do_set_no_delay(&self, no_delay: bool) {
        self.do_call(|reply| Command::SetNoDelay(no_delay, reply));
    }

    /// [`set_timeouts`](Self::set_timeouts) without an answer. A closed socket is unchanged.
    /// Nothing changes if one of the timeouts is zero.
    pub fn do_set_timeouts(&self, timeouts: Timeouts) {
        self.do_call(|reply| Command::SetTimeouts(Box::new(timeouts), reply));
    }

    /// [`set_listeners`](Self::set_listeners) without an answer. A closed socket is unchanged.
    pub fn do_set_listeners(&self, listeners: impl Into<Option<SocketListeners>>) {
        let own = OwnListeners::boxed(listeners.into());
        self.do_call(|reply| Command::SetListeners(own, reply));
    }

    /// `tcp.getInfo`: the socket's properties, state and addresses, behind all calls that were made
    /// before through handles. It changes nothing, except that an accepted client counts as delivered.
    ///
    /// # Errors
    /// [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after the
    /// registry has ended.
    pub fn get_info(&self) -> Answer<SocketInfo> {
        self.call(Command::GetInfo)
    }

    pub(in crate::tcp) fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<T> {
        if self.is_closed() {
            return Answer::ready(Err(Error::SocketNotFound));
        }
        let (answer, reply) = Answer::pair();
        self.0.app_shard.activity.mark_active();
        self.push_call(command, reply);
        answer
    }

    /// Queues a call in a span of its own.
    fn push_call<T>(&self, command: impl FnOnce(Reply<T>) -> Command, reply: Reply<T>) {
        let span = self.call_span(None);
        let command = command(reply.in_span(&span));
        span.set_call(command.call());
        self.do_send(command);
    }

    /// The span of a call.
    pub(super) fn call_span(&self, call: Option<&str>) -> Span {
        let span = Span::call(self.app(), call);
        span.set_socket(self.id());
        span
    }

    pub(super) fn do_call(&self, command: impl FnOnce(Reply<()>) -> Command) {
        if !self.is_closed() {
            self.0.app_shard.activity.mark_active();
            self.push_call(command, Reply::discard());
        }
    }

    /// `setListeners`, for a caller that has a reply already.
    pub(crate) fn set_listeners_with_reply(
        &self,
        listeners: Option<SocketListeners>,
        reply: Reply<()>,
    ) {
        self.do_send(Command::SetListeners(OwnListeners::boxed(listeners), reply));
    }

    /// `tcp.close`, for a caller that has a reply already.
    pub(crate) fn close_with_reply(&self, reply: Reply<()>) {
        // The first `close` frees the id at once, so later calls find no socket.
        if self.mark_closed() {
            self.0.app_shard.id_table.remove(self.0.id);
            self.do_send(Command::Close(reply));
        } else {
            reply.send(Err(Error::SocketNotFound));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::command::QueuedCall;
    use crate::tcp::connection::write::tests::socket;

    #[actix_rt::test]
    async fn a_call_without_an_answer_has_no_channel_for_one() {
        let (socket, command_queue, _actor) = socket();
        socket.do_set_paused(false);
        socket.do_update(SocketProperties::default());
        socket.do_set_keep_alive(true, None);
        socket.do_set_no_delay(true);
        socket.do_set_timeouts(Timeouts::default());
        socket.do_set_listeners(None);
        socket.do_shutdown_write();
        socket.do_reset();
        socket.do_disconnect();
        socket.do_close();
        let calls = command_queue.queue.take_calls();
        assert_eq!(calls.len(), 10);
        for call in calls {
            let QueuedCall::Command(_, command) = call else {
                unreachable!("none of them is a send");
            };
            let has_caller = match &command {
                Command::SetPaused(_, reply)
                | Command::Update(_, reply)
                | Command::SetKeepAlive(_, _, reply)
                | Command::SetNoDelay(_, reply)
                | Command::SetTimeouts(_, reply)
                | Command::SetListeners(_, reply)
                | Command::ShutdownWrite(reply)
                | Command::Reset(reply)
                | Command::Disconnect(reply)
                | Command::Close(reply) => reply.has_caller(),
                _ => unreachable!("no such call was made"),
            };
            assert!(!has_caller);
        }
        // It closes nothing again.
        socket.do_close();
        socket.do_disconnect();
        assert!(!command_queue.queue.has_calls());
    }
}
