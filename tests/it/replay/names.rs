//! Ids and ports differ between runs: a recording uses names for them.

use std::collections::HashMap;

use serde_json::Value;

use super::step::Step;

/// The kind of a number. The ids of each namespace count from 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Server,
    Client,
    Udp,
    Port,
}

impl Kind {
    /// The kind of an answer's field, if it has a name; `ids` is the kind of `socketId`.
    fn of_field(field: &str, ids: Kind) -> Option<Kind> {
        match field {
            "socketId" => Some(ids),
            "clientSocketId" => Some(Kind::Client),
            "localPort" | "peerPort" | "remotePort" | "from" => Some(Kind::Port),
            _ => None,
        }
    }
}

/// Numbers by name, and names by number.
#[derive(Default)]
pub struct Names {
    numbers: HashMap<String, u64>,
    names: HashMap<(Kind, u64), String>,
    accepted: usize,
}

impl Names {
    pub fn bind(&mut self, kind: Kind, name: &str, number: u64) {
        let name = format!("${name}");
        self.numbers.insert(name.clone(), number);
        self.names.insert((kind, number), name);
    }

    /// Accepted clients are `$c1`, `$c2` and so on.
    pub fn bind_accepted(&mut self, client: u64) {
        self.accepted += 1;
        self.bind(Kind::Client, &format!("c{}", self.accepted), client);
    }

    /// Binds a step's `bind`: a name for each of these fields. The comparison reports fields
    /// that are not in the result.
    pub fn bind_fields(&mut self, step: &Step<'_>, bind: &Value, ids: Kind, result: &Value) {
        for (name, field) in step.object(bind) {
            let field = step.string(field);
            let Some(kind) = Kind::of_field(field, ids) else {
                step.fail(format_args!("what {field} holds is not known here"));
            };
            if let Some(number) = result[field].as_u64() {
                self.bind(kind, name, number);
            }
        }
    }

    /// The number that an argument names; any other argument unchanged.
    pub fn resolve(&self, step: &Step<'_>, argument: &Value) -> Value {
        match argument.as_str().filter(|text| text.starts_with('$')) {
            None => argument.clone(),
            Some(name) => match self.numbers.get(name) {
                Some(number) => (*number).into(),
                None => step.fail(format_args!("nothing is named {name}")),
            },
        }
    }

    /// Replaces ids and ports in an answer by their names. A port without a name is any port; an
    /// id without one stays a number, which no recording expects.
    pub fn show(&self, ids: Kind, value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| self.show(ids, value)),
            Value::Object(fields) => {
                for (field, value) in fields {
                    match (Kind::of_field(field, ids), value.as_u64()) {
                        (Some(kind), Some(number)) => self.show_number(kind, number, value),
                        _ => self.show(ids, value),
                    }
                }
            }
            _ => {}
        }
    }

    fn show_number(&self, kind: Kind, number: u64, value: &mut Value) {
        match self.names.get(&(kind, number)) {
            Some(name) => *value = name.as_str().into(),
            None if kind == Kind::Port && number > 0 => *value = "<port>".into(),
            None => {}
        }
    }
}
