//! The decision what to make of the unsealed segment, as a table. `docs/recovery.md` has the rows.

use std::path::Path;

use crate::error::Error;
use crate::format::Invalid;

/// What was found, as plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// X: the end of the last valid frame, as the medium has it.
    pub(crate) end: u32,
    /// D: the largest end that is known to have been durable.
    pub(crate) durable_end: u32,
    /// The store was closed in good order at exactly `end`, and nothing was written since.
    pub(crate) clean: bool,
    /// The last frame is a seal.
    pub(crate) sealed: bool,
    /// What stands behind `end` instead of a frame.
    pub(crate) behind: Behind,
    /// A frame that verifies, behind bytes that do not: its offset and durable end.
    pub(crate) later: Option<(u32, u32)>,
    /// The segment's frames hold no event.
    pub(crate) empty: bool,
}

/// What stands behind the last valid frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Nothing: zeros up to the end of the file, or the file's end.
    Nothing,
    /// Bytes that are no frame.
    Bytes(Invalid),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Go on in the segment.
    Continue,
    /// Seal it here, without a write to it, by beginning the next one.
    Cut,
    /// It holds no event: put a new one in its place.
    Replace,
    /// Refuse: bytes that were durable are not there any more.
    Refuse(Damage),
}

/// Why opening is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) offset: u32,
    pub(crate) expected: String,
    pub(crate) found: String,
    /// The bytes are whole, but of a newer version.
    pub(crate) unsupported: bool,
}

impl Damage {
    /// As an error about the segment's file.
    pub(crate) fn error(&self, path: &Path) -> Error {
        let invalid = Invalid {
            expected: self.expected.clone(),
            found: self.found.clone(),
            unsupported: self.unsupported,
        };
        invalid.at(path, u64::from(self.offset))
    }
}

/// The table, first matching row decides.
pub(crate) fn decide(found: &Found) -> Decision {
    let what = match &found.behind {
        Behind::Nothing => "zeros".to_owned(),
        Behind::Bytes(invalid) => invalid.found.clone(),
    };
    if let Behind::Bytes(invalid) = &found.behind
        && invalid.unsupported
    {
        // A newer version's frames are no torn tail.
        return refuse(found, invalid.expected.clone(), what);
    }
    if found.end < found.durable_end {
        let expected = format!("frames that were durable up to byte {}", found.durable_end);
        return refuse(found, expected, what);
    }
    if let Some((offset, durable_end)) = found.later
        && durable_end > found.end
    {
        let expected = format!(
            "a frame (the one at byte {offset} says that everything before byte {durable_end} was \
             durable)"
        );
        return refuse(found, expected, what);
    }
    if found.clean && !found.sealed {
        return Decision::Continue;
    }
    if found.empty {
        return Decision::Replace;
    }
    Decision::Cut
}

fn refuse(found: &Found, expected: String, what: String) -> Decision {
    let unsupported = matches!(&found.behind, Behind::Bytes(invalid) if invalid.unsupported);
    Decision::Refuse(Damage { offset: found.end, expected, found: what, unsupported })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            end: 8000,
            durable_end: 7000,
            clean: false,
            sealed: false,
            behind: Behind::Nothing,
            later: None,
            empty: false,
        }
    }

    fn torn() -> Behind {
        Behind::Bytes(Invalid::new("a frame", "no frame"))
    }

    #[test]
    fn r1_unknown_frames_refuse() {
        let behind = Behind::Bytes(Invalid::unsupported("a known kind", "0x9f"));
        let decision = decide(&Found { behind, ..found() });
        assert!(matches!(decision, Decision::Refuse(_)));
    }

    #[test]
    fn r2_an_end_before_what_was_durable_refuses() {
        for behind in [Behind::Nothing, torn()] {
            let found = Found { durable_end: 8004, behind, ..found() };
            let Decision::Refuse(damage) = decide(&found) else { panic!("must refuse") };
            assert_eq!(damage.offset, 8000);
        }
    }

    #[test]
    fn r3_a_later_frame_that_proves_durability_refuses() {
        let found = Found { behind: torn(), later: Some((9000, 8004)), ..found() };
        assert!(matches!(decide(&found), Decision::Refuse(_)));
    }

    #[test]
    fn r4_a_later_frame_of_the_same_group_is_a_torn_tail() {
        let found = Found { behind: torn(), later: Some((9000, 8000)), ..found() };
        assert_eq!(decide(&found), Decision::Cut);
    }

    #[test]
    fn r5_a_clean_end_continues() {
        assert_eq!(
            decide(&Found { clean: true, durable_end: 8000, ..found() }),
            Decision::Continue
        );
        let empty = Found { clean: true, durable_end: 8000, empty: true, ..found() };
        assert_eq!(decide(&empty), Decision::Continue);
    }

    #[test]
    fn r6_a_segment_without_an_event_is_replaced() {
        let decision = decide(&Found { empty: true, behind: torn(), ..found() });
        assert_eq!(decision, Decision::Replace);
    }

    #[test]
    fn r7_a_torn_tail_is_cut() {
        assert_eq!(decide(&Found { behind: torn(), ..found() }), Decision::Cut);
    }

    #[test]
    fn r8_an_unclean_end_at_a_frame_is_cut_too() {
        assert_eq!(decide(&found()), Decision::Cut);
    }

    #[test]
    fn r9_behind_a_seal_the_next_segment_begins() {
        assert_eq!(decide(&Found { sealed: true, ..found() }), Decision::Cut);
        let clean = Found { sealed: true, clean: true, durable_end: 8000, ..found() };
        assert_eq!(decide(&clean), Decision::Cut);
    }
}
