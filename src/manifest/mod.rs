//! The permissions of an app: the `sockets` key of its Chrome manifest, and `system.network` in the
//! key `permissions`.
//!
//! ```json
//! {
//!   "sockets": {
//!     "tcpServer": { "listen": ["127.0.0.1:*", "[::1]:8080"] },
//!     "tcp": { "connect": "*.example.com:443" },
//!     "udp": { "bind": "", "send": "", "multicastMembership": "" }
//!   },
//!   "permissions": ["system.network"]
//! }
//! ```
//!
//! All keys are optional, at each level. An operation without a key is not
//! permitted. A value is a [`Pattern`] or a list of patterns; the value of
//! `multicastMembership` is `""` or `[""]`, which permits every group. Comments
//! (`//` and `/* */`) are accepted. A key in `sockets` that Chrome does not know is
//! ignored with a [`ManifestWarning`]. A known key with an invalid value is a
//! [`ManifestError`].

mod api_permissions;
mod error;
mod host;
mod multicast;
mod object;
mod pattern;
mod patterns;
mod permissions;
mod read;

pub use error::{ManifestError, ManifestWarning};
pub(crate) use host::Host;
pub use pattern::{MAX_PATTERN, Pattern, PatternError};
pub use patterns::MAX_PATTERNS;
pub use permissions::Permissions;
pub use read::{MAX_MANIFEST, MAX_WARNINGS};
