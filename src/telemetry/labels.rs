//! The values of labels that are known in advance.

use crate::net_error::AcceptErrorClass;

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $value:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum $name {
            $($variant,)*
        }

        #[cfg(feature = "metrics")]
        impl $name {
            /// The values of the label, in the order of the variants.
            pub(super) const VALUES: &[&'static str] = &[$($value),*];
        }
    )*};
}

labels! {
    /// The limit that refused a connection.
    RefusedBy {
        Connections = "connections",
        PerPeer = "per_peer",
        Rate = "rate",
        Descriptors = "descriptors",
    }

    /// Why an accepted connection became no client.
    LostBy {
        Handshake = "handshake",
        ProxyHeader = "proxy_header",
        Panic = "panic",
    }

    /// What an accept error affects.
    ErrorClass {
        Connection = "connection",
        Resources = "resources",
        Listener = "listener",
    }

    /// How a call or a handshake has ended.
    Outcome {
        Success = "success",
        Failure = "failure",
    }

    /// The side of a TLS handshake.
    Side {
        Client = "client",
        Server = "server",
    }

    /// An actor or a task of the crate.
    FailedActor {
        Registry = "registry",
        ServerSocket = "server_socket",
        ClientSockets = "client_sockets",
        UdpSockets = "udp_sockets",
        UdpSend = "udp_send",
        Connecting = "connecting",
    }

    /// Why it has failed.
    FailureCause {
        Panic = "panic",
        Stop = "stop",
        ArbiterEnded = "arbiter_ended",
    }

    /// How a connection has ended in a drain.
    DrainEnd {
        Finished = "finished",
        Forced = "forced",
    }

    /// Whose window is full.
    FullWindow {
        Socket = "socket",
        App = "app",
    }
}

impl From<AcceptErrorClass> for ErrorClass {
    fn from(class: AcceptErrorClass) -> Self {
        match class {
            AcceptErrorClass::Connection => ErrorClass::Connection,
            AcceptErrorClass::Resources => ErrorClass::Resources,
            AcceptErrorClass::Listener => ErrorClass::Listener,
        }
    }
}

impl From<bool> for Outcome {
    fn from(succeeded: bool) -> Self {
        match succeeded {
            true => Outcome::Success,
            false => Outcome::Failure,
        }
    }
}
