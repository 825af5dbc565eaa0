//! What an app may do: the `sockets` key of its Chrome manifest.
//!
//! ```json
//! {
//!   "sockets": {
//!     "tcpServer": { "listen": ["127.0.0.1:*", "[::1]:8080"] },
//!     "tcp": { "connect": "*.example.com:443" },
//!     "udp": { "bind": "", "send": "", "multicastMembership": "" }
//!   }
//! }
//! ```
//!
//! Each key is optional, and so is each key inside; what is absent is not
//! permitted. A value is a [`Pattern`] or a list of them. `multicastMembership`
//! takes the empty text alone, or a list of it: it permits every group.
//!
//! As in Chrome, comments are no errors, nor are keys that are not known: those
//! are ignored, with a [`ManifestWarning`].

mod comments;
mod error;
mod host;
mod object;
mod pattern;
mod patterns;
mod permissions;
mod warning;

pub use error::{MAX_MANIFEST, ManifestError};
pub use pattern::{MAX_PATTERN, Pattern, PatternError};
pub use patterns::MAX_PATTERNS;
pub use permissions::Permissions;
pub use warning::{MAX_WARNINGS, ManifestWarning};

pub(crate) use host::Host;
