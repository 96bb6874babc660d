//! Which variants of an error are made somewhere, and not only matched.

use crate::Finding;
use crate::lexer::{blank, group_end, is_word};
use crate::source::Tree;

pub(crate) fn never_constructed(tree: &Tree, path: &str, enums: &[&str]) -> Vec<Finding> {
    let file = tree.file(path).unwrap();
    let mut found = Vec::new();
    for name in enums {
        for variant in variants(&file.code, name) {
            let made = tree.files.iter().any(|file| {
                let code = without_matches(&blank(&file.text));
                let own = if file.path == path { "Self" } else { *name };
                constructs(&code, name, &variant) || constructs(&code, own, &variant)
            });
            if !made {
                let what = format!("{name}::{variant} is never made");
                found.push(Finding { rule: "variant", file: path.into(), what });
            }
        }
    }
    found
}

/// The variants of an enum.
fn variants(code: &str, name: &str) -> Vec<String> {
    let head = format!("pub enum {name} ");
    let start = code.find(&head).unwrap_or_else(|| panic!("no {head}")) + head.len();
    let body = &code[start + 1..group_end(code, start) - 1];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = body[at..].find(|c: char| is_word(c) || c == '#') {
        at += begin;
        if body[at..].starts_with('#') {
            at = group_end(body, at + 1);
            continue;
        }
        let variant: String = body[at..].chars().take_while(|c| is_word(*c)).collect();
        at += variant.len();
        let rest = body[at..].trim_start();
        if rest.starts_with(['{', '(']) {
            at = group_end(body, body.len() - rest.len());
        }
        found.push(variant);
        at += body[at..].find(',').map_or(body[at..].len(), |comma| comma + 1);
    }
    found
}

/// What stands in `matches!` is a pattern.
fn without_matches(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find("matches!(") {
        let open = from + found + "matches!".len();
        let end = group_end(&out, open);
        out.replace_range(open..end, &" ".repeat(end - open));
        from = end;
    }
    out
}

/// Whether the code makes a value of the variant: an expression, as far as what is around it says.
fn constructs(code: &str, name: &str, variant: &str) -> bool {
    let path = format!("{name}::{variant}");
    code.match_indices(&path).any(|(at, _)| {
        let mut end = at + path.len();
        if code[..at].chars().next_back().is_some_and(is_word)
            || code[end..].chars().next().is_some_and(is_word)
        {
            return false;
        }
        let rest = code[end..].trim_start();
        if rest.starts_with(['{', '(']) {
            let open = code.len() - rest.len();
            end = group_end(code, open);
            let inside = code[open + 1..end - 1].trim();
            if inside.ends_with("..") || inside == "_" {
                return false;
            }
        }
        // Out of what is around a pattern, such as `Err(...)`.
        let behind = code[end..].trim_start_matches(|c: char| c.is_whitespace() || c == ')');
        let is_pattern = behind.starts_with("=>")
            || behind.starts_with('|')
            || behind.starts_with("if ")
            || (behind.starts_with('=') && !behind.starts_with("=="));
        !is_pattern
    })
}
