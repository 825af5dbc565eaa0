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

impl ClientSocket {
    /// `tcp.update`.
    pub fn update(&self, properties: SocketProperties) -> Answer<()> {
        self.call(|reply| Command::Update(Box::new(properties), reply))
    }

    /// `tcp.setPaused`.
    pub fn set_paused(&self, paused: bool) -> Answer<()> {
        self.call(|reply| Command::SetPaused(paused, reply))
    }

    /// `tcp.setKeepAlive`.
    pub fn set_keep_alive(&self, enable: bool, delay: Option<i32>) -> Answer<()> {
        self.call(|reply| Command::SetKeepAlive(enable, delay.unwrap_or(0), reply))
    }

    /// `tcp.setNoDelay`.
    pub fn set_no_delay(&self, no_delay: bool) -> Answer<()> {
        self.call(|reply| Command::SetNoDelay(no_delay, reply))
    }

    /// `setTimeouts` (beyond Chrome).
    pub fn set_timeouts(&self, timeouts: Timeouts) -> Answer<()> {
        self.call(|reply| Command::SetTimeouts(Box::new(timeouts), reply))
    }

    /// Sets the socket's own listeners (beyond Chrome): see
    /// [`Tcp::set_listeners`](crate::Tcp::set_listeners).
    pub fn set_listeners(&self, listeners: impl Into<Option<SocketListeners>>) -> Answer<()> {
        let own = OwnListeners::boxed(listeners.into());
        self.call(|reply| Command::SetListeners(own, reply))
    }

    /// `tcp.connect`.
    pub fn connect(
        &self,
        peer_address: &str,
        peer_port: i32,
        dns_query_type: DnsQueryType,
    ) -> Answer<()> {
        let target = Target::new(peer_address, peer_port, dns_query_type);
        self.call(|reply| Command::Connect(Box::new(target), reply))
    }

    /// Connects to an address or a host (beyond Chrome): see
    /// [`Tcp::connect_to`](crate::Tcp::connect_to).
    pub fn connect_to(&self, endpoint: impl Into<Endpoint>, options: ConnectOptions) -> Answer<()> {
        let target = Target::of(endpoint.into(), options);
        self.call(|reply| Command::Connect(Box::new(target), reply))
    }

    /// `tcp.disconnect`.
    pub fn disconnect(&self) -> Answer<()> {
        self.call(Command::Disconnect)
    }

    /// `shutdownWrite` (beyond Chrome).
    pub fn shutdown_write(&self) -> Answer<()> {
        self.call(Command::ShutdownWrite)
    }

    /// Resets the connection (beyond Chrome): see [`Tcp::reset`](crate::Tcp::reset).
    pub fn reset(&self) -> Answer<()> {
        self.call(Command::Reset)
    }

    /// `tcp.secure`.
    pub fn secure(&self, options: SecureOptions) -> Answer<()> {
        self.secure_as(SecureAs::Client(options))
    }

    /// `secureAsServer` (beyond Chrome, with the feature `tls`): see
    /// [`Tcp::secure_as_server`](crate::Tcp::secure_as_server).
    #[cfg(feature = "tls")]
    pub fn secure_as_server(&self, tls: crate::tls::Server) -> Answer<()> {
        self.secure_as(SecureAs::Server(tls))
    }

    fn secure_as(&self, secure_as: SecureAs) -> Answer<()> {
        self.call(|reply| Command::Secure(Box::new(Secure::Start(secure_as, reply))))
    }

    /// `tcp.close`.
    pub fn close(&self) -> Answer<()> {
        let (answer, reply) = Answer::pair();
        self.close_with_reply(reply);
        answer
    }

    /// [`close`](Self::close) without an answer. A socket that is closed already is unchanged.
    pub fn do_close(&self) {
        self.close_with_reply(Reply::discard());
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

    /// `tcp.getInfo`.
    pub fn get_info(&self) -> Answer<SocketInfo> {
        self.call(Command::GetInfo)
    }

    fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<T> {
        if self.is_closed() {
            return Answer::ready(Err(Error::SocketNotFound));
        }
        let (answer, reply) = Answer::pair();
        self.0.app_shard.activity.mark_active();
        self.do_send(command(reply));
        answer
    }

    fn do_call(&self, command: impl FnOnce(Reply<()>) -> Command) {
        if !self.is_closed() {
            self.0.app_shard.activity.mark_active();
            self.do_send(command(Reply::discard()));
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
