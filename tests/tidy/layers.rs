//! The table of rows, and what imports what.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::lexer::is_word;
use crate::source::{File, Tree};

/// Whether the modules of a row may import each other (in no circle).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Siblings {
    Allowed,
    Forbidden,
}
use Siblings::{Allowed, Forbidden};

/// From the ground up; a file imports from lower rows and from its own module.
const ROWS: &[(Siblings, &[&str])] = &[
    (Allowed, &["error", "position", "names", "sync", "bytes", "promise", "worker"]),
    (Allowed, &["options", "event", "new_event", "query", "place"]),
    (Forbidden, &["format"]),
    (Forbidden, &["storage", "watermark"]),
    (Forbidden, &["log", "index", "state"]),
    // Log, index and state together, as writer and reader see them.
    (Forbidden, &["catalog"]),
    // Finding what matches a query, for reads and for conditions.
    (Forbidden, &["search"]),
    (Forbidden, &["writer", "reader"]),
    (Allowed, &["subscription", "cursor", "view", "snapshot", "open", "upkeep"]),
    (Allowed, &["store", "batch", "maintain"]),
    // Written on top of the store's public calls.
    (Forbidden, &["transfer", "kit"]),
    (Forbidden, &["testkit"]),
    // Calls everything, for fuzzers and tests alone.
    (Forbidden, &["fuzzing"]),
];

/// The row of a top-level module.
pub(crate) fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|(_, modules)| modules.contains(&module))
}

pub(crate) fn wrong_imports(tree: &Tree) -> Vec<Finding> {
    let modules = tree.modules(false);
    let mut found = Vec::new();
    for (module, file) in &modules {
        // The crate's root is the top of the house.
        let Some(own) = module.first() else { continue };
        let targets: BTreeSet<_> =
            imports(file, &modules).into_iter().filter_map(|path| path.first().cloned()).collect();
        for target in targets {
            let (Some(from), Some(to)) = (row(own), row(&target)) else {
                continue;
            };
            let sibling = from == to && ROWS[from].0 == Allowed;
            if *own != target && to >= from && !sibling {
                found.push(Finding {
                    rule: "layers",
                    file: file.path.clone(),
                    what: format!("{own} (row {from}) imports {target} (row {to})"),
                });
            }
        }
        // A name of the root is a name of some module; which row it comes from is not visible.
        for path in paths(file).iter().filter(|path| path.len() > 1 && path[0] == "crate") {
            if !modules.contains_key(&path[1..2]) && path[1] != "*" {
                found.push(Finding {
                    rule: "layers",
                    file: file.path.clone(),
                    what: format!("crate::{} is a name of the root: name its module", path[1]),
                });
            }
        }
    }
    found
}

pub(crate) fn cycles(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for binary in [false, true] {
        let modules = tree.modules(binary);
        let edges: BTreeMap<&[String], BTreeSet<Vec<String>>> = modules
            .iter()
            .filter(|(module, _)| !module.is_empty())
            .map(|(module, file)| {
                let mut targets: BTreeSet<_> = imports(file, &modules).into_iter().collect();
                targets.remove(*module);
                (*module, targets)
            })
            .collect();
        for start in edges.keys() {
            // Each circle is reported once, at the module that is first in it by name.
            if let Some(circle) = circle(start, &edges)
                && circle.iter().all(|module| module[..] >= start[..])
            {
                let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
                found.push(Finding {
                    rule: "cycle",
                    file: modules[start].path.clone(),
                    what: format!("{} -> {}", start.join("::"), names.join(" -> ")),
                });
            }
        }
    }
    found
}

/// The shortest way from a module back to itself.
fn circle(
    start: &[String],
    edges: &BTreeMap<&[String], BTreeSet<Vec<String>>>,
) -> Option<Vec<Vec<String>>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![Vec::<Vec<String>>::new()];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last().map_or(start, |module| &module[..]);
            for next in edges.get(last).into_iter().flatten() {
                let mut way = way.clone();
                way.push(next.clone());
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// The modules that a file imports from. What a module passes on (`pub use`) counts as imported
/// from where it is defined, and passing it on is no import.
fn imports(file: &File, modules: &BTreeMap<&[String], &File>) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for path in paths(file) {
        if let Some(target) = absolute(&path, &file.module, modules) {
            found.push(defined_in(&target, modules, 0));
        }
    }
    found
}

/// A path from the root of the crate, where it is one of the crate's.
fn absolute(
    path: &[String],
    module: &[String],
    modules: &BTreeMap<&[String], &File>,
) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        name => {
            base.push(name.into());
            if !modules.contains_key(&base[..]) {
                return None;
            }
            rest = &rest[1..];
        }
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The module that a path leads to, through what modules pass on.
fn defined_in(path: &[String], modules: &BTreeMap<&[String], &File>, depth: usize) -> Vec<String> {
    let known = (0..=path.len()).rev().find(|len| modules.contains_key(&path[..*len])).unwrap();
    let (module, rest) = path.split_at(known);
    let Some(name) = rest.first().filter(|_| depth < 8) else {
        return module.to_vec();
    };
    for passed in passed_on(modules[module]) {
        if passed.last() == Some(name)
            && let Some(target) = absolute(&passed, module, modules)
            && target[..] != *path
        {
            return defined_in(&target, modules, depth + 1);
        }
    }
    module.to_vec()
}

/// The paths of `pub use` and the like.
fn passed_on(file: &File) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in file.code.match_indices("use ") {
        if is_passing_on(&file.code, at) {
            let end = file.code[at..].find(';').map_or(file.code.len(), |end| at + end);
            tree_paths(&file.code[at + 4..end], &[], &mut found);
        }
    }
    found
}

/// Whether a `use` at this place has a visibility in front.
fn is_passing_on(code: &str, at: usize) -> bool {
    let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
    line.starts_with("pub")
}

/// Every path in the code, apart from those that are passed on; groups taken apart.
pub(crate) fn paths(file: &File) -> Vec<Vec<String>> {
    let code = &file.code;
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let head_start =
            code[..at].char_indices().rev().take_while(|(_, c)| is_word(*c)).last().map(|(i, _)| i);
        let Some(start) = head_start else { continue };
        if code[..start].ends_with("::") {
            continue;
        }
        let line_start = code[..start].rfind('\n').map_or(0, |i| i + 1);
        let line = code[line_start..start].trim();
        if line.starts_with("pub") && line.ends_with("use") {
            continue;
        }
        tree_paths(&code[start..], &[], &mut found);
    }
    found
}

/// The paths of a use tree (or of a path in an expression) at the beginning of the code.
/// Returns how many bytes of it they take.
fn tree_paths(code: &str, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        let rest = &code[at..];
        if rest.starts_with('{') {
            at += 1;
            while !code[at..].trim_start().starts_with('}') && !code[at..].trim().is_empty() {
                let taken = tree_paths(&code[at..], &path, found);
                at += taken;
                // An alias, or the comma.
                at += code[at..].find([',', '}']).unwrap_or(code[at..].len());
                if code[at..].starts_with(',') {
                    at += 1;
                }
            }
            return (at + 1).min(code.len());
        }
        let word: String = rest.chars().take_while(|c| is_word(*c) || *c == '*').collect();
        at += word.len();
        // `self` in a group is the module before it.
        if !word.is_empty() && (word != "self" || path.is_empty()) {
            path.push(word);
        }
        if !code[at..].starts_with("::") {
            break;
        }
        at += 2;
    }
    found.push(path);
    at
}
