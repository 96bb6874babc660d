//! Which writers the current thread holds for itself, so that a call that would wait for one of
//! them for ever is refused instead.

use std::cell::RefCell;

use super::Writer;
use crate::error::{Error, Result};

thread_local! {
    /// The addresses of the writers that are held; mostly none.
    static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, this thread holds a writer.
#[derive(Debug)]
pub(crate) struct Inside {
    writer: usize,
}

impl Inside {
    pub(crate) fn new(writer: &Writer) -> Self {
        let writer = address(writer);
        HELD.with_borrow_mut(|held| held.push(writer));
        Self { writer }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| {
            if let Some(index) = held.iter().rposition(|writer| *writer == self.writer) {
                held.remove(index);
            }
        });
    }
}

/// Refuses a call from inside a decision of this thread.
pub(crate) fn check(writer: &Writer) -> Result<()> {
    let writer = address(writer);
    if HELD.with_borrow(|held| held.contains(&writer)) { Err(Error::Reentrant) } else { Ok(()) }
}

fn address(writer: &Writer) -> usize {
    std::ptr::from_ref(writer).addr()
}
