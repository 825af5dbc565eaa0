//! What was answered as sent arrives, however the connection is ended.

mod bounds;
mod endings;
mod outside;
mod progress;
