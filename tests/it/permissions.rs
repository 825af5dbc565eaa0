//! Permissions of apps: parsing of manifests, and enforcement.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod changing;
mod denied;
mod hosts;
mod manifests;
mod patterns;
mod properties;
