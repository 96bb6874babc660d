//! Conditions over queries, as the Dynamic Consistency Boundary specification has them: checked in
//! the step that assigns positions, against what is committed and what is staged before.

use crate::catalog::Catalog;
use crate::error::Result;
use crate::position::Position;
use crate::query::Query;
use crate::search::Search;
use crate::sync::Arc;

/// What a batch asks of events that it does not write.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) query: Query,
    /// Something must match; else nothing may.
    pub(crate) requires: bool,
}

/// A condition, and what its caller found before it queued.
#[derive(Debug)]
pub(crate) struct PreparedCondition {
    pub(crate) condition: Condition,
    /// The newest match up to where the request looked.
    found: Option<Position>,
}

impl PreparedCondition {
    pub(super) const fn new(condition: Condition) -> Self {
        Self { condition, found: None }
    }

    /// Looks at everything up to a position, on the caller's thread.
    pub(super) fn look_up(&mut self, catalog: &Arc<Catalog>, upto: Position) -> Result<()> {
        self.found = newest_match(catalog, &self.condition.query, Position::START, upto)?;
        Ok(())
    }

    /// The newest match up to a position, once everything was looked at up to an earlier one.
    pub(super) fn newest(
        &self,
        catalog: &Arc<Catalog>,
        looked_up_to: Position,
        upto: Position,
    ) -> Result<Option<Position>> {
        let newer = newest_match(catalog, &self.condition.query, looked_up_to, upto)?;
        Ok(newer.or(self.found))
    }
}

/// The newest match behind a position and up to another.
fn newest_match(
    catalog: &Arc<Catalog>,
    query: &Query,
    after: Position,
    upto: Position,
) -> Result<Option<Position>> {
    if after >= upto {
        return Ok(None);
    }
    let first = after.0.saturating_add(1);
    let mut search = Search::new(Arc::clone(catalog), query.clone(), first, upto.0, true)?;
    if let Some(event) = search.next()? {
        return Ok(Some(event.position()));
    }
    catalog.nothing()
}
