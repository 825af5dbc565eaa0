//! The rules of this repository that the compiler does not know.
#![expect(clippy::panic, reason = "this is how a test fails")]

mod circles;
mod cookbook;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `src`, lowest first: a file names nothing of a layer after
/// its own. `lib.rs` stands above them all.
const LAYERS: [&str; 28] = [
    "sync",
    "ids",
    "net_error",
    "invalid_argument",
    "address",
    "error",
    "telemetry",
    "answer",
    "name",
    "pending_pauses",
    "manifest",
    "os",
    "tls",
    "proxy_protocol",
    "handover_state",
    "events",
    "supervision",
    "app_activity",
    "draining",
    "connections",
    "tcp",
    "tcp_server",
    "udp",
    "registry",
    "app",
    "handover",
    "testing",
    "fuzzing",
];

/// What runs outside tests: the crate, and the host.
const PRODUCTION: [&str; 2] = ["src", "host/src"];

/// The manifest of each member that has dependencies to check: where its code is, and that of its tests.
const MEMBERS: [(&str, &[&str], &[&str]); 5] = [
    (".", &["src"], &["src", "examples"]),
    ("bench", &["bench"], &["bench/tests"]),
    ("cookbook", &["cookbook/src"], &["cookbook/tests"]),
    ("host", &["host/src"], &["host"]),
    ("tests", &["tests/support"], &["tests/it"]),
];

/// What opens a socket or asks a resolver, by whatever path it is named.
const SOCKETS: [&str; 11] = [
    "tokio::net",
    "socket2",
    "TcpListener",
    "TcpStream",
    "TcpSocket",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "ToSocketAddrs",
    "lookup_host",
    "getaddrinfo",
];

/// How long a file may be and still be read as a whole.
const LONGEST: usize = 600;

struct Source {
    /// Relative to the repository.
    folder: &'static str,
    /// Relative to the folder.
    path: PathBuf,
    text: String,
}

impl Source {
    /// Whether all of it is a test.
    fn is_test(&self) -> bool {
        let mut names = self.path.iter();
        names.any(|name| name == "tests" || name == "tests.rs")
    }

    fn layer(&self) -> String {
        let first = self.path.components().next().expect("a path");
        let first = Path::new(first.as_os_str()).with_extension("");
        first.to_string_lossy().into_owned()
    }

    /// What runs outside tests, each line in its place.
    fn production(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        without_tests(&split(&self.text).code)
    }
}

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file in a folder and those below.
fn sources(folder: &'static str) -> Vec<Source> {
    let top = root().join(folder);
    let mut unread = vec![top.clone()];
    let mut found = Vec::new();
    while let Some(path) = unread.pop() {
        for entry in fs::read_dir(&path).expect("it is a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                unread.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source {
                    folder,
                    text: read(&path),
                    path: path.strip_prefix(&top).expect("it is below").to_owned(),
                });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no Rust files");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A text in two: each part has the lines of the whole, with spaces where the
/// other part is. What stands inside literals is in neither.
struct Parts {
    code: String,
    comments: String,
}

fn split(text: &str) -> Parts {
    let mut parts = Parts {
        code: String::new(),
        comments: String::new(),
    };
    let mut rest = text;
    let mut previous = ' ';
    while let Some(first) = rest.chars().next() {
        let comment = comment_length(rest);
        let literal = if is_word(previous) {
            0
        } else {
            literal_length(rest)
        };
        let length = comment.max(literal).max(first.len_utf8());
        for c in rest[..length].chars() {
            let blank = if c == '\n' { '\n' } else { ' ' };
            let is_code = comment == 0 && literal == 0;
            parts.code.push(if is_code { c } else { blank });
            parts.comments.push(if comment > 0 { c } else { blank });
        }
        previous = if literal > 0 { ' ' } else { first };
        rest = &rest[length..];
    }
    parts
}

/// The length of the comment that this begins with, or 0.
fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
        }
        if depth == 0 {
            return at + 2;
        }
    }
    text.len()
}

/// The length of the string or character that this begins with, or 0.
fn literal_length(text: &str) -> usize {
    let unprefixed = text.trim_start_matches(['b', 'c']);
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let opened = raw.trim_start_matches('#');
        if let Some(inside) = opened.strip_prefix('"') {
            let close = format!("\"{}", "#".repeat(raw.len() - opened.len()));
            let inside = inside
                .find(&close)
                .map_or("", |at| &inside[at + close.len()..]);
            return text.len() - inside.len();
        }
    }
    let Some(quote @ ('"' | '\'')) = unprefixed.chars().next() else {
        return 0;
    };
    let inside = &unprefixed[1..];
    let is_lifetime =
        quote == '\'' && !inside.starts_with('\\') && { inside.chars().nth(1) != Some('\'') };
    if is_lifetime {
        return 0;
    }
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if c == quote && !escaped {
            return text.len() - inside.len() + at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Code without the items that are there only in tests.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code;
    let mut kept = String::new();
    while let Some(at) = rest.find(MARK) {
        kept += &rest[..at];
        let item = &rest[at + MARK.len()..];
        let mut depth = 0;
        let end = item.find(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(c, '}' | ';')
        });
        let end = at + MARK.len() + end.map_or(item.len(), |end| end + 1);
        kept.extend(rest[at..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where this stands in the code and is no part of a longer word.
fn find_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let goes_on =
                |a: Option<char>, b: Option<char>| a.is_some_and(is_word) && b.is_some_and(is_word);
            let before = code[..*at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            !goes_on(before, word.chars().next()) && !goes_on(word.chars().next_back(), after)
        })
}

/// What broke a rule, and where.
#[derive(Default)]
struct Broken(String);

impl Broken {
    fn at(&mut self, source: &Source, code: &str, at: usize, what: &str) {
        let line = code[..at].matches('\n').count() + 1;
        let path = Path::new(source.folder).join(&source.path);
        let _ = write!(self.0, "\n  {}:{line}: {what}", path.display());
    }

    fn words(&mut self, source: &Source, code: &str, words: &[&str]) {
        for word in words {
            for at in find_word(code, word) {
                self.at(source, code, at, word);
            }
        }
    }

    fn fail_with(self, rule: &str) {
        assert!(self.0.is_empty(), "{rule}:{}", self.0);
    }
}

#[test]
fn code_comments_literals_and_tests_are_told_apart() {
    for (text, code, comments) in [
        ("a // b\nc", "a c", "// b"),
        ("a /* b /* c */ d */ e", "a e", "/* b /* c */ d */"),
        (r#"f("a // \" b", 'x') // "c""#, "f( , )", r#"// "c""#),
        (r##"r#"a " // b"# + r#fn"##, "+ r#fn", ""),
        ("fn f<'a>(x: &'a str) // '", "fn f<'a>(x: &'a str)", "// '"),
        (r"['\'', '{', b'\\', b'}'] /**/", "[ , , , ]", "/**/"),
    ] {
        let parts = split(text);
        let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&parts.code), code, "{text}");
        assert_eq!(words(&parts.comments), comments, "{text}");
        assert_eq!(parts.code.len(), text.len(), "everything keeps its place");
    }
    for (code, kept) in [
        (
            "a;\n#[cfg(test)]\nmod tests {\n fn f() { }\n}\nb;",
            "a;\n\n\n\n\nb;",
        ),
        ("#[cfg(test)]\nmod tests;\nb;", "\n\nb;"),
        ("#[cfg(unix)]\nmod a {}", "#[cfg(unix)]\nmod a {}"),
    ] {
        assert_eq!(without_tests(code), kept, "{code}");
    }
    let words: Vec<usize> = find_word("app::x; my_app; apps; app", "app").collect();
    assert_eq!(words, [0, 22]);
}

#[test]
fn only_os_opens_sockets() {
    let mut broken = Broken::default();
    for source in PRODUCTION.into_iter().flat_map(sources) {
        if source.folder != "src" || source.layer() != "os" {
            broken.words(&source, &source.production(), &SOCKETS);
        }
    }
    broken.fail_with("ask `os` instead");
}

#[test]
fn an_error_number_stands_in_the_table_alone() {
    let mut broken = Broken::default();
    for source in PRODUCTION.into_iter().flat_map(sources) {
        let code = source.production();
        let is_table = source.path == Path::new("net_error/table.rs");
        let mut numbers = 0;
        for (at, _) in code.match_indices('-') {
            // Nothing in this crate is negative but a net error; a difference
            // has a space after its sign.
            if code[at + 1..].starts_with(|c: char| c.is_ascii_digit()) {
                numbers += 1;
                if !is_table {
                    broken.at(&source, &code, at, "a negative number");
                }
            }
        }
        assert!(!is_table || numbers > 20, "the table is somewhere else now");
    }
    broken.fail_with("name the constant of `NetError`");
}

#[test]
fn each_layer_names_only_those_below() {
    let mut broken = Broken::default();
    for source in sources("src") {
        if source.layer() == "lib" {
            continue;
        }
        let rank = |layer: &str| LAYERS.iter().position(|known| *known == layer);
        let own = rank(&source.layer());
        assert!(own.is_some(), "{} is in no layer", source.path.display());
        let code = source.production();
        for at in find_word(&code, "crate::") {
            let path = &code[at + "crate::".len()..];
            let name = &path[..path.find(|c| !is_word(c)).unwrap_or(path.len())];
            let is_constant = !name.is_empty() && !name.contains(|c: char| c.is_lowercase());
            if !is_constant && rank(name).is_none() {
                let what = format!("crate::{name} names no layer: write `crate::layer::item`");
                broken.at(&source, &code, at, &what);
            } else if rank(name) > own {
                broken.at(&source, &code, at, &format!("crate::{name} is above"));
            }
        }
        // `super` must not leave the layer's folder, or it would name layers
        // that the check above does not see.
        let mut depth = source.path.components().count() - 1;
        if source.path.ends_with("mod.rs") {
            depth -= 1;
        }
        for at in find_word(&code, &"super::".repeat(depth + 1)) {
            broken.at(&source, &code, at, "leaves its layer by `super`");
        }
    }
    broken.fail_with("a file names nothing of a layer above its own");
}

#[test]
fn nothing_in_production_panics_waits_or_is_global_by_design() {
    let mut broken = Broken::default();
    for source in PRODUCTION.into_iter().flat_map(sources) {
        // Tests and examples in the documentation too: they say what they
        // looked for.
        broken.words(&source, &source.text, &[".unwrap()"]);
        let code = source.production();
        let words = ["unsafe", "thread::sleep", "SystemService", "ArbiterService"];
        broken.words(&source, &code, &words);
        for at in find_word(&code, "static") {
            // `'static` is a lifetime.
            if !code[..at].ends_with('\'') {
                broken.at(&source, &code, at, "a static");
            }
        }
    }
    broken.fail_with("not in this crate");
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    let mut broken = Broken::default();
    for folder in ["src", "host", "tests", "examples", "bench", "cookbook"] {
        for source in sources(folder) {
            let parts = split(&source.text);
            // With a reason, a test of what is still to be built may wait.
            let words = ["todo!", "unimplemented!", "dbg!", "#[ignore]"];
            broken.words(&source, &parts.code, &words);
            if PRODUCTION.contains(&folder) {
                broken.words(&source, &parts.code, &["#[ignore"]);
            }
            broken.words(&source, &parts.comments, &["FIXME", "TODO", "XXX"]);
        }
    }
    broken.fail_with("finish it, or take it out");
}

#[test]
fn every_file_can_be_read_as_a_whole() {
    let mut broken = Broken::default();
    for folder in ["src", "host", "tests", "cookbook"] {
        for source in sources(folder) {
            let lines = source.text.lines().count();
            if lines > LONGEST {
                broken.at(&source, "", 0, &format!("{lines} lines"));
            }
        }
    }
    broken.fail_with("split by what changes together");
}

#[test]
fn no_folder_has_more_files_than_a_reader_can_keep_in_mind() {
    const MAX_FILES: usize = 12;
    for folder in PRODUCTION {
        let mut counts = std::collections::BTreeMap::new();
        for source in sources(folder) {
            let parent = source.path.parent().expect("a folder").to_owned();
            *counts.entry(parent).or_insert(0) += 1;
        }
        for (path, count) in counts {
            assert!(count <= MAX_FILES, "{folder}/{path:?} has {count} files");
        }
    }
}

/// A file that no `mod` names is not compiled, so its tests cannot fail.
#[test]
fn every_file_of_tests_is_one_of_them() {
    for tests in ["tests/it", "host/tests/host", "cookbook/tests/recipes"] {
        let top = Path::new(tests);
        for source in sources(tests) {
            let name = source.path.file_stem().expect("a name").to_string_lossy();
            let folder = top.join(source.path.parent().expect("a folder"));
            let parent = match folder == top {
                _ if ["main", "mod"].contains(&&*name) => continue,
                true => folder.join("main.rs"),
                false if root().join(&folder).join("mod.rs").exists() => folder.join("mod.rs"),
                false => folder.with_extension("rs"),
            };
            let is_named = read(&parent).contains(&format!("mod {name};"));
            assert!(is_named, "{:?} is not named in {parent:?}", source.path);
        }
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    let mut broken = Broken::default();
    for folder in ["src", "host/src", "examples", "cookbook"] {
        for source in sources(folder) {
            if !source.text.starts_with("//!") {
                broken.at(&source, "", 0, "no `//!` in the first line");
            }
        }
    }
    broken.fail_with("begin with a sentence about the file");
}

#[test]
fn the_readme_names_every_example() {
    let readme = read("README.md");
    let mut broken = Broken::default();
    for source in sources("examples") {
        let name = source.layer();
        if find_word(&readme, &name).next().is_none() {
            broken.at(&source, "", 0, "not in README.md");
        }
    }
    broken.fail_with("a reader must find it");
}

/// `README.md` as the package's page shows it: that has no other files of the repository, so pictures go and
/// links to files become plain text.
fn package_readme(readme: &str) -> String {
    let mut text = String::new();
    let lines = readme.lines().filter(|line| !line.starts_with("!["));
    for line in lines {
        let mut rest = line;
        while let Some(middle) = rest.find("](") {
            let (before, link) = (&rest[..middle], &rest[middle + 2..]);
            let end = link.find(')').expect("a link ends in its line");
            match (link.starts_with("https://"), before.rfind('[')) {
                (false, Some(open)) => text += &[&before[..open], &before[open + 1..]].concat(),
                _ => text += &rest[..middle + 2 + end + 1],
            }
            rest = &link[end + 1..];
        }
        text += rest;
        text.push('\n');
    }
    text.replace("\n\n\n", "\n\n")
}

#[test]
fn the_packages_readme_is_the_readme_without_links_to_files() {
    let path = root().join("docs/README.package.md");
    let wanted = package_readme(&read("README.md"));
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, &wanted).expect("it can be written");
    }
    assert!(!wanted.contains("](docs"), "no link to a file is left");
    let is_same = fs::read_to_string(&path).is_ok_and(|text| text == wanted);
    assert!(
        is_same,
        "run this test with UPDATE_README=1 and commit docs/README.package.md"
    );
}

#[test]
fn every_dependency_is_used() {
    let code_of = |folders: &[&'static str]| -> String {
        let all = folders.iter().flat_map(|folder| sources(folder));
        all.map(|source| split(&source.text).code).collect()
    };
    let mut checked = 0;
    for (member, library, development) in MEMBERS {
        let manifest = read(Path::new(member).join("Cargo.toml"));
        let (library, development) = (code_of(library), code_of(development));
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let code = match section {
                "[dependencies]" => &library,
                "[dev-dependencies]" => &development,
                _ => continue,
            };
            let name = line.split(['=', '.']).next().unwrap_or("").trim();
            if name.is_empty() || name.starts_with('#') {
                continue;
            }
            checked += 1;
            // The library of the tests is called `support`.
            let name = name.replace("chrome-sockets-tests", "support");
            assert!(
                find_word(code, &name.replace('-', "_")).next().is_some(),
                "{name} of {section} of {member} is used by no file: take it out"
            );
        }
    }
    assert!(checked > 40, "only {checked} dependencies were found");
}

#[test]
fn the_changelog_begins_with_this_version_or_the_next() {
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "));
    let this = format!("[{}]", version.expect("a version").trim_matches('"'));
    let changelog = read("CHANGELOG.md");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## "));
    let newest = newest.expect("a heading `## [VERSION] - DATE`");
    assert!(
        newest.starts_with("[Unreleased]") || newest.starts_with(&this),
        "the newest heading is {newest:?}, not `## {this}` or `## [Unreleased]`"
    );
}
