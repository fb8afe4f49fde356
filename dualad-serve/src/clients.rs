//! Clients that wait for the same thing.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::client::Client;

/// A list of clients, which does not keep them.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Vec<Weak<Client>>>);

impl Clients {
    /// Adds a client, unless it is there.
    pub(crate) fn add(&self, client: &Arc<Client>) {
        let client = Arc::downgrade(client);
        // No code that holds the lock can panic halfway through an update.
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&client));
        clients.push(client);
    }

    /// Returns those that are still there.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        let clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.iter().filter_map(Weak::upgrade).collect()
    }
}
