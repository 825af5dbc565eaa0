//! The log on standard error: text for people, or a JSON object a line for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::ValueEnum;
use env_logger::Logger;
use env_logger::fmt::Formatter;
use log::{Level, Log, Metadata, Record};
use serde_json::json;

/// The format of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line, with time, level, target and message.
    Json,
}

/// The most characters of a message. Texts of clients are much shorter already.
const MAX_MESSAGE: usize = 4096;

/// The levels without `RUST_LOG`.
const DEFAULT_FILTER: &str = "warn,chrome_sockets=info";

impl LogFormat {
    /// Starts the log. `RUST_LOG` sets its levels. Does nothing if the process has a log already.
    pub fn start(self) {
        let filter = env_logger::Env::default().default_filter_or(DEFAULT_FILTER);
        let mut builder = env_logger::Builder::from_env(filter);
        if self == LogFormat::Json {
            builder.format(write_json);
        }
        let logger = WithoutFrames(builder.build());
        let level = logger.0.filter();
        // An error means that there is a log.
        if log::set_boxed_logger(Box::new(logger)).is_ok() {
            log::set_max_level(level);
        }
    }
}

/// A log without the traces of the WebSocket library, which have whole frames, and so tokens and
/// the private keys of `setTls`.
struct WithoutFrames(Logger);

impl WithoutFrames {
    fn has_frames(metadata: &Metadata<'_>) -> bool {
        let library = metadata.target().split("::").next();
        metadata.level() == Level::Trace
            && matches!(library, Some("tungstenite" | "tokio_tungstenite"))
    }
}

impl Log for WithoutFrames {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !Self::has_frames(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !Self::has_frames(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn write_json(output: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = output.timestamp_millis().to_string();
    let target = record.target();
    let line = json_line(
        &time,
        record.level().as_str(),
        target,
        &record.args().to_string(),
    );
    writeln!(output, "{line}")
}

/// One line. Everything but printable characters is escaped, because the message may contain text
/// of clients, and a terminal may interpret it.
fn json_line(time: &str, level: &str, target: &str, message: &str) -> String {
    let mut cut: String = message.chars().take(MAX_MESSAGE).collect();
    if cut.len() < message.len() {
        cut.push('…');
    }
    let line = json!({ "time": time, "level": level, "target": target, "message": cut });
    let line = line.to_string();
    if line.chars().all(is_printable) {
        return line;
    }
    let mut escaped = String::with_capacity(line.len());
    for c in line.chars() {
        match is_printable(c) {
            true => escaped.push(c),
            // Such a character stands in a string: the rest of JSON is ASCII.
            false => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
    }
    escaped
}

fn is_printable(c: char) -> bool {
    // `escape_debug` escapes what Unicode has as controls, formats and spaces, and these marks.
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().count() == 1
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_line_is_json_of_printable_characters_however_hostile_the_message() {
        for message in [
            "plain",
            "say \"x\" \\ 'y'",
            "two\nlines\r\n\t\0",
            "\u{1b}[2J\u{7f}\u{9b}31m",
            "\u{202e}\u{2066}\u{feff}\u{2028}\u{200b}",
            "ä 日本 😀 \u{e0041}",
            "}\n{\"level\":\"ERROR\"}",
        ] {
            let line = json_line("2026-01-01T00:00:00.000Z", "INFO", "a::b", message);
            assert!(line.chars().all(is_printable), "{line:?}");
            assert_eq!(line.lines().count(), 1, "{line:?}");
            let parsed: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(parsed["message"], message);
            assert_eq!(parsed["level"], "INFO");
            assert_eq!(parsed["target"], "a::b");
            assert_eq!(parsed.as_object().map(|it| it.len()), Some(4));
        }
    }

    #[test]
    fn a_message_is_cut() {
        let line = json_line("t", "INFO", "a", &"\u{1b}".repeat(1 << 20));
        assert!(line.len() < 7 * MAX_MESSAGE, "{} bytes", line.len());
        let parsed: Value = serde_json::from_str(&line).expect("JSON");
        let message = parsed["message"].as_str().expect("a text");
        assert_eq!(message.chars().count(), MAX_MESSAGE + 1);
    }
}
