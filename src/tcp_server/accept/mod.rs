//! The accept loop, shared ports, and accept errors.

pub(super) mod accept_loop;
pub(super) mod accepted_ahead;
pub(super) mod direct_accepts;
pub(super) mod error_actions;
pub(super) mod error_state;
pub(super) mod escalation;
pub(super) mod failure;
pub(super) mod new_clients;
pub(super) mod policy;
pub(super) mod setup_tasks;
pub(super) mod shared_port;
