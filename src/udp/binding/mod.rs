//! What one socket does: binds, receives, sends, joins groups.

pub(super) mod destination;
pub(super) mod groups;
pub(super) mod read;
pub(super) mod redelivery;
pub(super) mod state;
pub(super) mod write;
