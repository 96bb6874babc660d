//! The framework's repository of views.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use annals::{Store, StoredView};
use cqrs_es::persist::{PersistenceError, ViewContext, ViewRepository};
use cqrs_es::{Aggregate, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::persistence;

const SCHEMA: u32 = 1;

/// Held between comparing the version of an instance and writing the next one. One process at most
/// writes a store, so a lock of the process is enough; an instance always has the same.
static CHANGING: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// Views of the framework in a view of annals, whose keys are the instances: the framework's
/// `ViewRepository`. Clones, and others of the same name, are the same.
///
/// The version of a `ViewContext` is checked: of two updates of an instance made from the same
/// version one wins, the other gets an optimistic lock error.
#[derive(Debug)]
pub struct AnnalsViews<V, A> {
    view: StoredView,
    kinds: PhantomData<fn() -> (V, A)>,
}

impl<V, A> Clone for AnnalsViews<V, A> {
    fn clone(&self) -> Self {
        Self { view: self.view.clone(), kinds: PhantomData }
    }
}

/// An instance as it is read.
#[derive(Deserialize)]
struct Kept<V> {
    version: i64,
    view: V,
}

/// An instance as it is written.
#[derive(Serialize)]
struct Keeping<'a, V> {
    version: i64,
    view: &'a V,
}

/// The version of an instance, whatever its view looks like.
#[derive(Deserialize)]
struct Numbered {
    version: i64,
}

impl<V, A> AnnalsViews<V, A> {
    /// Opens or creates the view `cqrs-es/views/<name>` of a store.
    ///
    /// # Errors
    ///
    /// As [`Store::create_view`].
    pub fn open(store: &Store, name: &str) -> annals::Result<Self> {
        let view = store.create_view(format!("cqrs-es/views/{name}"), SCHEMA)?;
        Ok(Self { view, kinds: PhantomData })
    }

    fn read<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>, PersistenceError> {
        let value = self.view.get(id).map_err(persistence)?;
        Ok(value.map(|value| serde_json::from_slice(&value)).transpose()?)
    }
}

impl<V: View<A>, A: Aggregate> ViewRepository<V, A> for AnnalsViews<V, A> {
    async fn load(&self, view_id: &str) -> Result<Option<V>, PersistenceError> {
        Ok(self.read::<Kept<V>>(view_id)?.map(|kept| kept.view))
    }

    async fn load_with_context(
        &self,
        view_id: &str,
    ) -> Result<Option<(V, ViewContext)>, PersistenceError> {
        let kept = self.read::<Kept<V>>(view_id)?;
        Ok(kept.map(|kept| (kept.view, ViewContext::new(view_id.into(), kept.version))))
    }

    async fn update_view(&self, view: V, context: ViewContext) -> Result<(), PersistenceError> {
        let id = context.view_instance_id;
        let next = context.version.checked_add(1).ok_or(PersistenceError::OptimisticLockError)?;
        let value = serde_json::to_vec(&Keeping { version: next, view: &view })?;
        let _changing = hold(self.view.name(), &id);
        let version = self.read::<Numbered>(&id)?.map_or(0, |kept| kept.version);
        if version != context.version {
            return Err(PersistenceError::OptimisticLockError);
        }
        // The framework does not say which event an update comes from, so the view stays where it
        // stands in the log: changing it from there to there always goes.
        let at = self.view.position().map_err(persistence)?;
        self.view.commit(self.view.update(at).put(&id, value), at).map_err(persistence)
    }
}

fn hold(name: &str, id: &str) -> MutexGuard<'static, ()> {
    let mut hasher = DefaultHasher::new();
    (name, id).hash(&mut hasher);
    let at = usize::try_from(hasher.finish() % CHANGING.len() as u64).unwrap_or_default();
    // Nothing is left half done where somebody panicked: what is written is written at once.
    CHANGING[at].lock().unwrap_or_else(PoisonError::into_inner)
}
