//! The settings of a server socket as records of a handover.

use crate::error::Error;
use crate::handover_state::{
    ActionRecord, AtLimitRecord, LimitRecord, LimitsRecord, OtherPeersRecord, PolicyRecord,
    ProxyProtocolRecord, RateRecord, ServerRecord,
};
use crate::proxy_protocol::{OtherPeers, ProxyProtocol};
use crate::tcp::Timeouts;
use crate::tcp_server::{AcceptAction, AcceptPolicy, AtLimit, Limit, Limits, RateLimit};

/// Settings from another process, checked as if the app had made them here.
pub(crate) struct Settings {
    pub(crate) policy: AcceptPolicy,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
}

impl Settings {
    /// # Errors
    /// Those of `setAcceptPolicy`, `setLimits`, `setTimeouts` and `setProxyProtocol`.
    pub(crate) fn read(record: &ServerRecord) -> Result<Self, Error> {
        let policy = or_default(record.policy.as_deref().copied(), AcceptPolicy::from);
        let limits = or_default(record.limits.as_deref().copied(), Limits::from);
        policy.check()?;
        limits.check()?;
        let proxy_protocol = record.proxy_protocol.as_deref().map(proxy_protocol);
        Ok(Settings {
            proxy_protocol: proxy_protocol.transpose()?,
            policy,
            limits,
            timeouts: or_default(record.timeouts, Timeouts::from).checked()?,
        })
    }
}

fn proxy_protocol(record: &ProxyProtocolRecord) -> Result<ProxyProtocol, Error> {
    let networks = record.networks.iter().map(|text| text.parse());
    // A text that is no network leaves too few.
    let networks: Result<_, _> = networks.collect();
    let settings = ProxyProtocol {
        networks: networks.unwrap_or_default(),
        unix_peers: record.unix_peers,
        others: record.others.into(),
        timeout: record.timeout,
        max_pending: record.max_pending,
    };
    settings.check()?;
    Ok(settings)
}

impl From<&ProxyProtocol> for ProxyProtocolRecord {
    fn from(settings: &ProxyProtocol) -> Self {
        ProxyProtocolRecord {
            networks: settings.networks.iter().map(ToString::to_string).collect(),
            unix_peers: settings.unix_peers,
            others: settings.others.into(),
            timeout: settings.timeout,
            max_pending: settings.max_pending,
        }
    }
}

fn or_default<R, T: Default>(record: Option<R>, from: impl FnOnce(R) -> T) -> T {
    record.map(from).unwrap_or_default()
}

/// The record of a setting; `None` if it has its default.
pub(crate) fn unless_default<T: Default + PartialEq + Into<R>, R>(value: T) -> Option<R> {
    (value != T::default()).then(|| value.into())
}

/// Converts both ways between a type and its record, which has the same fields
/// or variants. The record is a type of its own, so that a change of the public
/// type does not change what processes of other versions read.
macro_rules! same_as_record {
    (struct $type:ident = $record:ident { $($field:ident),* }) => {
        impl From<$type> for $record {
            fn from(it: $type) -> Self {
                $record { $($field: it.$field.into()),* }
            }
        }

        impl From<$record> for $type {
            fn from(it: $record) -> Self {
                $type { $($field: it.$field.into()),* }
            }
        }
    };
    (enum $type:ident = $record:ident { $($variant:ident $({ $($field:ident),* })?),* }) => {
        impl From<$type> for $record {
            fn from(it: $type) -> Self {
                match it {
                    $($type::$variant $({ $($field),* })? => $record::$variant $({ $($field),* })?),*
                }
            }
        }

        impl From<$record> for $type {
            fn from(it: $record) -> Self {
                match it {
                    $($record::$variant $({ $($field),* })? => $type::$variant $({ $($field),* })?),*
                }
            }
        }
    };
}

same_as_record!(struct AcceptPolicy = PolicyRecord { connection, resources, listener });
same_as_record!(struct Limit = LimitRecord { most, then });
same_as_record!(struct RateLimit = RateRecord { most, per, then });
same_as_record!(enum OtherPeers = OtherPeersRecord { Accept, Refuse });
same_as_record!(enum AtLimit = AtLimitRecord { Queue, Close, Reset });
same_as_record!(
    enum AcceptAction = ActionRecord { Pause, BackOff { first, last }, Shed, Continue, Escalate, Close }
);

impl From<Limits> for LimitsRecord {
    fn from(limits: Limits) -> Self {
        LimitsRecord {
            connections: limits.connections.map(Into::into),
            per_peer: limits.per_peer.map(Into::into),
            rate: limits.rate.map(Into::into),
        }
    }
}

impl From<LimitsRecord> for Limits {
    fn from(record: LimitsRecord) -> Self {
        Limits {
            connections: record.connections.map(Into::into),
            per_peer: record.per_peer.map(Into::into),
            rate: record.rate.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the record of a server socket with `settings` appended.
    fn read(settings: &str) -> Result<Settings, Error> {
        let record = format!(
            r#"{{"app":"a","id":1,"name":null,"paused":false,"accept_error":null,"unreported_error":null,
            "unreported_errno":null,"encrypts":false,"suspended":false{settings}}}"#
        );
        Settings::read(&serde_json::from_str(&record).expect("a record"))
    }

    #[test]
    fn settings_that_an_older_process_does_not_know_have_their_defaults() {
        let settings = read("").expect("a valid record");
        assert_eq!(settings.policy, AcceptPolicy::default());
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.timeouts, Timeouts::default());
    }

    #[test]
    fn invalid_settings_are_not_taken_over() {
        let zero = r#"{"secs":0,"nanos":0}"#;
        let proxy = |networks, secs| {
            format!(
                r#","proxy_protocol":{{"networks":[{networks}],"others":"Refuse",
                "timeout":{{"secs":{secs},"nanos":0}},"max_pending":1}}"#
            )
        };
        for bad in [
            r#","policy":{"connection":"Shed","resources":"Pause","listener":"Pause"}"#,
            r#","policy":{"connection":"Pause","resources":"Continue","listener":"Pause"}"#,
            r#","limits":{"connections":{"most":0,"then":"Queue"}}"#,
            r#","limits":{"per_peer":{"most":1,"then":"Queue"}}"#,
            &format!(r#","limits":{{"rate":{{"most":1,"per":{zero},"then":"Close"}}}}"#),
            &format!(r#","timeouts":{{"claim":{zero}}}"#),
            &proxy(r#""10.0.0.1/8""#, 3),
            &proxy("", 3),
            &proxy(r#""::1""#, 0),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let good = r#","limits":{"connections":{"most":1,"then":"Queue"}}"#;
        assert_eq!(
            read(good).map(|it| it.limits.connections.is_some()),
            Ok(true)
        );
        let good = read(&proxy(r#""10.0.0.0/8","::1""#, 3)).expect("a valid record");
        let proxy_protocol = good.proxy_protocol.expect("it is set");
        assert_eq!(proxy_protocol.networks.len(), 2);
        assert_eq!(proxy_protocol.others, OtherPeers::Refuse);
    }
}
