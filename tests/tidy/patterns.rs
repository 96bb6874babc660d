//! `docs/patterns.md`: each pattern has a program that is run, and names tests that are there.
//! `docs/coming-from.md`: each call that it names is there.

use std::fs;
use std::path::Path;

use crate::source::Tree;

/// A pattern: its heading, and the text below it.
struct Pattern<'a> {
    heading: &'a str,
    text: &'a str,
}

fn patterns(document: &str) -> Vec<Pattern<'_>> {
    let sections = document.split("\n## ").skip(1);
    sections
        .map(|section| {
            let (heading, text) = section.split_once('\n').unwrap();
            Pattern { heading, text }
        })
        .collect()
}

/// The openings of blocks of code.
fn blocks(text: &str) -> Vec<&str> {
    let fences = text.lines().filter_map(|line| line.strip_prefix("```"));
    fences.step_by(2).collect()
}

/// The tests that are named, each with its file: "Tested by `one` and `two` (`tests/a.rs`)".
fn tests(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for said in text.split("Tested by ").skip(1) {
        let said = said.split("\n\n").next().unwrap().replace('\n', " ");
        let mut names = Vec::new();
        for quoted in said.split('`').skip(1).step_by(2) {
            if !quoted.contains(['/', '.', ' ']) {
                names.push(quoted.to_owned());
            } else if said.contains(&format!("(`{quoted}`)")) {
                found.extend(names.drain(..).map(|name| (quoted.to_owned(), name)));
            }
        }
        found.extend(names.into_iter().map(|name| ("no file".to_owned(), name)));
    }
    found
}

fn problems(document: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for Pattern { heading, text } in patterns(document) {
        let blocks = blocks(text);
        if blocks.is_empty() || blocks.iter().any(|opening| *opening != "rust") {
            problems.push(format!("{heading}: a block that is not run: {blocks:?}"));
        }
        let tests = tests(text);
        if tests.is_empty() {
            problems.push(format!("{heading}: names no test"));
        }
        for (file, name) in tests {
            let is_there = read(&file).is_some_and(|code| code.contains(&format!("fn {name}(")));
            if !is_there {
                problems.push(format!("{heading}: {file} has no test {name}"));
            }
        }
    }
    problems
}

#[test]
fn each_pattern_is_run_and_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let document = read("docs/patterns.md").unwrap();
    assert!(patterns(&document).len() >= 18, "patterns are missing");
    let problems = problems(&document, read);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    let library = read("src/lib.rs").unwrap();
    assert!(library.contains("include_str!(\"../docs/patterns.md\")"), "nothing runs the blocks");
}

#[test]
fn a_pattern_without_a_test_is_seen() {
    let code = |_: &str| Some("fn there() {}".to_owned());
    let good = "# P\n\n## One\n\n```rust\nx\n```\n\nTested by `there` (`a/b.rs`).\n";
    assert!(problems(good, code).is_empty());
    for (from, to) in [
        ("```rust", "```rust,no_run"),
        ("`there`", "`not_there`"),
        ("Tested", "Seen"),
        ("/b.rs", ""),
    ] {
        assert!(!problems(&good.replacen(from, to, 1), code).is_empty(), "{to}");
    }
}

/// What follows `.` and `::` in the code of a table's last column.
fn names_of_ours(document: &str) -> Vec<&str> {
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let ours = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let code = ours.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut names = Vec::new();
    for (at, span) in code.flat_map(|span| span.char_indices().map(move |(at, _)| (at, span))) {
        let behind = span[..at].ends_with("::") || span[..at].ends_with('.');
        let name = span[at..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        if behind && !name.is_empty() {
            names.push(name);
        }
    }
    names
}

#[test]
fn what_others_are_told_to_call_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/coming-from.md")).unwrap();
    let names = names_of_ours(&document);
    assert!(names.len() > 80, "only {} calls are named", names.len());
    let tree = Tree::read();
    let is_there = |name: &str| tree.files.iter().any(|file| file.in_src() && file.says(name));
    let missing: Vec<_> = names.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "nothing has these names: {missing:?}");
    assert_eq!(names_of_ours("| `a.b()` | `store.read(x)`, `A::B` |\n`c.d`"), ["read", "B"]);
}
