//! Reads manifest files: regular files alone, with a limit on their size, and
//! away from the event loop with a limit on the time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits::{MANIFEST_READERS, MANIFEST_TIME};
use chrome_sockets::manifest::{MAX_MANIFEST, Permissions};

/// How many broken manifests one error lists.
const LISTED: usize = 8;

/// How many warnings are told of all manifests.
const WARNINGS: usize = 64;

/// Runs jobs that read files in threads of their own: a file system that hangs
/// holds up a few threads, and neither the event loop nor the end of the process.
pub(crate) struct FileReader {
    /// Each running job has a copy.
    running: Arc<()>,
    time: Duration,
}

impl FileReader {
    pub(crate) fn new() -> Self {
        FileReader {
            running: Arc::default(),
            time: MANIFEST_TIME,
        }
    }

    /// What the job returns.
    ///
    /// # Errors
    /// `TimedOut` if that takes too long, `ResourceBusy` while too many other jobs
    /// hang; else the OS has no thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        // One is the reader's own.
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
                // Before the result, so that the next job finds the place free.
                drop(running);
                // The client may have left meanwhile.
                let _ = done.send(value);
            })?;
        match timeout(self.time, result).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(io::Error::other("reading it failed")),
            Err(_) => Err(too_slow(self.time)),
        }
    }
}

fn too_slow(time: Duration) -> io::Error {
    let what = format!("it could not be read within {} seconds", time.as_secs());
    io::Error::new(ErrorKind::TimedOut, what)
}

/// Reads a regular file that is no longer than a manifest may be.
///
/// # Errors
/// `InvalidInput` if it is something else, `InvalidData` if it is too long or no
/// UTF-8; else what the OS says.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    // Opening some devices does something already, so the question comes first.
    expect_file(&fs::metadata(path)?)?;
    // What has replaced it meanwhile is not waited for: a FIFO without a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    expect_file(&file.metadata()?)?;
    read_up_to(&file, MAX_MANIFEST)
}

fn expect_file(metadata: &fs::Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
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
    let what = format!("it is {what}, and a manifest is a regular file");
    Err(io::Error::new(ErrorKind::InvalidInput, what))
}

fn read_up_to(file: &File, most: usize) -> io::Result<String> {
    let mut text = String::new();
    // The size that a file system tells may be wrong.
    file.take(most as u64 + 1).read_to_string(&mut text)?;
    if text.len() > most {
        let what = format!("it is longer than {most} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    Ok(text)
}

/// Reads every manifest at this path, a file or a folder with `APP.json` for each
/// app, and checks it. It returns the warnings, each with its file's path.
///
/// # Errors
/// `InvalidInput`: a line for each file that cannot be used, with its path and the
/// place in it.
pub(crate) fn check(path: &Path) -> io::Result<Vec<String>> {
    let (done, result) = mpsc::channel();
    let (time, checked) = (MANIFEST_TIME, path.to_owned());
    thread::Builder::new().spawn(move || {
        // It may have been given up.
        let _ = done.send(check_all(&checked));
    })?;
    result
        .recv_timeout(time)
        .unwrap_or_else(|_| Err(vec![about(path, too_slow(time))]))
        .map_err(|wrong| io::Error::new(ErrorKind::InvalidInput, wrong.join("\n")))
}

fn about(path: &Path, what: impl std::fmt::Display) -> String {
    format!("{}: {what}", path.display())
}

/// The warnings; or what is wrong.
fn check_all(path: &Path) -> Result<Vec<String>, Vec<String>> {
    let files = files(path).map_err(|error| vec![about(path, error)])?;
    let (mut wrong, mut warnings) = (Vec::new(), Vec::new());
    for path in &files {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => {
                wrong.push(about(path, error));
                continue;
            }
        };
        match Permissions::from_manifest_with_warnings(&text) {
            Ok((_, found)) => warnings.extend(found.iter().map(|found| about(path, found))),
            Err(error) => wrong.push(about(path, error)),
        }
        if wrong.len() >= LISTED {
            break;
        }
        warnings.truncate(WARNINGS);
    }
    match wrong.is_empty() {
        true => Ok(warnings),
        false => Err(wrong),
    }
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| {
            // Such names are no app's: an editor's copies, for instance.
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
