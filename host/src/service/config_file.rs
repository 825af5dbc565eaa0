//! The configuration file: TOML, where each key is the long name of a flag. It is turned into
//! arguments of the command line, so a value means the same in both.

use std::any::TypeId;
use std::fmt::Display;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use toml::de::{DeTable, DeValue};

use crate::excerpt::for_log;

/// What the file says about one flag.
pub(super) struct Entry {
    /// The id of the flag.
    pub(super) id: String,
    /// The arguments that say the same. None if a switch is off by default and stays off.
    pub(super) arguments: Vec<String>,
}

/// The flags that name or check the file.
const ONLY_ON_COMMAND_LINE: [&str; 3] = ["config", "check-config", "help"];

/// The most errors that are reported.
const MAX_ERRORS: usize = 16;

/// Reads the text of a file. `command` has the flags; `path` is for the errors.
///
/// # Errors
/// A line for each error, with the path, the line and the key.
pub(super) fn read(command: &Command, path: &Path, text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let error = |start: usize, text: &dyn Display| {
        // The text may repeat parts of the file.
        let text = text.to_string();
        format!("{}:{}: {}", path.display(), start, for_log(&text))
    };
    let line = |at: usize| {
        text.as_bytes()
            .iter()
            .take(at)
            .filter(|c| **c == b'\n')
            .count()
            + 1
    };
    let table = DeTable::parse(text).map_err(|failed| {
        let at = failed.span().map_or(text.len(), |span| span.start);
        vec![error(line(at), &failed.message())]
    })?;
    let mut keys: Vec<_> = table.get_ref().iter().collect();
    // The table is ordered by name.
    keys.sort_by_key(|(key, _)| key.span().start);
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    for (key, value) in keys {
        match entry(command, key.get_ref(), value.get_ref()) {
            Ok(entry) => entries.push(entry),
            Err(what) => {
                let text = format!("{}: {what}", key.get_ref());
                errors.push(error(line(key.span().start), &text));
            }
        }
    }
    errors.truncate(MAX_ERRORS);
    match errors.is_empty() {
        true => Ok(entries),
        false => Err(errors),
    }
}

fn entry(command: &Command, key: &str, value: &DeValue<'_>) -> Result<Entry, String> {
    let flag = command
        .get_arguments()
        .find(|it| it.get_long() == Some(key));
    let flag = flag.ok_or("there is no such key")?;
    if ONLY_ON_COMMAND_LINE.contains(&key) {
        return Err("only the command line can have it".to_owned());
    }
    let values = match value {
        DeValue::Array(values) if matches!(flag.get_action(), ArgAction::Append) => values
            .iter()
            .map(|it| argument(flag, it.get_ref()))
            .collect(),
        value => argument(flag, value).map(|it| vec![it]),
    };
    let arguments = values?.into_iter().flatten();
    let arguments: Vec<_> = arguments.map(|value| format!("--{key}{value}")).collect();
    // Each value by itself, so that the error belongs to this key.
    let parsed = command.clone().try_get_matches_from(&arguments);
    parsed.map_err(|error| message(&error))?;
    Ok(Entry {
        id: flag.get_id().to_string(),
        arguments,
    })
}

/// What follows the name of the flag. `None` if the flag is left out.
fn argument(flag: &Arg, value: &DeValue<'_>) -> Result<Option<String>, String> {
    let is_switch = flag.get_value_parser().type_id() == TypeId::of::<bool>();
    let is_optional = flag
        .get_num_args()
        .is_some_and(|range| range.min_values() == 0);
    match value {
        DeValue::Boolean(value) if is_switch => Ok(Some(format!("={value}"))),
        DeValue::Boolean(value) if is_optional => Ok(value.then(String::new)),
        _ if is_switch => Err("true or false is expected".to_owned()),
        DeValue::String(text) => Ok(Some(format!("={text}"))),
        DeValue::Integer(number) => {
            let number = i128::from_str_radix(number.as_str(), number.radix());
            let number = number.map_err(|error| error.to_string())?;
            Ok(Some(format!("={number}")))
        }
        _ if matches!(flag.get_action(), ArgAction::Append) => {
            Err("a text, or a list of texts, is expected".to_owned())
        }
        _ => Err("a text or an integer is expected".to_owned()),
    }
}

/// The error of the command line in one line, without its advice.
pub(super) fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = text.find("\n\nUsage").or_else(|| text.find("\n\nFor more"));
    let text = &text[..end.unwrap_or(text.len())];
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}
