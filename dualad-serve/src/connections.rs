//! The open connections: bounded, with room for new ones where clients keep the server waiting.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::{Client, FIRST};
use crate::clients::Clients;
use crate::peer::Peer;

/// Further connections for questions about the server's health.
const RESERVE: usize = 32;
/// Further connections that are being closed.
const SPARE: usize = 64;
/// The part of all connections that must be about to be late for a new one to wait for them.
const PART: usize = 8;
/// The time after which a full server looks again for a connection that can be closed.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Connections {
    places: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    /// The places of connections that are being closed.
    spare: Arc<Semaphore>,
    clients: Clients,
}

/// The way to a place, if all are taken.
enum Way {
    /// A client is closed.
    Close(Arc<Client>),
    /// A client can be closed soon.
    Wait,
    /// None can be closed soon.
    Reserve,
}

impl Connections {
    /// Makes a list for so many connections, apart from the reserve.
    pub(crate) fn new(places: usize) -> Self {
        Self::with_reserve(places, RESERVE)
    }

    fn with_reserve(places: usize, reserve: usize) -> Self {
        let [places, reserve, spare] = [places, reserve, SPARE].map(|count| Arc::new(Semaphore::new(count)));
        Self { places, reserve, spare, clients: Clients::default() }
    }

    /// Waits for room for a new connection, and returns its client.
    ///
    /// If all places are taken, a client is closed that keeps the server waiting. If many are about to do so for too long, as in a flood
    /// of slow clients, the connection waits for one of them. Otherwise it is one of the reserve.
    pub(crate) async fn room(&self, peer: Peer) -> Arc<Client> {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return self.client(peer, place, false);
            }
            match self.way(peer) {
                // Its task may end later: a flood is accepted as fast as it comes, so that the system's queue has room for others.
                Way::Close(client) => match self.spare.clone().try_acquire_owned() {
                    Ok(spare) => {
                        if let Some(place) = client.give_way(spare) {
                            return self.client(peer, place, false);
                        }
                    }
                    Err(_) => wait(&self.spare).await,
                },
                Way::Wait => wait(&self.places).await,
                Way::Reserve => {
                    if let Ok(place) = self.reserve.clone().try_acquire_owned() {
                        return self.client(peer, place, true);
                    }
                    self.close_reserved();
                    wait(&self.reserve).await;
                }
            }
        }
    }

    /// Returns the way of a new connection of `peer` to a place.
    ///
    /// Of the clients that have kept the server waiting for too long, one is closed of the peer with the most connections, and of these the
    /// one that has done so for the longest. If there is none, and another peer has most of the connections, it is the one of that peer that
    /// would be the next.
    fn way(&self, peer: Peer) -> Way {
        let clients: Vec<Arc<Client>> = self.clients.all().into_iter().filter(|client| !client.is_reserved()).collect();
        let mut counts = HashMap::<Option<Peer>, usize>::new();
        clients.iter().for_each(|client| *counts.entry(client.peer()).or_default() += 1);
        let count = |client: &Client| counts.get(&client.peer()).copied().unwrap_or_default();
        let now = Instant::now();
        let waited_for = || clients.iter().filter_map(|client| Some((client.deadline()?, client)));
        let crowds = |client: &Client| client.peer() != Some(peer) && 2 * count(client) > clients.len();
        let may_go = waited_for().filter(|(deadline, client)| *deadline <= now || crowds(client));
        let first = may_go.max_by_key(|(deadline, client)| (*deadline <= now, count(client), Reverse(*deadline)));
        let soon = || waited_for().filter(|(deadline, _)| *deadline <= now + FIRST).count();
        match first {
            Some((_, client)) => Way::Close(client.clone()),
            None if PART * soon() >= clients.len() => Way::Wait,
            None => Way::Reserve,
        }
    }

    /// Closes the client of the reserve that has kept the server waiting for too long, and for the longest, if there is one.
    fn close_reserved(&self) {
        let reserved = self.clients.all().into_iter().filter(|client| client.is_reserved());
        let late = reserved.filter_map(|client| Some((client.late()?, client)));
        if let Some((_, client)) = late.max_by_key(|(late, _)| *late) {
            client.close();
        }
    }

    fn client(&self, peer: Peer, place: OwnedSemaphorePermit, reserved: bool) -> Arc<Client> {
        let client = Arc::new(Client::new(peer, place, reserved));
        self.clients.add(&client);
        client
    }
}

/// Waits a while for one of these places.
async fn wait(places: &Semaphore) {
    let _ = tokio::time::timeout(PAUSE, places.acquire()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens a connection that ends when it is closed, as the server's do.
    async fn open(connections: &Connections, address: &str) -> (Arc<Client>, tokio::task::JoinHandle<()>) {
        let peer = Peer::from(format!("{address}:80").parse::<std::net::SocketAddr>().unwrap());
        let client = connections.room(peer).await;
        let held = client.clone();
        (client, tokio::spawn(async move { held.closed().await }))
    }

    /// Lets the tasks of closed connections end.
    async fn settle() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Begins an upload that is not late for a second.
    fn upload(client: &Client) {
        client.begin_upload();
        client.received(1 << 20);
    }

    #[tokio::test]
    async fn the_peer_with_the_most_connections_gives_way() {
        let connections = Connections::with_reserve(4, 1);
        let mut open_of = Vec::new();
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2"] {
            let (client, task) = open(&connections, address).await;
            assert!(!client.is_reserved());
            drop(client);
            open_of.push(task);
        }
        // All are late, and that of the other peer is the latest.
        tokio::time::sleep(2 * FIRST).await;
        for place in [1, 2] {
            let (client, _task) = open(&connections, "10.0.0.2").await;
            settle().await;
            assert!(!client.is_reserved() && open_of[place].is_finished(), "{place}");
        }
        assert!(!open_of[0].is_finished());
    }

    #[tokio::test]
    async fn a_peer_with_most_connections_keeps_no_other_out() {
        let connections = Connections::with_reserve(4, 1);
        let mut crowd = Vec::new();
        for _ in 0..4 {
            let (client, task) = open(&connections, "10.0.0.2").await;
            upload(&client);
            drop(client);
            crowd.push(task);
        }
        // Nobody is late: one more of the same peer has a place in the reserve only.
        assert!(open(&connections, "10.0.0.2").await.0.is_reserved());
        let (client, _task) = open(&connections, "10.0.0.1").await;
        settle().await;
        assert!(!client.is_reserved() && crowd[0].is_finished() && !crowd[1].is_finished());
    }

    #[tokio::test]
    async fn a_connection_waits_for_those_that_are_soon_late_and_not_for_others() {
        let connections = Connections::with_reserve(2, 1);
        let begun = Instant::now();
        let [(first, task), (second, _task)] =
            [open(&connections, "10.0.0.1").await, open(&connections, "10.0.0.1").await];
        drop(first);
        let (third, _third_task) = open(&connections, "10.0.0.1").await;
        assert!(!third.is_reserved() && begun.elapsed() >= FIRST);
        settle().await;
        assert!(task.is_finished());
        // One that is worked for is not late, nor is one that sends fast enough.
        second.begin();
        upload(&third);
        let (fourth, fourth_task) = open(&connections, "10.0.0.1").await;
        assert!(fourth.is_reserved());
        // The reserve has a place again if its client is late.
        drop(fourth);
        let (fifth, _fifth_task) = open(&connections, "10.0.0.1").await;
        settle().await;
        assert!(fifth.is_reserved() && fourth_task.is_finished());
    }
}
