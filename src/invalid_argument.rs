//! What is wrong with an argument: the field and the reason.

use std::fmt;

/// Declares the type: each variant with the field and the reason, which are its documentation too.
macro_rules! invalid_arguments {
    ($($variant:ident: $field:literal, $reason:literal;)*) => {
        /// Which argument of a call is invalid, and why. Chrome's API has the code -4,
        /// [`INVALID_ARGUMENT`](crate::NetError::INVALID_ARGUMENT), for all of them.
        ///
        /// ```
        /// use chrome_sockets::{App, Error, InvalidArgument, NetError, Registry};
        ///
        /// # actix_rt::System::new().block_on(async {
        /// let app = App::new("my-app", &Registry::new().start());
        /// let server = app.tcp_server.create(Default::default()).await?.socket_id;
        /// let refused = app.tcp_server.listen(server, "127.0.0.1", 65536, None).await;
        ///
        /// let error = refused.expect_err("there is no such port");
        /// assert_eq!(error, Error::InvalidArgument(InvalidArgument::PortOutOfRange));
        /// assert_eq!(
        ///     error.to_string(),
        ///     "invalid argument `port`: outside 0\u{2013}65535 (net::ERR_INVALID_ARGUMENT)"
        /// );
        /// assert_eq!(error.net_error(), Some(NetError::INVALID_ARGUMENT));
        /// # Ok::<_, chrome_sockets::Error>(())
        /// # }).expect("the others succeed");
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum InvalidArgument {
            $(
                #[doc = concat!("`", $field, "`: ", $reason, ".")]
                $variant,
            )*
        }

        impl InvalidArgument {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The argument, or the path of the field in it: `port`, `rate.per`.
            pub const fn field(self) -> &'static str {
                match self {
                    $(Self::$variant => $field,)*
                }
            }

            /// What is wrong with it.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$variant => $reason,)*
                }
            }
        }
    };
}

invalid_arguments! {
    NameTooLong: "name", "longer than 4,096 bytes";
    AddressNotIp: "address", "neither an IPv4 nor an IPv6 literal";
    PortOutOfRange: "port", "outside 0–65535";
    NotMulticast: "address", "not a multicast address";
    TimeToLiveOutOfRange: "ttl", "outside 0–255";
    PeerPortOutOfRange: "peer_port", "outside 0–65535";
    BacklogBelowOne: "backlog", "below 1";
    ScopeMissing: "endpoint", "a link-local address without its interface";
    ScopeNotAllowed: "endpoint", "a scope id at an address that is not link-local";
    Ipv6OnlyForIpv4: "ipv6_only", "set for an IPv4 address";
    Ipv6OnlyForUnix: "ipv6_only", "set for a Unix socket";
    UnixNameEmpty: "address", "an empty name of a Unix socket";
    UnixNameTooLong: "address", "a name of a Unix socket of more than 107 bytes (103 on systems other than Linux)";
    UnixPathWithNul: "address", "a path with a NUL";
    ModeOutOfRange: "mode", "outside 0–0o777";
    ModeWithoutFile: "mode", "set for an address without a file";
    ReusePortForUnix: "reuse_port", "set for a Unix socket";
    LocalForUnix: "local", "set for a Unix socket";
    ConnectTimeoutZero: "timeout", "zero; `None` means no timeout";
    UserTimeoutTooLong: "user_timeout", "longer than 2³¹ − 1 ms";
    AlpnNameLength: "alpn", "a protocol name that is empty or longer than 255 bytes";
    AlpnTooLong: "alpn", "protocol names of more than 4,096 bytes in all";
    SendLimitZero: "send_limit", "zero; `usize::MAX` removes the limit";
    LowMarkAboveHigh: "send_marks.low", "above `high`";
    AlreadySecured: "socket_id", "the socket is secured already, or is being secured";

    ClaimTimeoutZero: "claim", "zero; `None` means no timeout";
    IdleTimeoutZero: "idle", "zero; `None` means no timeout";
    SendTimeoutZero: "send", "zero; `None` means no timeout";
    SendRateZero: "send_rate.bytes", "zero; `None` means no minimum";
    SendRatePeriodZero: "send_rate.per", "zero";

    ConnectionsZero: "connections.most", "zero; `None` means no limit";
    PerPeerZero: "per_peer.most", "zero; `None` means no limit";
    PerPeerQueue: "per_peer.then", "`Queue`, but the peer is known only after the accept";
    RateZero: "rate.most", "zero; `None` means no limit";
    RatePeriodZero: "rate.per", "zero";
    RatePeriodTooLong: "rate.per", "longer than a day";

    ProxyNetworksEmpty: "networks", "empty; no connection would have a header";
    ProxyNetworksTooMany: "networks", "more than 1,024";
    ProxyTimeoutZero: "timeout", "zero; a header could not arrive";
    ProxyMaxPendingZero: "max_pending", "zero; no connection could send its header";
    ProxyHeaderTooLong: "proxy_header", "longer than 4,096 bytes";
    ProxyHeaderNotV1: "proxy_header", "TLVs, Unix addresses or LOCAL, which version 1 does not have";

    ShedForConnection: "connection", "`Shed`, which is allowed for `resources` only";
    ShedForListener: "listener", "`Shed`, which is allowed for `resources` only";
    ContinueForResources: "resources", "`Continue`, which is allowed for `connection` only";
    ContinueForListener: "listener", "`Continue`, which is allowed for `connection` only";
    ConnectionBackOffZero: "connection.first", "zero";
    ResourcesBackOffZero: "resources.first", "zero";
    ListenerBackOffZero: "listener.first", "zero";
    ConnectionBackOffShrinks: "connection.last", "less than `first`";
    ResourcesBackOffShrinks: "resources.last", "less than `first`";
    ListenerBackOffShrinks: "listener.last", "less than `first`";
}

impl fmt::Display for InvalidArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid argument `{}`: {}", self.field(), self.reason())
    }
}

impl std::error::Error for InvalidArgument {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_mistakes_look_the_same() {
        let texts: HashSet<_> = InvalidArgument::ALL
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts.len(), InvalidArgument::ALL.len());
    }
}
