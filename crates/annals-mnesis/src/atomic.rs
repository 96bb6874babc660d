//! Appends to several streams in one commit.

use mnesis::Version;
use mnesis_store::import::{
    AtomicAppend, AtomicAppendError, PlannedAppend, validate_atomic_runs, validate_distinct_targets,
};
use mnesis_store::wake::WakeSource;

use crate::envelope::to_annals;
use crate::error::Error;
use crate::names::name_of;
use crate::store::{AnnalsPosition, AnnalsStore, expected};

impl AtomicAppend for AnnalsStore {
    async fn atomic_append_many(
        &self,
        writes: &[PlannedAppend],
    ) -> Result<Option<AnnalsPosition>, AtomicAppendError<Error>> {
        if writes.is_empty() {
            return Ok(None);
        }
        validate_distinct_targets(writes.iter().map(|write| &write.target))?;
        validate_atomic_runs(writes)?;
        let names: Vec<String> = writes.iter().map(|write| name_of(&write.target)).collect();
        let mut batch = self.store.batch();
        for (write, name) in writes.iter().zip(&names) {
            let events = write.batch().iter().map(to_annals).collect::<Result<Vec<_>, _>>();
            let events = events.map_err(AtomicAppendError::Store)?;
            batch = batch.append(name, expected(write.expected_version), events);
        }
        match batch.commit_async().await {
            Ok(done) => {
                for write in writes {
                    self.wake(write.target.as_bytes());
                }
                Ok(done.last().map(|done| AnnalsPosition::new(done.position)))
            }
            Err(annals::Error::Conflict(found)) => {
                let actual = Version::new(found.actual.0);
                let index = names.iter().position(|name| *name == found.stream);
                Err(AtomicAppendError::Conflict { index: index.unwrap_or_default(), actual })
            }
            Err(e) => Err(AtomicAppendError::Store(e.into())),
        }
    }
}
