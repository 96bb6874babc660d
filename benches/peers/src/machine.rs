//! On what was measured.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::stats::median;
use crate::store::{Peer, Version};

pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// Processor, cores, memory, kernel, file system, and what one sync costs there.
pub fn describe(dir: &Path) -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(':').nth(1)).unwrap_or("unknown").trim();
    let cores = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (low, middle, high) = sync_cost(dir)?;
    Ok(format!(
        "{model}, {cores} cores, {} GiB, Linux {}, {}; one write of 4 KiB and fdatasync: \
         {middle:.0} us (p10 {low:.0}, p90 {high:.0})",
        memory.unwrap_or(0).div_ceil(1 << 20),
        kernel.trim(),
        file_system(dir)?
    ))
}

/// The kind of the file system that a directory is on.
fn file_system(dir: &Path) -> Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(place, _)| dir.starts_with(place))
        .max_by_key(|(place, _)| place.len());
    Ok(found.map_or("unknown", |(_, kind)| kind).to_owned())
}

/// Whether a directory lies in memory, where a sync costs nothing.
pub fn is_in_memory(dir: &Path) -> Result<bool> {
    Ok(matches!(file_system(dir)?.as_str(), "tmpfs" | "ramfs"))
}

fn sync_cost(dir: &Path) -> Result<(f64, f64, f64)> {
    const TIMES: u64 = 200;
    let path = dir.join("sync");
    let file = File::create(&path)?;
    let block = [0; 4096];
    (0..TIMES).try_for_each(|n| file.write_all_at(&block, n * 4096))?;
    file.sync_all()?;
    let mut spent = Vec::new();
    for n in 0..TIMES {
        let started = Instant::now();
        file.write_all_at(&block, n * 4096)?;
        file.sync_data()?;
        spent.push(started.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    let middle = median(&mut spent).unwrap_or(0.0);
    Ok((spent[spent.len() / 10], middle, spent[spent.len() * 9 / 10]))
}

/// The version that was built, of the package or the program.
pub fn version(peer: &Peer) -> String {
    match peer.version {
        Version::Package(name) => format!("{name} {}", locked(name).unwrap_or("unknown")),
        Version::Program(ask) => ask(),
    }
}

/// The version of a package in this package's `Cargo.lock`.
fn locked(package: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let at = lock.lines().position(|line| line == name)?;
    lock.lines().nth(at + 1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_were_built() {
        assert_eq!(locked("annals"), Some("0.1.0"));
        assert_eq!(locked("no-such-package"), None);
    }
}
