//! Reads what callgrind writes: instructions, locked instructions and allocations.
//!
//! With `--collect-bus=yes` callgrind counts besides the instructions (`Ir`) those that lock the
//! bus (`Ge`): those with the prefix `lock`, and `xchg` with memory. With
//! `--compress-pos=no` the lines of costs begin with a number.

use std::collections::HashMap;

use super::instructions::Counts;

/// The functions that allocate.
const ALLOCATE: [&str; 6] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
];

/// What a process did, from start to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    pub instructions: u64,
    /// Those that lock the bus, in the program itself, which contains all its crates.
    pub locked: u64,
    /// Those in libraries of the system. glibc locks in its allocator, and in system calls that
    /// can be cancelled.
    pub locked_in_libraries: u64,
    /// Calls of functions that allocate.
    pub allocations: u64,
    /// Instructions of `memset`, which zeroes what is allocated so. Each byte that
    /// `rep stosb` writes counts as one.
    pub zeroing: u64,
}

/// The names of functions: written once in full, and as a number from then on.
#[derive(Default)]
struct Names<'a>(HashMap<&'a str, &'a str>);

impl<'a> Names<'a> {
    fn read(&mut self, written: &'a str) -> &'a str {
        match written.split_once(' ') {
            Some((number, name)) => {
                self.0.insert(number, name);
                name
            }
            None => self.0.get(written).copied().unwrap_or_default(),
        }
    }
}

/// The columns of the events in a line of costs.
#[derive(Clone, Copy)]
struct Columns {
    instructions: usize,
    locked: usize,
}

impl Columns {
    fn of(events: &str) -> Result<Self, String> {
        let column = |name: &str| {
            let mut names = events.split_whitespace();
            let at = names.position(|event| event == name);
            at.ok_or(format!("no event {name}: {events:?}"))
        };
        Ok(Columns {
            instructions: column("Ir")?,
            locked: column("Ge")?,
        })
    }

    /// Instructions and locked ones. Zeros at the end of a line are not written.
    fn read(self, costs: &str) -> (u64, u64) {
        let cost = |column: usize| {
            let cost = costs.split_whitespace().nth(column);
            cost.and_then(|cost| cost.parse().ok()).unwrap_or_default()
        };
        (cost(self.instructions), cost(self.locked))
    }
}

fn allocates(function: &str) -> bool {
    ALLOCATE.contains(&function)
}

/// It has several names, by processor (`__memset_avx2_unaligned_erms`).
fn zeroes(function: &str) -> bool {
    function.contains("memset")
}

impl Profile {
    /// Reads a file of `--callgrind-out-file`.
    ///
    /// # Errors
    /// It has no counts of instructions and of locked ones.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut profile = Profile::default();
        let mut events = None;
        let mut has_totals = false;
        // It begins with the path of the program.
        let mut command = "";
        let mut objects = Names::default();
        let mut in_program = false;
        let mut names = Names::default();
        let (mut function, mut callee) = ("", "");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(written) = line.strip_prefix("cmd: ") {
                command = written.trim_start();
            } else if let Some(written) = line.strip_prefix("events: ") {
                events = Some(Columns::of(written)?);
            } else if let Some(written) = line.strip_prefix("totals: ") {
                let columns = events.ok_or("totals before the events")?;
                let (instructions, locked) = columns.read(written);
                profile.instructions = instructions;
                profile.locked_in_libraries = locked.saturating_sub(profile.locked);
                has_totals = true;
            } else if let Some(written) = line.strip_prefix("ob=") {
                let object = objects.read(written);
                in_program = !object.is_empty() && command.starts_with(object);
            } else if let Some(written) = line.strip_prefix("cob=") {
                objects.read(written);
            } else if let Some(written) = line.strip_prefix("fn=") {
                function = names.read(written);
            } else if let Some(written) = line.strip_prefix("cfn=") {
                callee = names.read(written);
            } else if let Some(written) = line.strip_prefix("calls=") {
                let count = written.split_whitespace().next();
                let count = count.and_then(|count| count.parse::<u64>().ok());
                let count = count.ok_or(format!("no number of calls: {line:?}"))?;
                // One of these functions may call another.
                if allocates(callee) && !allocates(function) {
                    profile.allocations += count;
                }
                // The cost of what was called, which is counted there.
                lines.next();
            } else if line.starts_with(|first: char| first.is_ascii_digit()) {
                let columns = events.ok_or("costs before the events")?;
                let costs = line.split_once(' ').map_or("", |(_, costs)| costs);
                let (instructions, locked) = columns.read(costs);
                if in_program {
                    profile.locked += locked;
                }
                if zeroes(function) {
                    profile.zeroing += instructions;
                }
            }
        }
        match has_totals {
            true => Ok(profile),
            false => Err("no totals".to_owned()),
        }
    }

    /// The counts of one operation: what `more` did and this did not, for each operation that it
    /// did more.
    pub fn per_operation(self, more: Profile, operations: u64) -> Counts {
        let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / operations as f64;
        Counts {
            instructions: each(self.instructions, more.instructions),
            locked: each(self.locked, more.locked),
            locked_in_libraries: each(self.locked_in_libraries, more.locked_in_libraries),
            allocations: each(self.allocations, more.allocations),
            zeroing: each(self.zeroing, more.zeroing),
        }
    }
}
