//! One step of a recording, and its failures.

use std::fmt::{Display, Formatter, Result};

use serde_json::{Map, Value};

/// How much of a wrong answer is shown.
const SHOWN: usize = 1000;

/// A step, and its position.
#[derive(Clone)]
pub struct Step<'a> {
    recording: &'a str,
    number: usize,
    pub json: &'a Value,
}

impl<'a> Step<'a> {
    pub fn new(recording: &'a str, number: usize, json: &'a Value) -> Self {
        Step {
            recording,
            number,
            json,
        }
    }

    /// Fails with everything that is needed to find the step.
    #[track_caller]
    #[expect(clippy::panic, reason = "tests fail by panics")]
    pub fn fail(&self, why: impl Display) -> ! {
        panic!("{self}: {why}")
    }

    /// Fails if the step has unknown fields, which would be ignored.
    pub fn reject_other_fields(&self, known: &[&str]) {
        for field in self
            .json
            .as_object()
            .into_iter()
            .flat_map(|step| step.keys())
        {
            if !known.contains(&field.as_str()) {
                self.fail(format_args!("{field:?} is not known here"));
            }
        }
    }

    /// The expected answer: the documented one where Chromium differs.
    pub fn expected(&self) -> &'a Value {
        let documented = self.json.get("documented");
        match documented.or_else(|| self.json.get("chrome")) {
            Some(expected) => expected,
            None => self.fail("no answer was recorded"),
        }
    }

    pub fn compare(&self, received: &Value) {
        let expected = self.expected();
        if !agrees(expected, received) {
            let received: String = received.to_string().chars().take(SHOWN).collect();
            self.fail(format_args!("\nexpected {expected}\n     got {received}"));
        }
    }

    /// Whether a port that the recording fixes is in use unexpectedly: another process may replay
    /// the same recording now.
    pub fn is_held_elsewhere(&self, received: &Value) -> bool {
        received["lastError"] == "net::ERR_ADDRESS_IN_USE" && !agrees(self.expected(), received)
    }

    /// A text field of the step.
    pub fn text(&self, field: &str) -> &'a str {
        self.string(&self.json[field])
    }

    pub fn string<'v>(&self, value: &'v Value) -> &'v str {
        self.known(value, "text", value.as_str())
    }

    pub fn object<'v>(&self, value: &'v Value) -> &'v Map<String, Value> {
        self.known(value, "an object", value.as_object())
    }

    pub fn flag(&self, value: &Value) -> bool {
        self.known(value, "true or false", value.as_bool())
    }

    pub fn id(&self, value: &Value) -> u64 {
        self.known(value, "an id", value.as_u64())
    }

    pub fn int(&self, value: &Value) -> i32 {
        let number = value.as_i64().and_then(|number| number.try_into().ok());
        self.known(value, "a number of 32 bits", number)
    }

    pub fn port(&self, value: &Value) -> u16 {
        let port = value.as_u64().and_then(|number| number.try_into().ok());
        self.known(value, "a port", port)
    }

    /// Data to send: text, `{bytes}`, or `{fill}`, which is that many `x`.
    pub fn data(&self, value: &Value) -> Vec<u8> {
        match value.get("fill") {
            Some(count) => vec![b'x'; self.int(count).max(0) as usize],
            None => self.bytes(self.string(value.get("bytes").unwrap_or(value))),
        }
    }

    /// Binary data, written as one character per byte.
    fn bytes(&self, text: &str) -> Vec<u8> {
        let bytes: Option<_> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        self.known(&text.into(), "binary data", bytes)
    }

    fn known<T>(&self, value: &Value, what: &str, read: Option<T>) -> T {
        match read {
            Some(read) => read,
            None => self.fail(format_args!("{value} is not {what}")),
        }
    }
}

impl Display for Step<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Step {
            recording,
            number,
            json,
        } = self;
        write!(f, "{recording}, step {number}, {json}")
    }
}

/// Whether an answer is the expected one. A recording may have only the length of a peer's data.
pub fn agrees(expected: &Value, received: &Value) -> bool {
    match (&expected["got"]["length"], &received["got"]) {
        (Value::Number(length), Value::String(data)) => {
            length.as_u64() == Some(data.chars().count() as u64)
                && expected["state"] == received["state"]
        }
        _ => expected == received,
    }
}

/// Binary data as in the recordings, one character per byte.
pub fn binary(data: &[u8]) -> String {
    data.iter().copied().map(char::from).collect()
}
