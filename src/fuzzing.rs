//! What the fuzzers in `fuzz/` call, and the tests that replay their seeds: any bytes go in, and a
//! panic is a finding.
//!
//! Each target reads its input as a list of small steps (bits to flip, numbers to set, operations
//! to do), so that most inputs mean something, and can have the checksums made right again, so
//! that what is behind them is reached.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a panic is how a finding shows"
)]

mod damage;
mod input;
mod operations;
mod read;
mod text;
mod view;

use self::damage::Victim;
use self::input::Input;
use crate::format::frame::Frame;
use crate::format::segment::{Seed, SegmentHeader};
use crate::format::{entry, store::StoreHeader};

/// A target: its name, which is the one of its seeds' folder, and its entry point.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("frame", frame),
    ("entry", entry),
    ("segment", segment),
    ("sealed_index", sealed_index),
    ("index_checkpoint", index_checkpoint),
    ("directory", directory),
    ("id_run", id_run),
    ("store_file", store_file),
    ("view", view::view),
    ("stream_name", text::stream_name),
    #[cfg(feature = "transfer")]
    ("import_line", text::import_line),
    ("operations", operations::operations),
];

/// Any bytes as a frame, as they are and with right checksums: no place outside it.
pub fn frame(bytes: &[u8]) {
    let _ = SegmentHeader::decode(bytes);
    look_at_frame(bytes);
    let mut mended = bytes.to_vec();
    if Frame::mend(&mut mended, Seed::of(&[0; 16]), 4096, 0).is_some() {
        look_at_frame(&mended);
    }
}

fn look_at_frame(bytes: &[u8]) {
    let room = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let Ok(frame) = Frame::parse_for_one(bytes, Seed::of(&[0; 16]), 4096, room) else { return };
    assert!(frame.len <= room);
    for index in 0..frame.events {
        let Some(place) = frame.event(bytes, index) else { continue };
        assert!(place.entry.range().end <= frame.len as usize);
        if let Some((_, name)) = frame.stream(bytes, place.stream) {
            assert!(name.range().end <= place.entry.range().start);
        }
    }
    if Frame::parse(bytes, Seed::of(&[0; 16]), 4096, room) != Ok(frame) {
        return;
    }
    let is_whole = frame.verify_body(bytes).is_ok();
    let _ = (frame.begin(bytes), frame.seal(bytes));
    for index in 0..frame.events {
        let place = frame.event(bytes, index);
        assert!(place.is_some() || !is_whole);
        let Some(place) = place else { continue };
        if let Some((first_version, name)) = frame.stream(bytes, place.stream) {
            assert!(place.version(first_version).is_some());
            assert!(bytes.get(name.range()).is_some());
        }
        if let Some(found) = bytes.get(place.entry.range()) {
            let _ = entry::parts(found);
        }
    }
}

/// Any bytes as an event's entry.
pub fn entry(bytes: &[u8]) {
    let _ = entry::parts(bytes);
}

/// Any bytes as the file `STORE`, and any changes to one.
pub fn store_file(bytes: &[u8]) {
    let _ = StoreHeader::decode(bytes);
    damage::damaged(&Victim::StoreFile, Input::new(bytes));
}

/// A segment of a killed store, changed in any way: what was there up to some point, or a refusal.
pub fn segment(bytes: &[u8]) {
    damage::damaged(&Victim::Segment, Input::new(bytes));
}

/// The index of a sealed segment, changed in any way: it costs a rebuild.
pub fn sealed_index(bytes: &[u8]) {
    damage::damaged(&Victim::SealedIndex, Input::new(bytes));
}

/// An index checkpoint, changed in any way: it costs reading the log again.
pub fn index_checkpoint(bytes: &[u8]) {
    damage::damaged(&Victim::IndexCheckpoint, Input::new(bytes));
}

/// A stream directory, changed in any way: it costs a rebuild.
pub fn directory(bytes: &[u8]) {
    damage::damaged(&Victim::Directory, Input::new(bytes));
}

/// A run of ids, changed in any way: it costs a rebuild.
pub fn id_run(bytes: &[u8]) {
    damage::damaged(&Victim::IdRun, Input::new(bytes));
}

/// The file of a view, changed in any way: the view is refused or right, and a reset mends it.
pub fn view(bytes: &[u8]) {
    view::view(bytes);
}

/// Operations on a store whose disk fails and loses power: what was acknowledged is there.
pub fn operations(bytes: &[u8]) {
    operations::operations(bytes);
}

/// Any text as a stream's name: taken or refused, and what is taken reads back.
pub fn stream_name(bytes: &[u8]) {
    text::stream_name(bytes);
}

/// Any text as a line to import: refused, or the same after a way out and in again.
#[cfg(feature = "transfer")]
pub fn import_line(bytes: &[u8]) {
    text::import_line(bytes);
}
