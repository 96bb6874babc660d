//! What a power cut may leave of a disk: all of it where that is little, else the corners and
//! samples.

use super::Random;
use crate::storage::memory::{Choice, Keep, MemoryDisk};

/// Up to so many unsynced choices, every subset of them is an image.
const SUBSETS_OF: u32 = 10;

/// What the crash before one call leaves, in an order that depends on the disk and the seed alone.
/// `samples` says how many random ones there are where there are too many choices for all subsets.
pub(super) fn of(disk: &MemoryDisk, samples: usize, seed: u64, each: &mut dyn FnMut(MemoryDisk)) {
    let mut random = Random(seed);
    if let Some(subsets) = subsets(disk) {
        let can_tear = subsets.len() > 1;
        subsets.into_iter().for_each(&mut *each);
        if can_tear {
            garbage(disk, each);
            (0..samples.min(4)).for_each(|_| each(disk.crash_seeded(random.next())));
        }
        return;
    }
    corners(disk, samples, &mut random, each);
    garbage(disk, each);
    (0..samples).for_each(|_| each(disk.crash_seeded(random.next())));
}

/// An image for each subset of the choices, unless there are too many.
fn subsets(disk: &MemoryDisk) -> Option<Vec<MemoryDisk>> {
    let mut all = Vec::new();
    let mut path = Vec::new();
    loop {
        let (image, taken) = follow(disk, &path);
        if taken.len() > SUBSETS_OF as usize || all.len() == 1 << SUBSETS_OF {
            return None;
        }
        all.push(image);
        let Some(next) = next_path(taken) else { return Some(all) };
        path = next;
    }
}

/// Crashes with the given decisions, and loses what is asked behind them. A choice depends on the
/// ones before it: of a file that is lost, no sector is asked for.
fn follow(disk: &MemoryDisk, path: &[bool]) -> (MemoryDisk, Vec<bool>) {
    let mut taken = Vec::new();
    let image = disk.crash(&mut |_| {
        let is_kept = path.get(taken.len()).copied().unwrap_or(false);
        taken.push(is_kept);
        if is_kept { Keep::New } else { Keep::Old }
    });
    (image, taken)
}

/// The decisions that come next when all are tried, the last one first.
fn next_path(mut taken: Vec<bool>) -> Option<Vec<bool>> {
    while let Some(was_kept) = taken.pop() {
        if !was_kept {
            taken.push(true);
            return Some(taken);
        }
    }
    None
}

/// All, none, the first alone, the last alone, all but one: of names and lengths, of sectors, and
/// of sectors where every name and length is there.
fn corners(
    disk: &MemoryDisk,
    samples: usize,
    random: &mut Random,
    each: &mut dyn FnMut(MemoryDisk),
) {
    let is_sector = |choice: &Choice<'_>| matches!(choice, Choice::Sector { .. });
    let keep = |kept: bool| if kept { Keep::New } else { Keep::Old };
    let (mut sectors, mut others) = (0, 0);
    disk.crash(&mut |choice| {
        *if is_sector(&choice) { &mut sectors } else { &mut others } += 1;
        Keep::New
    });
    for kept in [false, true] {
        each(disk.crash(&mut |_| keep(kept)));
        each(disk.crash(&mut |choice| keep(is_sector(&choice) == kept)));
    }
    let mut all_but = |of: usize, sector: bool, this: usize, rest: bool, others: bool| {
        let mut nth = 0;
        each(disk.crash(&mut |choice| {
            if is_sector(&choice) != sector {
                return keep(others);
            }
            nth += 1;
            keep((nth - 1 == this) != rest)
        }));
        assert!(this < of);
    };
    for this in picked(others, samples, random) {
        for rest in [false, true] {
            all_but(others, false, this, rest, true);
            all_but(others, false, this, rest, false);
        }
    }
    for this in picked(sectors, samples, random) {
        for rest in [false, true] {
            all_but(sectors, true, this, rest, true);
        }
    }
}

/// Every name, with garbage in every sector, and behind the old end of every file.
fn garbage(disk: &MemoryDisk, each: &mut dyn FnMut(MemoryDisk)) {
    for sectors in [Keep::Garbage, Keep::Old, Keep::New] {
        each(disk.crash(&mut |choice| match choice {
            Choice::Entry { .. } => Keep::New,
            Choice::Length { .. } => Keep::Garbage,
            Choice::Sector { .. } => sectors,
        }));
    }
}

/// The first, the last, and as many others as there may be.
fn picked(of: usize, samples: usize, random: &mut Random) -> Vec<usize> {
    if of <= samples.max(3) {
        return (0..of).collect();
    }
    let mut picked = vec![0, of - 1];
    picked.extend((2..samples.max(3)).map(|_| random.below(of)));
    picked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;

    fn disk(sectors: usize) -> MemoryDisk {
        let disk = MemoryDisk::simulated(1);
        disk.put("f", &vec![0; sectors * 512]);
        let file = disk.open("f", crate::storage::Access::ReadWrite).unwrap();
        file.write_at(&vec![7; sectors * 512], 0).unwrap();
        disk
    }

    /// Which sectors of each image are new; torn ones count as neither.
    fn left(disk: &MemoryDisk, samples: usize) -> Vec<String> {
        let mut all = Vec::new();
        of(disk, samples, 3, &mut |image| {
            let bytes = image.files().remove("f").unwrap();
            let letter = |sector: &[u8]| match sector {
                [0, .., 0] => '-',
                [7, .., 7] => 'x',
                _ => '~',
            };
            all.push(bytes.chunks(512).map(letter).collect());
        });
        all
    }

    #[test]
    fn every_subset_of_few_choices_is_an_image() {
        let mut all = left(&disk(10), 0);
        all.retain(|image| !image.contains('~'));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1024);
    }

    #[test]
    fn of_many_choices_the_corners_are_images() {
        let all = left(&disk(11), 0);
        for corner in ["-----------", "xxxxxxxxxxx", "x----------", "----------x", "-xxxxxxxxxx"] {
            assert!(all.contains(&corner.into()), "{corner}");
        }
        assert!(left(&disk(11), 40).len() > all.len() + 39);
    }
}
