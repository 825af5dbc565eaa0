//! What the owner of a host decides, and may change while it runs.

use crate::access::origins::Origins;
use crate::access::policy::Policy;
use crate::limits::Limits;

/// What a host does with its clients.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What clients may do, and how they authenticate.
    pub policy: Policy,
    /// The pages that may connect to a gateway.
    pub origins: Origins,
    /// The limits on clients.
    pub limits: Limits,
}
