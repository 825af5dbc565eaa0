//! Which files use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, find_word, read, sources};

/// A module, by the names that lead to it from the root of the crate.
type Module = Vec<String>;

/// What the files of a crate use of each other.
#[derive(Default)]
struct Uses {
    /// Each module with its file and its code.
    files: BTreeMap<Module, (String, String)>,
    /// What a module exports again, and where that is defined.
    exported: BTreeMap<(Module, String), Module>,
}

impl Uses {
    fn of(sources: Vec<Source>) -> Self {
        let mut uses = Uses::default();
        for source in sources {
            let code = source.production();
            if code.trim().is_empty() {
                continue;
            }
            let path = source.path.with_extension("");
            let mut module: Module = path
                .iter()
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            if module
                .last()
                .is_some_and(|name| name == "mod" || name == "lib")
            {
                module.pop();
            }
            let file = source.path.to_string_lossy().into_owned();
            uses.files.insert(module, (file, code));
        }
        for (module, (_, code)) in &uses.files {
            for (is_exported, tree) in use_trees(code) {
                for path in expand(tree) {
                    if is_exported && let Some(name) = path.last() {
                        uses.exported.insert((module.clone(), name.clone()), path);
                    }
                }
            }
        }
        uses
    }

    /// The module that a path names an item of, as seen from `module`.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut found = module.clone();
        match first.as_str() {
            "crate" => found.clear(),
            "self" => {}
            "super" => {
                found.pop();
                while let Some(("super", behind)) = rest
                    .split_first()
                    .map(|(name, behind)| (name.as_str(), behind))
                {
                    found.pop();
                    rest = behind;
                }
            }
            _ => {
                found.push(first.clone());
                if !self.files.contains_key(&found) {
                    return None;
                }
            }
        }
        while let Some((name, behind)) = rest.split_first() {
            if let Some(path) = self.exported.get(&(found.clone(), name.clone()))
                && depth > 0
            {
                let whole = [path.as_slice(), behind].concat();
                return self.resolve(&found, &whole, depth - 1);
            }
            found.push(name.clone());
            if !self.files.contains_key(&found) {
                found.pop();
                break;
            }
            rest = behind;
        }
        Some(found)
    }

    /// The modules that a module uses.
    fn used_by(&self, module: &Module) -> BTreeSet<Module> {
        let (_, code) = &self.files[module];
        let mut paths = Vec::new();
        let mut rest = code.clone();
        for (is_exported, tree) in use_trees(code) {
            rest = rest.replacen(tree, " ", 1);
            if !is_exported {
                paths.extend(expand(tree));
            }
        }
        for start in ["crate::", "super::"] {
            for at in find_word(&rest, start) {
                // `pub(in crate::…)` names a module without using it.
                if !rest[..at].ends_with("in ") {
                    let end = rest[at..].find(|c: char| !(c.is_alphanumeric() || "_:".contains(c)));
                    let path = &rest[at..end.map_or(rest.len(), |end| at + end)];
                    paths.push(path.split("::").map(str::to_owned).collect());
                }
            }
        }
        let used = paths
            .iter()
            .filter_map(|path| self.resolve(module, path, 8));
        used.filter(|used| used != module).collect()
    }

    /// The circles, each as the files that it has.
    fn circles(&self) -> BTreeSet<BTreeSet<String>> {
        let direct: BTreeMap<_, _> = self.files.keys().map(|it| (it, self.used_by(it))).collect();
        let reached = |from: &Module| {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&Module> = direct[from].iter().collect();
            while let Some(module) = next.pop() {
                if reached.insert(module.clone()) {
                    next.extend(direct.get(module).into_iter().flatten());
                }
            }
            reached
        };
        let reached: BTreeMap<_, _> = self.files.keys().map(|it| (it, reached(it))).collect();
        let circle = |of: &Module| {
            let modules = reached[of].iter().filter(|it| reached[it].contains(of));
            modules.map(|it| self.files[it].0.clone()).collect()
        };
        let all = self.files.keys().map(circle);
        all.filter(|circle: &BTreeSet<_>| circle.len() > 1)
            .collect()
    }
}

/// The trees of the `use` items of a file, and whether they are exported.
fn use_trees(code: &str) -> Vec<(bool, &str)> {
    let items = find_word(code, "use").filter_map(|at| {
        let line = &code[code[..at].rfind('\n').map_or(0, |end| end + 1)..at];
        let is_item = line.trim().is_empty() || line.trim().starts_with("pub");
        let tree = &code[at + "use".len()..];
        let tree = &tree[..tree.find(';')?];
        is_item.then_some((line.contains("pub"), tree))
    });
    items.collect()
}

/// The paths of a `use` tree.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or("");
        let names = path.split("::").map(|name| name.trim().to_owned());
        // `self` in braces is the module before them, and `*` all that is in it.
        return vec![
            names
                .filter(|name| !["", "*"].contains(&name.as_str()))
                .collect(),
        ];
    };
    let head = expand(tree[..open].trim_end_matches("::")).remove(0);
    let mut depth = 0;
    let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let branches = inside.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let paths = branches
        .filter(|branch| !branch.trim().is_empty())
        .flat_map(expand);
    paths
        .map(|mut path| {
            path.retain(|name| name != "self" || head.is_empty());
            [head.as_slice(), &path].concat()
        })
        .collect()
}

/// The circles that `ARCHITECTURE.md` names: lines of files behind "Circle:".
fn named() -> BTreeSet<BTreeSet<String>> {
    let text = read("ARCHITECTURE.md");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Circle: "));
    let files = |line: &str| {
        let names = line.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    };
    lines.map(files).collect()
}

#[test]
fn files_use_each_other_in_no_circle_but_those_that_the_architecture_names() {
    let mut circles = Uses::of(sources("src")).circles();
    circles.extend(Uses::of(sources("host/src")).circles());
    let named = named();
    let unnamed: Vec<_> = circles.difference(&named).collect();
    assert!(unnamed.is_empty(), "cut these, or name them: {unnamed:#?}");
    let gone: Vec<_> = named.difference(&circles).collect();
    assert!(gone.is_empty(), "no circle any more: {gone:#?}");
}

#[test]
fn a_circle_is_found_through_what_is_exported_again() {
    let file = |path: &str, text: &str| Source {
        folder: "src",
        path: path.into(),
        text: text.to_owned(),
    };
    let uses = Uses::of(vec![
        file("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\n"),
        file("a/mod.rs", "mod inner;\npub use inner::{A, Other as B};\n"),
        file("a/inner.rs", "use crate::{b, c::{self, C}};\n"),
        file("b.rs", "fn f() -> crate::a::A {}\n// crate::c\n"),
        file(
            "c.rs",
            "pub(in crate::a) struct C;\nconst TEXT: &str = \"crate::a\";\n",
        ),
    ]);
    let circle = ["a/inner.rs", "b.rs"].map(str::to_owned);
    assert_eq!(uses.circles(), [circle.into()].into());
}
