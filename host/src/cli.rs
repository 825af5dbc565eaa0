//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrome_sockets_host::Origins;
use chrome_sockets_host::install::{Install, Uninstall};
use clap::{Args, Parser, Subcommand};

/// Lets web pages, extensions and Node open TCP sockets through chrome.sockets.
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serves pages and Node over WebSocket, and an admin page.
    Serve(Serve),
    /// Serves one extension over native messaging. Browsers start this.
    NativeHost(NativeHost),
    /// Installs the native messaging host for extensions.
    Install(Install),
    /// Removes the native messaging host, or single extensions from it.
    Uninstall(Uninstall),
}

#[derive(Args)]
pub struct Serve {
    /// The address to listen on. Port 0 picks a free port. An address that other machines can
    /// reach needs a token.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,

    /// What clients may do: a manifest.json for all of them, or a folder with APP.json
    /// for each app. Without it they may neither listen nor connect.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: accept the manifests that clients send.
    #[arg(long)]
    pub dev: bool,

    /// An origin whose pages may connect, such as https://example.com or chrome-extension://ID.
    /// https://example.com=app-a,app-b restricts them to these apps. Can be repeated.
    #[arg(long, value_name = "ORIGIN[=APP,...]")]
    pub origin: Vec<Origins>,

    /// Let every page connect that shows the token.
    #[arg(long, requires = "token")]
    pub any_origin: bool,

    /// The send data that all apps together may queue, in MiB. Each client can always queue 1 MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub send_budget: usize,

    /// The token that every client must show. Other users of this machine can read command
    /// lines, so prefer the environment variable.
    #[arg(long, env = "CHROME_SOCKETS_TOKEN", hide_env_values = true)]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub token: Option<String>,
}

#[derive(Args)]
pub struct NativeHost {
    /// What the extension may do: a manifest.json, or a folder with EXTENSION.json for each.
    /// Without it the extension may neither listen nor connect.
    #[arg(long, value_name = "FILE|DIR")]
    pub manifest: Option<PathBuf>,

    /// For development: accept the manifest that the extension sends.
    #[arg(long)]
    pub dev: bool,

    /// The file with the permissions that install wrote, instead of --manifest and --dev.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["manifest", "dev"])]
    pub installed: Option<PathBuf>,

    /// The arguments of the browser.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub caller: Vec<String>,
}
