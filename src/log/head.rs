//! The head page, as the writer stores it and followers look at it.
//!
//! Storing makes the change odd, stores the rest, and makes the change even. Looking takes the
//! change before and after the rest: where it differs, or is odd, or the checksum is wrong, nothing
//! was said yet.

use super::segment::Segment;
use crate::format::files::HEAD;
use crate::format::head::{CHANGE_WORD, HEAD_WORDS, Head, HeadWords, salt_word};
use crate::position::Position;
use crate::storage::{Access, Dir, SharedPage};
use crate::sync::Arc;

/// How often a page is looked at that changes meanwhile.
const TRIES: usize = 64;

/// The writer's side. Followers do without it where it could not be made: it is derived.
#[derive(Debug)]
pub(crate) struct HeadWriter {
    page: Option<Arc<dyn SharedPage>>,
    store: [u8; 16],
    change: u64,
    /// What was said last: segment and end, and the marks.
    said: (u32, u32, Position, Position),
}

impl HeadWriter {
    /// Takes the page over. Until something is said, it says what an earlier writer said last.
    pub(crate) fn open(dir: &Dir, store: [u8; 16]) -> Self {
        let page = dir.shared_page(HEAD, Access::ReadWrite).ok();
        let change = page.as_ref().map_or(0, |page| page.load(CHANGE_WORD));
        Self { page, store, change, said: Default::default() }
    }

    /// Says up to where the active segment may be read. Everything there is visible, and was handed
    /// to the system.
    pub(crate) fn say(&mut self, segment: &Segment, visible: Position, durable: Position) {
        let end = segment.written();
        let said = (segment.ordinal(), end, visible, durable);
        if self.page.is_none() || said == self.said {
            return;
        }
        self.said = said;
        let head = Head {
            store: self.store,
            change: self.next_change(),
            ordinal: segment.ordinal(),
            salt: salt_word(&segment.header().salt),
            end,
            visible: visible.0,
            durable: durable.0,
        };
        self.put(&head.encode());
    }

    const fn next_change(&self) -> u64 {
        (self.change | 1).wrapping_add(1)
    }

    fn put(&mut self, words: &HeadWords) {
        let next = self.next_change();
        if let Some(page) = &self.page {
            page.store(CHANGE_WORD, next.wrapping_sub(1));
            for (index, word) in words.iter().enumerate() {
                if index != CHANGE_WORD {
                    page.store(index, *word);
                }
            }
            page.store(CHANGE_WORD, next);
        }
        self.change = next;
    }
}

/// A follower's side.
#[derive(Debug)]
pub(crate) struct HeadReader {
    page: Arc<dyn SharedPage>,
    store: [u8; 16],
}

impl HeadReader {
    /// The page of a store; `None` where it has none yet.
    pub(crate) fn open(dir: &Dir, store: [u8; 16]) -> Option<Self> {
        let page = dir.shared_page(HEAD, Access::Read).ok()?;
        Some(Self { page, store })
    }

    /// Which change the page is at: one load.
    pub(crate) fn change(&self) -> u64 {
        self.page.load(CHANGE_WORD)
    }

    /// What the page says, if that is something, and of this store.
    pub(crate) fn look(&self) -> Option<Head> {
        for _ in 0..TRIES {
            let change = self.change();
            let mut words = [0; HEAD_WORDS];
            for (index, word) in words.iter_mut().enumerate() {
                *word = self.page.load(index);
            }
            if change == self.change() && change.is_multiple_of(2) {
                return Head::decode(&words).filter(|head| head.store == self.store);
            }
            std::hint::spin_loop();
        }
        None
    }
}
