//! The chain of a stream: from the newest segment that holds it back to the first.

use std::ops::RangeInclusive;

use super::part::StreamPart;
use super::sealed::SealedIndex;
use super::{Index, Place};
use crate::error::Result;
use crate::sync::Arc;

/// The part of a stream that a segment holds.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) segment: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The segment before it that holds the stream; 0 where none does.
    pub(crate) previous: u32,
    /// Where all of it was found at once, so that it need not be looked up again.
    file: Option<(Arc<SealedIndex>, StreamPart)>,
}

impl Index {
    /// The part of a stream in a segment that is known to hold it, from the directory or from the
    /// link behind it. So a lone entry of the stream's hash is taken for it without a look at the
    /// log: whoever reads the events compares their names.
    pub(crate) fn link(&self, segment: u32, name: &str, hash: u64) -> Result<Option<Link>> {
        let found = self.healing(|| {
            let index = self.segment(segment)?;
            let Some(file) = index.only_file() else { return Ok(None) };
            let part = file.known_stream(hash, &|place| self.is(place, name))?;
            Ok(part.map(|part| (file, part)))
        })?;
        let (part, file) = match found {
            Some((file, part)) => (Some(part.clone()), Some((file, part))),
            None => (self.span(segment, name, hash)?, None),
        };
        Ok(part.map(|part| Link {
            segment,
            first: part.first_version,
            last: part.last_version(),
            previous: part.previous,
            file,
        }))
    }

    /// Where the events of a link are that have some versions, all of which it holds.
    pub(crate) fn link_places(
        &self,
        link: &Link,
        name: &str,
        hash: u64,
        versions: &RangeInclusive<u64>,
    ) -> Result<Vec<Place>> {
        if let Some((file, part)) = &link.file {
            let places =
                || file.events(part, versions)?.into_iter().map(|o| file.place(o)).collect();
            match places() {
                // The other way leaves the damaged file out.
                Err(e) if e.is_corruption() => {}
                places => return places,
            }
        }
        self.places(link.segment, name, hash, versions)
    }
}
