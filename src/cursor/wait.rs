//! Waiting until a cursor has come to a position.

use std::time::{Duration, Instant};

use super::cursors::Cursors;
use crate::error::Result;
use crate::names::check_cursor_name;
use crate::position::Position;

impl Cursors {
    /// `true` once the cursor was saved at a position or behind it, `false` when the time is up.
    pub(crate) fn wait_for(&self, name: &str, upto: Position, timeout: Duration) -> Result<bool> {
        check_cursor_name(name)?;
        self.writer()?;
        // A time that the clock cannot express never comes.
        let until = Instant::now().checked_add(timeout);
        loop {
            // Before the look: a change behind it ends the wait at once.
            let seen = self.moved.changes()?;
            let saved =
                self.load_sound(name)?.map_or(Position::START, |saved| Position(saved.position));
            if saved >= upto {
                return Ok(true);
            }
            if !self.moved.wait(seen, until) {
                return Ok(false);
            }
        }
    }
}
