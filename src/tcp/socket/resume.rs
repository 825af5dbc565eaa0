//! Resuming a socket and setting its options in one call.

use crate::answer::{Answer, Reply};
use crate::error::Error;
use crate::tcp::actor::SocketTable;
use crate::tcp::command::Command;
use crate::tcp::connection::state::SocketState;
use crate::tcp::socket::ClientSocket;
use crate::tcp::socket_listeners::{OwnListeners, SocketListeners};

/// What [`resume_with`](ClientSocket::resume_with) sets before it resumes a socket (beyond Chrome).
/// What is not given stays as it is.
///
/// ```
/// use chrome_sockets::tcp::ResumeOptions;
/// use chrome_sockets::tcp_server::AcceptInfo;
///
/// /// Serves a new client: events of up to 64 KiB, and probes after 10 idle seconds.
/// fn serve(info: &AcceptInfo) {
///     let options = ResumeOptions::new()
///         .buffer_size(64 * 1024)
///         .keep_alive(true, Some(10));
///     info.client().do_resume_with(options);
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "give it to `resume_with` or `do_resume_with`"]
pub struct ResumeOptions {
    no_delay: Option<bool>,
    keep_alive: Option<(bool, Option<i32>)>,
    buffer_size: Option<i32>,
    listeners: Option<SocketListeners>,
}

impl ResumeOptions {
    /// Nothing but to resume.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`set_no_delay`](ClientSocket::set_no_delay). Every connection begins with `true`.
    pub fn no_delay(mut self, no_delay: bool) -> Self {
        self.no_delay = Some(no_delay);
        self
    }

    /// As [`set_keep_alive`](ClientSocket::set_keep_alive), with the delay in seconds.
    pub fn keep_alive(mut self, enable: bool, delay: Option<i32>) -> Self {
        self.keep_alive = Some((enable, delay));
        self
    }

    /// As [`buffer_size`](crate::tcp::SocketProperties::buffer_size): the most bytes of one `onReceive` event. Values below 1
    /// mean the default, 4,096.
    pub fn buffer_size(mut self, bytes: i32) -> Self {
        self.buffer_size = Some(bytes);
        self
    }

    /// As [`set_listeners`](ClientSocket::set_listeners).
    pub fn listeners(mut self, listeners: SocketListeners) -> Self {
        self.listeners = Some(listeners);
        self
    }
}

impl ClientSocket {
    /// Sets options, and resumes the socket (beyond Chrome). It does in one step what
    /// [`set_listeners`](Self::set_listeners), [`set_no_delay`](Self::set_no_delay),
    /// [`set_keep_alive`](Self::set_keep_alive), [`update`](Self::update) and
    /// [`set_paused(false)`](Self::set_paused) do in this order, which costs an accepted client less
    /// than these calls. Data that has arrived before is raised with the new options.
    ///
    /// # Errors
    /// The first error of these calls. The others are made nevertheless, and the socket is resumed.
    pub fn resume_with(&self, options: ResumeOptions) -> Answer<()> {
        self.call(|reply| Command::Resume(ResumeCall::from(options), reply))
    }

    /// [`resume_with`](Self::resume_with) without an answer. A closed socket is unchanged.
    pub fn do_resume_with(&self, options: ResumeOptions) {
        self.do_call(|reply| Command::Resume(ResumeCall::from(options), reply));
    }
}

/// The options as a command carries them: no larger than the other commands.
pub(crate) struct ResumeCall {
    own: Option<Box<OwnListeners>>,
    keep_alive: Option<(bool, i32)>,
    buffer_size: Option<i32>,
    no_delay: Option<bool>,
}

impl From<ResumeOptions> for ResumeCall {
    fn from(options: ResumeOptions) -> Self {
        ResumeCall {
            own: OwnListeners::boxed(options.listeners),
            keep_alive: options
                .keep_alive
                .map(|(enable, delay)| (enable, delay.unwrap_or(0))),
            buffer_size: options.buffer_size,
            no_delay: options.no_delay,
        }
    }
}

impl SocketState {
    /// Sets every option, and returns the first error.
    fn set_options(&mut self, options: ResumeCall) -> Result<(), Error> {
        let mut result = Ok(());
        if let Some(own) = options.own {
            result = self.replace_listeners(Some(own));
        }
        if let Some(no_delay) = options.no_delay {
            result = result.and(self.set_no_delay(no_delay));
        }
        if let Some((enable, delay)) = options.keep_alive {
            result = result.and(self.set_keep_alive(enable, delay));
        }
        if let Some(size) = options.buffer_size {
            self.set_buffer_size(size);
        }
        result
    }
}

impl SocketTable {
    pub(in crate::tcp) fn resume_with(
        &mut self,
        socket: &ClientSocket,
        options: ResumeCall,
        reply: Reply<()>,
    ) {
        let Some(state) = self.get(socket) else {
            return reply.send(Err(Error::SocketNotFound));
        };
        state.acknowledge();
        match state.set_options(options) {
            Ok(()) => self.set_paused(socket, false, reply),
            Err(error) => {
                self.set_paused(socket, false, Reply::discard());
                reply.send(Err(error));
            }
        }
    }
}
