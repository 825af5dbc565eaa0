//! What was answered as sent arrives, however the connection ends.

mod bounds;
pub mod foreign_peers;
mod other_endings;
