//! A value that states share until one of them changes it: a step touches a small part of the mesh. Its hash is taken
//! once, not once for each state that it is part of.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

#[derive(Clone)]
pub(super) struct Shared<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: T,
    hash: OnceLock<u64>,
}

impl<T: Clone> Clone for Inner<T> {
    /// Is made to be changed, so the hash is not taken along.
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), hash: OnceLock::new() }
    }
}

impl<T> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(Inner { value, hash: OnceLock::new() }))
    }
}

impl<T: Hash> Shared<T> {
    pub(super) fn hash_once(&self) -> u64 {
        *self.0.hash.get_or_init(|| {
            // Its keys are fixed: runs repeat.
            let mut hasher = DefaultHasher::new();
            self.0.value.hash(&mut hasher);
            hasher.finish()
        })
    }
}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash_once());
    }
}

impl<T: Hash + Eq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.hash_once() == other.hash_once() && self.0.value == other.0.value)
    }
}

impl<T: Hash + Eq> Eq for Shared<T> {}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        let inner = Arc::make_mut(&mut self.0);
        inner.hash = OnceLock::new();
        &mut inner.value
    }
}
