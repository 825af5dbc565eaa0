//! Permissions of apps: parsing of manifests, and enforcement.
#![expect(clippy::panic, reason = "this is how a test fails")]

mod changing;
mod denied;
mod hosts;
mod manifests;
mod patterns;
mod properties;
