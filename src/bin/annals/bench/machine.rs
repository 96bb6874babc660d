//! What a bench asks the system.

use std::fs::File;
use std::path::Path;

/// Processors, and where the store lies.
pub(super) fn describe(path: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown");
    let kind = file_system(path).unwrap_or_else(|| "an unknown file system".into());
    let warning = if kind == "tmpfs" { ", in memory: a sync costs nothing there" } else { "" };
    format!("{cores} processors, load average {load}, on {kind}{warning}")
}

fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let found = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?, words.next()?))
    });
    let found = found.filter(|(place, _)| path.starts_with(place));
    Some(found.max_by_key(|(place, _)| place.len())?.1.to_owned())
}

/// Anonymous memory of this process in bytes, where the system says it.
pub(super) fn anonymous() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Drops the pages of all files in a directory from the cache; says whether the system did it.
pub(super) fn drop_cache(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    entries.flatten().all(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return drop_cache(&path);
        }
        // Only what is on the disk can be dropped.
        File::open(&path).is_ok_and(|file| file.sync_all().is_ok() && forget(&file))
    })
}

#[cfg(target_os = "linux")]
fn forget(file: &File) -> bool {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn forget(_file: &File) -> bool {
    false
}
