//! The command line of the program `chrome-sockets`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::install::{Install, Uninstall};
use crate::service::Options;

/// Lets web pages, extensions and Node open TCP sockets through chrome.sockets.
#[derive(Parser)]
#[command(name = "chrome-sockets", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Subcommand)]
pub enum Command {
    /// Serves pages and Node over WebSocket, and an admin page.
    Serve(Box<Options>),
    /// Serves one extension over native messaging. Browsers start this.
    NativeHost(NativeHost),
    /// Installs the native messaging host for extensions.
    Install(Install),
    /// Removes the native messaging host, or single extensions from it.
    Uninstall(Uninstall),
}

/// The options of `native-host`.
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
