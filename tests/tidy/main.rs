//! The rules of the house, as a test: what a reviewer would otherwise have to see.
//!
//! A rule that cannot hold somewhere has an entry in `EXCEPTIONS`, with its reason. The list only
//! shrinks: an exception that nothing needs any more fails too. What the compiler and clippy check
//! (documentation, `unwrap`, reasons of `allow`) is not repeated here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod layers;
mod lexer;
mod patterns;
mod source;
mod variants;

use std::fmt::Write;
use std::path::Path;

use source::{File, Tree};

/// Rule, file, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "cycle",
        "src/error.rs",
        "an error says which event id, and an event id that cannot be read is an error",
    ),
    (
        "cycle",
        "src/storage/disk.rs",
        "what differs by system is a part of the disk and calls back into what does not",
    ),
    ("cycle", "src/storage/memory.rs", "a file of the simulated disk is one of its own calls"),
    ("cycle", "src/batch.rs", "a store makes batches, and a batch commits itself to its store"),
];

const MAX_COLUMNS: usize = 100;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_FILE_LINES: usize = 400;

/// A rule that a file breaks, and how.
struct Finding {
    rule: &'static str,
    file: String,
    what: String,
}

fn check(found: Vec<Finding>) {
    let mut text = String::new();
    for Finding { rule, file, what } in found {
        if !EXCEPTIONS.iter().any(|(r, f, _)| *r == rule && *f == file) {
            writeln!(text, "{file}: {rule}: {what}").unwrap();
        }
    }
    assert!(text.is_empty(), "\n{text}");
}

fn each(tree: &Tree, mut rule: impl FnMut(&File) -> Vec<(&'static str, String)>) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &tree.files {
        for (rule, what) in rule(file) {
            found.push(Finding { rule, file: file.path.clone(), what });
        }
    }
    found
}

/// Everything that looks at one file at a time.
fn per_file(tree: &Tree) -> Vec<Finding> {
    each(tree, |file| {
        let mut found = Vec::new();
        let mut add = |rule, what: String| found.push((rule, what));
        for (number, line) in (1..).zip(file.text.lines()) {
            if line.chars().count() > MAX_COLUMNS {
                add("columns", format!("line {number} is longer than {MAX_COLUMNS} columns"));
            }
            if file.in_src() && !line.is_ascii() {
                add("ascii", format!("line {number} is not ASCII"));
            }
            if looks_commented_out(line) {
                add("comment", format!("line {number} looks like code that is commented out"));
            }
        }
        if !file.in_src() {
            return found;
        }
        let lines = file.production_lines();
        if lines > MAX_FILE_LINES {
            add("file length", format!("{lines} lines before its tests"));
        }
        for (name, lines) in file.functions() {
            if lines > MAX_FUNCTION_LINES {
                add("function length", format!("fn {name} has {lines} lines"));
            }
        }
        for word in
            ["println!", "eprintln!", "print!", "eprint!", "dbg!", "todo!", "unimplemented!"]
        {
            if file.says(word) {
                add("left behind", word.into());
            }
        }
        if file.says("unsafe") && file.path != "src/storage/map.rs" {
            add("unsafe", "only src/storage/map.rs may".into());
        }
        if layers::paths(file).iter().any(|path| is_file_system(path))
            && !file.path.starts_with("src/storage/")
            && !file.path.starts_with("src/bin/")
        {
            add("files", "only src/storage/ touches the file system".into());
        }
        for word in ["to_le_bytes", "from_le_bytes", "to_be_bytes", "from_be_bytes"] {
            if file.says(word) && !file.path.starts_with("src/format/") {
                add("encoding", format!("{word}: only src/format/ encodes integers"));
            }
        }
        found
    })
}

fn is_file_system(path: &[String]) -> bool {
    match path {
        [std, fs, ..] if std == "std" => fs == "fs",
        [first, ..] => first == "rustix",
        [] => false,
    }
}

/// A comment that is a statement, or opens or ends a block, is most likely code.
fn looks_commented_out(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("// ") else {
        return false;
    };
    let keyword = comment.split(' ').next().unwrap_or_default();
    let starts = ["let", "if", "for", "while", "fn", "pub", "use", "return", "match", "mod"];
    comment == "}" || (starts.contains(&keyword) && comment.ends_with([';', '{', '}']))
}

#[test]
fn files_keep_the_rules_of_the_house() {
    check(per_file(&Tree::read()));
}

#[test]
fn modules_import_from_lower_rows_only() {
    check(layers::wrong_imports(&Tree::read()));
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    check(layers::cycles(&Tree::read()));
}

#[test]
fn every_module_has_a_row_and_a_name_that_says_something() {
    let tree = Tree::read();
    check(each(&tree, |file| {
        let Some(name) = file.module.last().filter(|_| file.in_src()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for word in ["manager", "helper", "util", "common"] {
            if name.contains(word) {
                found.push(("name", format!("\"{word}\" says nothing about what is in it")));
            }
        }
        if !file.in_binary() && layers::row(&file.module[0]).is_none() {
            found.push(("row", format!("module {} has no row in the table", file.module[0])));
        }
        found
    }));
}

#[test]
fn every_file_is_reached() {
    let tree = Tree::read();
    check(each(&tree, |file| {
        if file.in_src() && !file.reached {
            return vec![("reach", "neither lib.rs nor the binary has it as a module".into())];
        }
        Vec::new()
    }));
}

#[test]
fn every_variant_of_an_error_is_constructed() {
    let tree = Tree::read();
    check(variants::never_constructed(&tree, "src/error.rs", &["Error", "IdConflict"]));
}

#[test]
fn exceptions_are_needed_and_have_reasons() {
    let tree = Tree::read();
    let mut found = per_file(&tree);
    found.extend(layers::wrong_imports(&tree));
    found.extend(layers::cycles(&tree));
    found.extend(variants::never_constructed(&tree, "src/error.rs", &["Error", "IdConflict"]));
    for (rule, file, reason) in EXCEPTIONS {
        assert!(reason.split(' ').count() > 3, "{rule} of {file}: the reason is missing");
        let needed = found.iter().any(|f| f.rule == *rule && f.file == *file);
        assert!(needed, "{rule} of {file} holds: take the exception out");
    }
}

#[test]
fn the_rules_see_what_they_should() {
    assert!(looks_commented_out("    // let x = 1;") && looks_commented_out("// }"));
    assert!(!looks_commented_out("// for every reader; it waits.") && !looks_commented_out("x"));
    let code = lexer::blank("let s = \"unsafe\"; // unsafe\nlet c = '\"'; fn f<'a>() {}");
    assert!(!code.contains("unsafe") && code.contains("fn f<'a>() {}"));
    assert_eq!(lexer::blank("r#\"a\"b\"# x /* /* */ */ y").trim_start(), "x             y");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs").exists());
}
