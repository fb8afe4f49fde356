//! The open connections: bounded, with room for new ones where clients keep the server waiting.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::Client;

/// Connections at a time, apart from the reserve.
const MAX_CONNECTIONS: usize = 512;
/// Further connections for questions about the server's health.
const RESERVE: usize = 32;
/// The time after which a full server looks again for a connection that can be closed.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(crate) struct Connections {
    tasks: JoinSet<()>,
    clients: Vec<Weak<Client>>,
}

impl Connections {
    /// Waits for room for a new connection, and returns its client.
    ///
    /// If all connections are in use, the client is closed that has kept the server waiting the longest, such as one that never
    /// sends the rest of a request's head. If there is none, the connection is one of the reserve.
    pub(crate) async fn room(&mut self) -> Arc<Client> {
        loop {
            while self.tasks.try_join_next().is_some() {}
            let open = self.tasks.len();
            if open < MAX_CONNECTIONS {
                return self.client(false);
            }
            let late =
                self.clients.iter().filter_map(Weak::upgrade).filter_map(|client| Some((client.late()?, client)));
            if let Some((_, client)) = late.max_by_key(|(late, _)| *late) {
                client.close();
                drop(client);
                self.tasks.join_next().await;
            } else if open < MAX_CONNECTIONS + RESERVE {
                return self.client(true);
            } else {
                let _ = tokio::time::timeout(PAUSE, self.tasks.join_next()).await;
            }
        }
    }

    fn client(&mut self, reserved: bool) -> Arc<Client> {
        self.clients.retain(|client| client.strong_count() > 0);
        let client = Arc::new(Client::new(reserved));
        self.clients.push(Arc::downgrade(&client));
        client
    }

    /// Serves a connection in a task of its own.
    pub(crate) fn spawn(&mut self, serve: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(serve);
    }

    /// Waits until all connections are closed.
    pub(crate) async fn join(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
