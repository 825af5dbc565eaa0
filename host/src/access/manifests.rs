//! Reads manifest files: only regular files of limited size, outside the event loop, with a
//! timeout.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use chrome_sockets::manifest::{MAX_MANIFEST, Permissions};
use rustix::fs::OFlags;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits::{MANIFEST_READERS, MANIFEST_TIMEOUT};

/// The most invalid manifests that one error lists.
const MAX_ERRORS: usize = 8;

/// The most warnings about all manifests.
const MAX_WARNINGS: usize = 64;

/// Runs jobs that read files, each in its own thread. A file system that hangs then blocks a few
/// threads, but neither the event loop nor the end of the process.
pub(crate) struct FileReader {
    /// Each running job holds a clone.
    running: Arc<()>,
    timeout: Duration,
}

impl FileReader {
    pub(crate) fn new() -> Self {
        FileReader {
            running: Arc::default(),
            timeout: MANIFEST_TIMEOUT,
        }
    }

    /// Returns what the job returns.
    ///
    /// # Errors
    /// `TimedOut` if the job takes longer than the timeout, `ResourceBusy` while too many other
    /// jobs run; any other error if the OS cannot start a thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        // The reader itself holds one clone.
        if Arc::strong_count(&self.running) > MANIFEST_READERS {
            let what = "too many reads of manifest files hang";
            return Err(io::Error::new(ErrorKind::ResourceBusy, what));
        }
        let (done, result) = oneshot::channel();
        let running = self.running.clone();
        thread::Builder::new()
            .name("manifest".to_owned())
            .spawn(move || {
                let value = job();
                // Before the result, so that the caller can start its next job.
                drop(running);
                // The client may have disconnected meanwhile.
                let _ = done.send(value);
            })?;
        match timeout(self.timeout, result).await {
            Ok(Ok(value)) => Ok(value),
            // The job panicked.
            Ok(Err(_)) => Err(io::Error::other("reading it failed")),
            Err(_) => Err(timed_out(self.timeout)),
        }
    }
}

fn timed_out(timeout: Duration) -> io::Error {
    let text = format!("reading it took more than {} seconds", timeout.as_secs());
    io::Error::new(ErrorKind::TimedOut, text)
}

/// Reads a regular file of at most [`MAX_MANIFEST`] bytes.
///
/// # Errors
/// `InvalidInput` if it is not a regular file, `InvalidData` if it is too long or not UTF-8;
/// otherwise the OS error.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    // Opening a device may have an effect, so check before opening.
    check_regular(&fs::metadata(path)?)?;
    // The file may have been replaced meanwhile: opening a FIFO without `NONBLOCK` waits for a
    // writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    check_regular(&file.metadata()?)?;
    let mut text = String::new();
    // The file system may report a wrong size, so the limit is on what is read.
    file.take(MAX_MANIFEST as u64 + 1)
        .read_to_string(&mut text)?;
    if text.len() > MAX_MANIFEST {
        let error = format!("it is longer than {MAX_MANIFEST} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, error));
    }
    Ok(text)
}

fn check_regular(metadata: &fs::Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let found = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let text = format!("it is {found}, not a regular file");
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

/// Reads and checks every manifest at this path, which is a file or a folder with `APP.json` for
/// each app. Returns the warnings, each with its file's path.
///
/// # Errors
/// `InvalidInput`, with a line for each invalid file: its path and the position in it.
pub(crate) fn check(path: &Path) -> io::Result<Vec<String>> {
    let (done, result) = mpsc::channel();
    let checked = path.to_owned();
    thread::Builder::new().spawn(move || {
        // The timeout below may be over.
        let _ = done.send(check_all(&checked));
    })?;
    result
        .recv_timeout(MANIFEST_TIMEOUT)
        .unwrap_or_else(|_| Err(vec![with_path(path, timed_out(MANIFEST_TIMEOUT))]))
        .map_err(|errors| io::Error::new(ErrorKind::InvalidInput, errors.join("\n")))
}

fn with_path(path: &Path, text: impl std::fmt::Display) -> String {
    format!("{}: {text}", path.display())
}

/// Returns the warnings, or the errors.
fn check_all(path: &Path) -> Result<Vec<String>, Vec<String>> {
    let files = manifest_files(path).map_err(|error| vec![with_path(path, error)])?;
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for path in &files {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => {
                errors.push(with_path(path, error));
                continue;
            }
        };
        match Permissions::from_manifest_with_warnings(&text) {
            Ok((_, found)) => warnings.extend(found.iter().map(|found| with_path(path, found))),
            Err(error) => errors.push(with_path(path, error)),
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
        warnings.truncate(MAX_WARNINGS);
    }
    match errors.is_empty() {
        true => Ok(warnings),
        false => Err(errors),
    }
}

fn manifest_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| {
            // App ids do not start with a dot; an editor's backup files do.
            name.as_encoded_bytes().starts_with(b".")
        });
        if !is_hidden && path.extension().is_some_and(|kind| kind == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
