//! Spans of connections and calls (the feature `tracing`). Without the feature they are nothing.

use std::fmt::Display;
use std::future::Future;
#[cfg(feature = "tracing")]
use std::sync::Arc;

#[cfg(feature = "tracing")]
use tracing::field::{Empty, display};
#[cfg(feature = "tracing")]
use tracing::{Instrument, Level};

use crate::address::Address;
use crate::ids::{AppId, ServerSocketId};

/// A span, which ends with its last clone.
#[derive(Clone, Default)]
pub(crate) struct Span {
    /// In an `Arc`, so that a connection without a span costs a null pointer.
    #[cfg(feature = "tracing")]
    span: Option<Arc<tracing::Span>>,
}

#[cfg(feature = "tracing")]
impl Span {
    /// `None` if no subscriber wants it.
    fn new(span: tracing::Span) -> Self {
        let span = (!span.is_disabled()).then(|| Arc::new(span));
        Span { span }
    }

    /// Of a connection that was accepted by this server socket, or made by `connect`.
    pub(crate) fn connection(app: &AppId, server: Option<ServerSocketId>, peer: &Address) -> Self {
        // A root, because it outlives the call that made it.
        let span = tracing::span!(
            target: "chrome_sockets",
            parent: None,
            Level::INFO,
            "connection",
            %app,
            server_socket_id = Empty,
            socket_id = Empty,
            %peer,
        );
        if let Some(server) = server {
            span.record("server_socket_id", display(server));
        }
        Span::new(span)
    }

    /// Of the call that a message of this type makes.
    pub(crate) fn message(app: &AppId, type_name: &str) -> Self {
        Span::call(app, Some(&call_name(type_name)))
    }

    /// Of a call. Its parent is the caller's span.
    pub(crate) fn call(app: &AppId, call: Option<&str>) -> Self {
        Span::new(tracing::span!(
            target: "chrome_sockets",
            Level::DEBUG,
            "call",
            call,
            %app,
            socket_id = Empty,
            error = Empty,
        ))
    }

    /// The span that is entered.
    pub(crate) fn current() -> Self {
        Span::new(tracing::Span::current())
    }

    fn record(&self, field: &str, value: impl Display) {
        if let Some(span) = &self.span {
            span.record(field, display(value));
        }
    }

    /// The span of what is done until the returned value is dropped.
    pub(crate) fn enter(&self) -> Entered {
        let span = self.span.as_ref().map(|span| tracing::Span::clone(span));
        span.unwrap_or_else(tracing::Span::none).entered()
    }

    /// The span of what this future does.
    pub(crate) fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let span = self.span.as_ref().map(|span| tracing::Span::clone(span));
        future.instrument(span.unwrap_or_else(tracing::Span::none))
    }
}

#[cfg(not(feature = "tracing"))]
impl Span {
    #[inline(always)]
    pub(crate) fn connection(_: &AppId, _: Option<ServerSocketId>, _: &Address) -> Self {
        Span {}
    }

    #[inline(always)]
    pub(crate) fn message(_: &AppId, _type_name: &str) -> Self {
        Span {}
    }

    #[inline(always)]
    pub(crate) fn call(_: &AppId, _: Option<&str>) -> Self {
        Span {}
    }

    #[inline(always)]
    pub(crate) fn current() -> Self {
        Span {}
    }

    #[inline(always)]
    fn record(&self, _field: &str, _value: impl Display) {}

    #[inline(always)]
    pub(crate) fn enter(&self) -> Entered {
        Entered
    }

    #[inline(always)]
    pub(crate) fn around<F: Future>(&self, future: F) -> F {
        future
    }
}

/// The span is left when this is dropped.
#[cfg(feature = "tracing")]
pub(crate) type Entered = tracing::span::EnteredSpan;

#[cfg(not(feature = "tracing"))]
pub(crate) struct Entered;

impl Span {
    /// The id of the connection's socket, or of the socket that is called.
    #[inline]
    pub(crate) fn set_socket(&self, id: impl Display) {
        self.record("socket_id", id);
    }

    /// The name of the call.
    #[inline]
    pub(crate) fn set_call(&self, call: &str) {
        self.record("call", call);
    }

    /// The call has failed.
    pub(crate) fn set_error(&self, error: impl Display) {
        self.record("error", error);
    }
}

/// The name of the call that a message of this type makes, such as `tcp.setPaused`.
#[cfg(feature = "tracing")]
fn call_name(path: &str) -> String {
    // Without the parameters of a generic message.
    let path = path.split('<').next().unwrap_or(path);
    let mut names = path.split("::").skip(1);
    let namespace = names.next().unwrap_or(path);
    let message = names.last().unwrap_or(namespace);
    let mut chars = message.chars();
    let first = chars.next().map_or(' ', |first| first.to_ascii_lowercase());
    format!("{namespace}.{first}{}", chars.as_str())
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "tracing")]
    use super::*;

    #[cfg(feature = "tracing")]
    #[test]
    fn a_call_has_the_name_of_its_message_in_its_namespace() {
        for (path, name) in [
            ("chrome_sockets::tcp::messages::SetPaused", "tcp.setPaused"),
            ("chrome_sockets::draining::Drain", "draining.drain"),
            (
                "chrome_sockets::events::types::AddListener<a::B>",
                "events.addListener",
            ),
        ] {
            assert_eq!(call_name(path), name);
        }
    }
}
