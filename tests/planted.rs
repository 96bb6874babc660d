//! The bugs that are planted to see whether the tests find them, `tests/planted/*.patch`, still fit
//! the tree. Planting them takes long: `tests/planted/run`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patches() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("tests/planted")).unwrap();
    let mut patches: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "patch"))
        .collect();
    patches.sort();
    assert!(patches.len() >= 20, "{} bugs", patches.len());
    patches
}

#[test]
fn every_planted_bug_still_applies() {
    let check = |patch: &Path| {
        let mut git = Command::new("git");
        let git = git.args(["apply", "--check"]).arg(patch).current_dir(root()).output();
        // Without git, `patch` tells the same.
        git.or_else(|_| {
            let mut patch_command = Command::new("patch");
            patch_command.args(["--dry-run", "-s", "-f", "-p1", "-i"]).arg(patch);
            patch_command.current_dir(root()).output()
        })
    };
    let mut wrong = Vec::new();
    for patch in patches() {
        let output = check(&patch).expect("git or patch is there");
        if !output.status.success() {
            wrong.push(format!(
                "{}: {}",
                patch.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
    }
    assert!(wrong.is_empty(), "mend what does not apply any more:\n{}", wrong.join("\n"));
}

#[test]
fn every_planted_bug_says_what_finds_it_and_stands_in_the_table() {
    let table = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    for patch in patches() {
        let text = std::fs::read_to_string(&patch).unwrap();
        let name = patch.file_stem().unwrap().to_str().unwrap();
        let lines: Vec<&str> = text.lines().take(2).collect();
        assert!(lines.first().is_some_and(|line| line.starts_with("Bug: ")), "{name}: {lines:?}");
        let command = lines.get(1).and_then(|line| line.strip_prefix("Found by: "));
        assert!(command.is_some_and(|c| c.starts_with("cargo test ")), "{name}: {lines:?}");
        assert!(table.contains(&format!("`{name}`")), "{name} is not in docs/testing.md");
    }
}
