//! A read model in an outside database, exactly once: the place in the log (the position, and the
//! id of the event there) is saved in the transaction that changes the model. So after a crash of
//! either side both are there or neither, and the next run goes on behind the place.
//!
//! The id tells when the log is another one than the model was made from (one of the two was
//! restored from a backup): then the model is built anew, and not mixed.
//!
//! This is SQLite; any database with transactions does.

use std::path::Path;

use annals::{EventId, Position, Query, Store};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sums of orders per customer, in SQLite.
pub struct Totals {
    database: Connection,
}

impl Totals {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let database = Connection::open(path)?;
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS total (customer TEXT PRIMARY KEY, cents INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS place (
                 projection TEXT PRIMARY KEY, position INTEGER NOT NULL, event_id TEXT NOT NULL
             );",
        )?;
        Ok(Self { database })
    }

    /// Takes in what has been appended since, at most so many events in one transaction. Says how
    /// many there were. `after_changes` is called before the commit, for tests to fail there.
    pub fn catch_up(
        &mut self,
        store: &Store,
        most: usize,
        after_changes: impl Fn() -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let transaction = self.database.transaction()?;
        let place = sound_place(&transaction, store)?;
        let query = Query::new().event_type("OrderPlaced").after(place);
        let mut events = 0;
        for event in store.read(query).limit(most) {
            let event = event?;
            let (customer, cents): (String, i64) = event.json()?;
            transaction.execute(
                "INSERT INTO total VALUES (?1, ?2)
                 ON CONFLICT (customer) DO UPDATE SET cents = cents + ?2",
                params![customer, cents],
            )?;
            save_place(&transaction, event.position(), event.id())?;
            events += 1;
        }
        after_changes()?;
        transaction.commit()?;
        Ok(events)
    }

    pub fn of(&self, customer: &str) -> Result<Option<i64>, Failure> {
        let sql = "SELECT cents FROM total WHERE customer = ?1";
        Ok(self.database.query_row(sql, [customer], |row| row.get(0)).optional()?)
    }

    /// The position up to which it is complete.
    pub fn place(&self) -> Result<Position, Failure> {
        Ok(load_place(&self.database)?.map_or(Position::START, |(position, _)| position))
    }
}

fn load_place(database: &Connection) -> Result<Option<(Position, EventId)>, Failure> {
    let sql = "SELECT position, event_id FROM place WHERE projection = 'totals'";
    let row = database
        .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((position, id)) = row else { return Ok(None) };
    Ok(Some((Position(u64::try_from(position)?), id.parse()?)))
}

/// Where to go on. Where the log has another event there, or none, everything is dropped, to be
/// built anew in the same transaction.
fn sound_place(transaction: &Transaction<'_>, store: &Store) -> Result<Position, Failure> {
    let Some((position, id)) = load_place(transaction)? else { return Ok(Position::START) };
    if store.event(position)?.is_some_and(|event| event.id() == id) {
        return Ok(position);
    }
    transaction
        .execute_batch("DELETE FROM total; DELETE FROM place WHERE projection = 'totals';")?;
    Ok(Position::START)
}

fn save_place(
    transaction: &Transaction<'_>,
    position: Position,
    id: EventId,
) -> Result<(), Failure> {
    transaction.execute(
        "INSERT INTO place VALUES ('totals', ?1, ?2)
         ON CONFLICT (projection) DO UPDATE SET position = ?1, event_id = ?2",
        params![i64::try_from(position.0)?, id.to_string()],
    )?;
    Ok(())
}
