//! Who may connect, as which app, and what that app may do.

pub(crate) mod admin_key;
pub(crate) mod manifests;
pub(crate) mod origins;
pub(crate) mod peers;
pub(crate) mod policy;
pub(crate) mod request_head;
pub(crate) mod secrets;
pub(crate) mod wrong_tokens;
