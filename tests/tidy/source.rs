//! The files of the crate, and which module each of them is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::lexer::{blank, is_word, item_name, without_tests};

pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

pub(crate) struct File {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Without comments, strings, and, in `src`, what is for tests only.
    pub(crate) code: String,
    /// The path of the module inside its crate; empty for `lib.rs` and `main.rs`.
    pub(crate) module: Vec<String>,
    pub(crate) reached: bool,
}

const BINARY: &str = "src/bin/annals/";

impl File {
    /// Whether it is part of the product; `src/tests/` is there for what tests of the whole store
    /// must reach inside.
    pub(crate) fn in_src(&self) -> bool {
        self.path.starts_with("src/") && !self.path.starts_with("src/tests/")
    }

    pub(crate) fn in_binary(&self) -> bool {
        self.path.starts_with(BINARY)
    }

    /// Whether the code has this word or path.
    pub(crate) fn says(&self, word: &str) -> bool {
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let behind = self.code[at + word.len()..].chars().next();
            let ends = word.ends_with('!') || !behind.is_some_and(is_word);
            ends && !before.is_some_and(is_word)
        })
    }

    /// Lines before the tests.
    pub(crate) fn production_lines(&self) -> usize {
        self.code.trim_end().lines().count()
    }

    /// The names of functions and how many lines they have.
    pub(crate) fn functions(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            let before = self.code[..at].chars().next_back();
            let Some((name, open)) = item_name(&self.code, at + 3) else {
                continue;
            };
            if before.is_some_and(is_word) {
                continue;
            }
            let end = crate::lexer::group_end(&self.code, open);
            found.push((name, self.code[at..end].lines().count()));
        }
        found
    }
}

impl Tree {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches", "examples", "fuzz/fuzz_targets", "models"] {
            read_folder(root, &root.join(folder), &mut files);
        }
        let mut tree = Self { files };
        tree.reach("src/lib.rs");
        tree.reach("src/bin/annals/main.rs");
        tree.files.retain(|file| !file.is_for_tests_only());
        tree
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The files of the library or of the binary, by module.
    pub(crate) fn modules(&self, binary: bool) -> BTreeMap<&[String], &File> {
        self.files
            .iter()
            .filter(|file| file.in_src() && file.in_binary() == binary)
            .map(|file| (&file.module[..], file))
            .collect()
    }

    /// Marks what can be reached through `mod` declarations.
    fn reach(&mut self, path: &str) {
        let Some(at) = self.files.iter().position(|file| file.path == path) else {
            return;
        };
        self.files[at].reached = true;
        let folder = match path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        // Modules for tests only are reached too, so this looks at all of the text.
        for name in declared_modules(&blank(&self.files[at].text)) {
            self.reach(&format!("{folder}/{name}.rs"));
            self.reach(&format!("{folder}/{name}/mod.rs"));
        }
    }
}

impl File {
    /// A file `tests.rs` of its own, declared under `#[cfg(test)]`.
    fn is_for_tests_only(&self) -> bool {
        self.in_src() && self.module.last().is_some_and(|name| name == "tests")
    }
}

fn declared_modules(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("mod ") {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &code[at + 4..];
        let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
        if rest[name.len()..].trim_start().starts_with(';') {
            found.push(name);
        }
    }
    found
}

fn read_folder(root: &Path, folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        // Packages of their own under benches/ have their own build output.
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            read_folder(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            let mut code = blank(&text);
            if path.starts_with("src/") {
                code = without_tests(&code);
            }
            let module = module_of(&path);
            files.push(File { path, text, code, module, reached: false });
        }
    }
}

fn module_of(path: &str) -> Vec<String> {
    let inside = path.strip_prefix(BINARY).or_else(|| path.strip_prefix("src/")).unwrap_or(path);
    let inside = inside.trim_end_matches(".rs");
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        module.pop();
    }
    module
}
