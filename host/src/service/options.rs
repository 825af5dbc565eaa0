//! The options of `serve`, from the command line and a configuration file.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use chrome_sockets::proxy_protocol::{IpNetwork, MAX_NETWORKS};
use clap::builder::NonEmptyStringValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use derive_more::{Display, Error};

use crate::access::manifests;
use crate::access::origins::Origins;
use crate::access::policy::Policy;
use crate::service::config_file;
use crate::service::limit_options::LimitOptions;
use crate::service::log_format::LogFormat;
use crate::settings::Settings;

/// The options of `serve`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A configuration file in TOML, where each flag can stand under its long name, such as
    /// listen = "127.0.0.1:8787". The command line and the environment win over the file.
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    pub config: Option<PathBuf>,

    /// Check the command line, the configuration file and all manifests, and exit: with 0 if
    /// they are valid, else with 1 and what is wrong.
    #[arg(long, help_heading = "Service")]
    pub check_config: bool,

    /// The address to listen on. Port 0 picks a free port. An address that other machines can
    /// reach needs a token.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,

    /// What clients may do: a manifest.json for all of them, or a folder with APP.json
    /// for each app. Without it they may neither listen nor connect.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: accept the manifests that clients send.
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true"
    )]
    #[arg(num_args = 0..=1, require_equals = true, hide_default_value = true)]
    #[arg(hide_possible_values = true, action = clap::ArgAction::Set)]
    pub dev: bool,

    /// The origins whose pages may connect.
    #[arg(long, value_name = "ORIGIN[=APP,...]", help = ORIGIN_HELP)]
    pub origin: Vec<Origins>,

    /// Let every page connect that shows the token. Needs a token.
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true"
    )]
    #[arg(num_args = 0..=1, require_equals = true, hide_default_value = true)]
    #[arg(hide_possible_values = true, action = clap::ArgAction::Set)]
    pub any_origin: bool,

    /// The token that every client must show. Other users of this machine can read command
    /// lines, so prefer the environment variable.
    #[arg(long, env = "CHROME_SOCKETS_TOKEN", hide_env_values = true)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub token: Option<String>,

    /// Answer /healthz, /readyz and /metrics (for Prometheus) at this address; a port alone means
    /// 127.0.0.1, and no value means 127.0.0.1:9787.
    #[arg(long, value_name = "[ADDR:]PORT", num_args = 0..=1, default_missing_value = "9787")]
    #[arg(value_parser = metrics_address, help_heading = "Service")]
    pub metrics_listen: Option<SocketAddr>,

    /// How long SIGTERM waits for the connections of apps to end, in seconds. Then they are ended.
    /// A second SIGTERM, or Ctrl-C, ends them at once. 0 to 86400.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        help_heading = "Service"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub drain_deadline: u64,

    /// How long the host goes on accepting after SIGTERM, in seconds. /readyz answers 503 meanwhile,
    /// so that a load balancer stops sending connections before they are refused. 0 to 3600.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        help_heading = "Service"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub drain_delay: u64,

    /// Stop, as at Ctrl-C, when standard input ends. For a program that starts the host and keeps
    /// the other end of the pipe: the host ends with it, even if it is killed.
    #[arg(
        long,
        help_heading = "Service",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true"
    )]
    #[arg(num_args = 0..=1, require_equals = true, hide_default_value = true)]
    #[arg(hide_possible_values = true, action = clap::ArgAction::Set)]
    pub until_stdin_ends: bool,

    /// The format of the log on standard error.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    #[arg(help_heading = "Service")]
    pub log_format: LogFormat,

    /// A network of proxies in front of the gateway, such as 10.0.0.0/8 or ::1. Connections from
    /// it must begin with a PROXY header (version 1 or 2), and the client that it names counts for
    /// limits and stands in the log. Can be repeated.
    #[arg(long, value_name = "NETWORK", help_heading = "Proxies")]
    pub proxy_from: Vec<IpNetwork>,

    /// The same for the server sockets of apps: connections from this network must begin with a
    /// PROXY header, and apps see the client that it names. Can be repeated.
    #[arg(long, value_name = "NETWORK", help_heading = "Proxies")]
    pub apps_proxy_from: Vec<IpNetwork>,

    /// The limits on clients.
    #[command(flatten)]
    pub limits: LimitOptions,

    /// Warnings about the configuration file.
    #[arg(skip)]
    pub warnings: Vec<String>,
}

/// Not documentation, where URLs would be links.
const ORIGIN_HELP: &str = "An origin whose pages may connect, such as https://example.com or \
     chrome-extension://ID. https://example.com=app-a,app-b restricts them to these apps. Can be \
     repeated";

/// The permission of other users to read a file.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Why options are invalid.
#[derive(Debug, Display, Error)]
pub enum OptionsError {
    /// The command line is invalid, or asks for help.
    CommandLine(clap::Error),
    /// The configuration file is invalid, or options contradict each other: a line for each error.
    #[display("{_0}")]
    Invalid(#[error(not(source))] String),
}

impl Options {
    /// Reads the options from these arguments, without the name of a program, and from the
    /// configuration file that they name. Blocks while it reads the file.
    ///
    /// # Errors
    /// What is wrong, for people. Errors in the file name it, the line and the key.
    pub fn load(arguments: &[OsString]) -> Result<Self, OptionsError> {
        let command = Self::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.clone().try_get_matches_from(arguments);
        let mut matches = matches.map_err(OptionsError::CommandLine)?;
        let mut warnings = Vec::new();
        if let Some(path) = matches.get_one::<PathBuf>("config") {
            let file = file_arguments(&command, &matches, path, &mut warnings)?;
            let all = file.into_iter().map(OsString::from);
            let all = all.chain(arguments.iter().cloned());
            let merged = command.clone().try_get_matches_from(all);
            matches = merged.map_err(OptionsError::CommandLine)?;
        }
        let options = Self::from_arg_matches(&matches).map_err(OptionsError::CommandLine)?;
        let options = Options {
            warnings,
            ..options
        };
        options.check().map_err(OptionsError::Invalid)?;
        Ok(options)
    }

    /// How long a drain may take.
    pub(crate) fn drain_deadline(&self) -> Duration {
        Duration::from_secs(self.drain_deadline)
    }

    /// How long connections are accepted after the host has stopped being ready.
    pub(crate) fn drain_delay(&self) -> Duration {
        Duration::from_secs(self.drain_delay)
    }

    /// Reads and checks all manifests, and adds the warnings about them. Blocks for up to 5
    /// seconds.
    ///
    /// # Errors
    /// `InvalidInput`, with a line for each invalid file.
    pub fn check_manifests(&mut self) -> io::Result<()> {
        self.warnings.extend(self.settings().policy.check()?);
        Ok(())
    }

    /// Sets what cannot change at run time to the values of the running host. Returns the names of
    /// the flags that differed.
    pub(crate) fn keep_fixed(&mut self, running: &Options) -> Vec<&'static str> {
        let mut differ = Vec::new();
        macro_rules! keep {
            ($($name:literal $($field:ident).+;)*) => {
                $(if self.$($field).+ != running.$($field).+ {
                    differ.push($name);
                    self.$($field).+ = running.$($field).+;
                })*
            };
        }
        keep! {
            "listen" listen;
            "metrics-listen" metrics_listen;
            "log-format" log_format;
            "write-quota" limits.write_quota;
        }
        differ
    }

    /// Checks what depends on several options.
    fn check(&self) -> Result<(), String> {
        if self.any_origin && self.token.is_none() {
            return Err("any-origin needs a token, which pages must show".to_owned());
        }
        for (name, networks) in [
            ("proxy-from", &self.proxy_from),
            ("apps-proxy-from", &self.apps_proxy_from),
        ] {
            if networks.len() > MAX_NETWORKS {
                return Err(format!("{name} has more than {MAX_NETWORKS} networks"));
            }
        }
        let (clients, connections) = (self.limits.max_clients, self.limits.max_connections);
        if clients > connections {
            return Err(format!(
                "max-clients is {clients}, but max-connections only {connections}, and each client \
                 is a connection"
            ));
        }
        let policy = self.settings().policy;
        let checked = policy.check_address(self.listen);
        checked.map_err(|error| error.to_string())
    }

    /// What the host does with its clients.
    pub fn settings(&self) -> Settings {
        let mut origins = Origins::default();
        origins.extend(self.origin.iter().cloned());
        if self.any_origin {
            origins.allow_any();
        }
        Settings {
            policy: Policy {
                manifest: self.manifest.clone(),
                dev: self.dev,
                token: self.token.clone(),
            },
            origins,
            limits: self.limits.limits(),
            proxies: self.proxy_from.clone(),
            app_proxies: self.apps_proxy_from.clone(),
        }
    }
}

/// Parses an address, or a port of this machine.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let port = text
        .parse()
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let address = port.or_else(|_| text.parse());
    address.map_err(|_| "it is neither a port nor an address with a port".to_owned())
}

/// The arguments of a configuration file, without flags that the command line or the environment
/// has. Adds warnings about the file.
fn file_arguments(
    command: &Command,
    given: &ArgMatches,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, OptionsError> {
    let named = |error: io::Error| OptionsError::Invalid(format!("{}: {error}", path.display()));
    let text = manifests::read(path).map_err(named)?;
    let entries = config_file::read(command, path, &text);
    let entries = entries.map_err(|errors| OptionsError::Invalid(errors.join("\n")))?;
    let mode = fs::metadata(path).map_err(named)?.mode();
    if mode & READABLE_BY_OTHERS != 0 && entries.iter().any(|entry| entry.id == "token") {
        let text = "it contains the token, and every user of this machine can read it";
        warnings.push(format!("{}: {text}", path.display()));
    }
    let is_given = |id: &str| {
        let source = given.value_source(id);
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let entries = entries.into_iter().filter(|entry| !is_given(&entry.id));
    Ok(entries.flat_map(|entry| entry.arguments).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn load(arguments: &[&str]) -> Result<Options, OptionsError> {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        Options::load(&arguments)
    }

    #[test]
    fn metrics_are_for_this_machine_unless_an_address_is_given() {
        for (arguments, address) in [
            (&["--dev"][..], None),
            (&["--metrics-listen", "--dev"], Some("127.0.0.1:9787")),
            (&["--metrics-listen"], Some("127.0.0.1:9787")),
            (&["--metrics-listen", "9000"], Some("127.0.0.1:9000")),
            (&["--metrics-listen=[::]:9000"], Some("[::]:9000")),
        ] {
            let options = load(arguments).expect("valid options");
            let expected = address.map(|it| it.parse().expect("an address"));
            assert_eq!(options.metrics_listen, expected, "{arguments:?}");
        }
        for wrong in ["", "localhost", "127.0.0.1", "65536", "127.0.0.1:x"] {
            let flag = format!("--metrics-listen={wrong}");
            assert!(load(&[&flag]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn switches_can_be_switched_off() {
        for (arguments, is_dev) in [
            (&[][..], false),
            (&["--dev"], true),
            (&["--dev=true"], true),
            (&["--dev=false"], false),
        ] {
            let options = load(arguments).expect("valid options");
            assert_eq!(options.dev, is_dev, "{arguments:?}");
        }
        assert!(load(&["--dev", "false"]).is_err(), "it needs the sign");
    }

    #[test]
    fn the_default_limits_are_those_of_the_library() {
        let options = load(&[]).expect("valid options");
        assert_eq!(options.limits.limits(), Limits::default());
    }
}
