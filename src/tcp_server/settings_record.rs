//! What was set on a server socket, on its way to another process.

use crate::error::Error;
use crate::handover_state::{
    ActionRecord, AtLimitRecord, LimitRecord, LimitsRecord, PolicyRecord, RateRecord, ServerRecord,
};
use crate::tcp::Timeouts;
use crate::tcp_server::{AcceptAction, AcceptPolicy, AtLimit, Limit, Limits, RateLimit};

/// What another process has set, checked as if the app had set it here.
pub(crate) struct Settings {
    pub(crate) policy: AcceptPolicy,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
}

impl Settings {
    /// # Errors
    /// What setting any of it here says.
    pub(crate) fn read(record: &ServerRecord) -> Result<Self, Error> {
        let policy = record
            .policy
            .as_deref()
            .copied()
            .map(AcceptPolicy::from)
            .unwrap_or_default();
        policy.check()?;
        let limits = record
            .limits
            .as_deref()
            .copied()
            .map(Limits::from)
            .unwrap_or_default();
        limits.check()?;
        let timeouts = record.timeouts.map(Timeouts::from).unwrap_or_default();
        Ok(Settings {
            policy,
            limits,
            timeouts: timeouts.checked()?,
        })
    }
}

/// The record of this, if there is anything to it.
pub(crate) fn unless_default<T: Default + PartialEq + Into<R>, R>(value: T) -> Option<R> {
    (value != T::default()).then(|| value.into())
}

impl From<AcceptPolicy> for PolicyRecord {
    fn from(policy: AcceptPolicy) -> Self {
        PolicyRecord {
            connection: policy.connection.into(),
            resources: policy.resources.into(),
            listener: policy.listener.into(),
        }
    }
}

impl From<PolicyRecord> for AcceptPolicy {
    fn from(record: PolicyRecord) -> Self {
        AcceptPolicy {
            connection: record.connection.into(),
            resources: record.resources.into(),
            listener: record.listener.into(),
        }
    }
}

impl From<AcceptAction> for ActionRecord {
    fn from(action: AcceptAction) -> Self {
        match action {
            AcceptAction::Pause => ActionRecord::Pause,
            AcceptAction::BackOff { first, last } => ActionRecord::BackOff { first, last },
            AcceptAction::Shed => ActionRecord::Shed,
            AcceptAction::GoOn => ActionRecord::GoOn,
            AcceptAction::Escalate => ActionRecord::Escalate,
            AcceptAction::Close => ActionRecord::Close,
        }
    }
}

impl From<ActionRecord> for AcceptAction {
    fn from(record: ActionRecord) -> Self {
        match record {
            ActionRecord::Pause => AcceptAction::Pause,
            ActionRecord::BackOff { first, last } => AcceptAction::BackOff { first, last },
            ActionRecord::Shed => AcceptAction::Shed,
            ActionRecord::GoOn => AcceptAction::GoOn,
            ActionRecord::Escalate => AcceptAction::Escalate,
            ActionRecord::Close => AcceptAction::Close,
        }
    }
}

impl From<Limits> for LimitsRecord {
    fn from(limits: Limits) -> Self {
        let limit = |limit: Limit| LimitRecord {
            most: limit.most,
            then: limit.then.into(),
        };
        LimitsRecord {
            connections: limits.connections.map(limit),
            per_peer: limits.per_peer.map(limit),
            rate: limits.rate.map(|rate| RateRecord {
                most: rate.most,
                per: rate.per,
                then: rate.then.into(),
            }),
        }
    }
}

impl From<LimitsRecord> for Limits {
    fn from(record: LimitsRecord) -> Self {
        let limit = |record: LimitRecord| Limit {
            most: record.most,
            then: record.then.into(),
        };
        Limits {
            connections: record.connections.map(limit),
            per_peer: record.per_peer.map(limit),
            rate: record.rate.map(|rate| RateLimit {
                most: rate.most,
                per: rate.per,
                then: rate.then.into(),
            }),
        }
    }
}

impl From<AtLimit> for AtLimitRecord {
    fn from(then: AtLimit) -> Self {
        match then {
            AtLimit::Queue => AtLimitRecord::Queue,
            AtLimit::Close => AtLimitRecord::Close,
            AtLimit::Reset => AtLimitRecord::Reset,
        }
    }
}

impl From<AtLimitRecord> for AtLimit {
    fn from(record: AtLimitRecord) -> Self {
        match record {
            AtLimitRecord::Queue => AtLimit::Queue,
            AtLimitRecord::Close => AtLimit::Close,
            AtLimitRecord::Reset => AtLimit::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of a server socket with this besides.
    fn read(settings: &str) -> Result<Settings, Error> {
        let record = format!(
            r#"{{"app":"a","id":1,"name":null,"paused":false,"accept_error":null,"unreported_error":null,
            "unreported_errno":null,"encrypts":false,"suspended":false{settings}}}"#
        );
        Settings::read(&serde_json::from_str(&record).expect("a record"))
    }

    #[test]
    fn what_an_older_process_has_left_has_the_defaults() {
        let settings = read("").expect("it is whole");
        assert_eq!(settings.policy, AcceptPolicy::default());
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.timeouts, Timeouts::default());
    }

    #[test]
    fn what_could_not_be_set_here_is_not_taken_over() {
        let zero = r#"{"secs":0,"nanos":0}"#;
        for bad in [
            r#","policy":{"connection":"Shed","resources":"Pause","listener":"Pause"}"#,
            r#","policy":{"connection":"Pause","resources":"GoOn","listener":"Pause"}"#,
            r#","limits":{"connections":{"most":0,"then":"Queue"}}"#,
            r#","limits":{"per_peer":{"most":1,"then":"Queue"}}"#,
            &format!(r#","limits":{{"rate":{{"most":1,"per":{zero},"then":"Close"}}}}"#),
            &format!(r#","timeouts":{{"claim":{zero}}}"#),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let good = r#","limits":{"connections":{"most":1,"then":"Queue"}}"#;
        assert_eq!(
            read(good).map(|it| it.limits.connections.is_some()),
            Ok(true)
        );
    }
}
