//! What an app may do: what a manifest says, and that it is kept to.
#![expect(clippy::panic, reason = "this is how a test fails")]

mod changing;
mod denied;
mod hosts;
mod manifests;
mod patterns;
mod properties;
