//! What was answered as sent arrives, however the connection is ended.

mod bounds;
mod foreign_peers;
mod other_endings;
mod progress;
