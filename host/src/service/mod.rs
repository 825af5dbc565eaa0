//! The gateway as a service: its options, its configuration file, its log, its signals, and what it
//! tells monitoring.

mod config_file;
mod exporter;
mod limit_options;
mod log_format;
mod monitor;
mod options;
mod run;

pub use limit_options::LimitOptions;
pub use log_format::LogFormat;
pub use options::{Options, OptionsError};
pub use run::{end_signal, registry, serve};
