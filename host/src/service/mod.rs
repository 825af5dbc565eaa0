//! The gateway as a service: its options, its configuration file and its log.

mod config_file;
mod limit_options;
mod log_format;
mod options;

pub use limit_options::LimitOptions;
pub use log_format::LogFormat;
pub use options::{Options, OptionsError};
