//! `docs/cookbook.md` shows the programs that `cookbook/` runs.

use std::fs;

use super::{read, root, sources};

/// The chat server stays short enough to be read at once.
const CHAT: usize = 100;

/// Each recipe, by the path that the page names before its code.
fn recipes() -> Vec<String> {
    let bins = "cookbook/src/bin";
    let mut paths: Vec<String> = sources(bins)
        .iter()
        .map(|source| format!("{bins}/{}", source.path.display()))
        .collect();
    paths.push("cookbook/tests/injected_faults.rs".to_owned());
    paths
}

/// The source without its head, which the page has in words.
fn shown(path: &str) -> String {
    let text = read(path);
    let lines = text.lines().skip_while(|line| line.starts_with("//!"));
    let lines: Vec<&str> = lines.skip_while(|line| line.is_empty()).collect();
    lines.join("\n") + "\n"
}

/// The page with the present sources in its blocks of code, and which it shows.
fn with_sources(page: &str) -> (String, Vec<String>) {
    let (mut text, mut found) = (String::new(), Vec::new());
    let mut lines = page.lines();
    let mut named = None;
    while let Some(line) = lines.next() {
        text += line;
        text.push('\n');
        let path = line.strip_prefix("[`cookbook/");
        if let Some((path, _)) = path.and_then(|rest| rest.split_once('`')) {
            named = Some(format!("cookbook/{path}"));
        } else if line == "```rust"
            && let Some(path) = named.take()
        {
            text += &shown(&path);
            text += "```\n";
            found.push(path);
            lines.find(|line| *line == "```");
        }
    }
    found.sort();
    (text, found)
}

#[test]
fn the_cookbook_shows_every_recipe_as_it_runs() {
    let path = root().join("docs/cookbook.md");
    let page = read("docs/cookbook.md");
    let (wanted, found) = with_sources(&page);
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, &wanted).expect("it can be written");
    }
    let mut recipes = recipes();
    recipes.sort();
    assert_eq!(
        found, recipes,
        "each recipe has a block of code, after its path"
    );
    let page = read("docs/cookbook.md");
    assert!(
        page == wanted,
        "run this test with UPDATE_README=1 and commit docs/cookbook.md"
    );
    for path in &recipes {
        let name = path
            .trim_start_matches("cookbook/src/bin/")
            .trim_end_matches(".rs");
        let is_tested = path.contains("/tests/")
            || read("cookbook/tests/recipes/main.rs").contains(&format!("mod {name};"));
        assert!(is_tested, "no test runs {path}");
    }
}

#[test]
fn the_chat_server_is_short() {
    let lines = read("cookbook/src/bin/chat.rs").lines().count();
    assert!(lines <= CHAT, "{lines} lines");
}
