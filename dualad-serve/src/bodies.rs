//! The memory for the bodies of uploads.
//!
//! An upload takes memory as its bytes arrive, so that one that is slow takes little. Where all of it is taken, the client is
//! disconnected that is the latest with its upload.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::Client;
use crate::clients::Clients;

/// The unit of memory, in bytes.
const UNIT: u64 = 64 << 10;
/// The time after which an upload looks again for memory.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest time that an upload waits for memory. A client that stops sending is late before.
const MAX_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct BodyMemory {
    free: Arc<Semaphore>,
    /// The clients that are sending an upload, and others.
    sending: Clients,
}

/// Memory for one body.
#[derive(Debug, Default)]
pub(crate) struct BodyShare(Option<OwnedSemaphorePermit>);

impl BodyMemory {
    /// Makes the memory for so many bodies of so many bytes.
    pub(crate) fn new(bodies: usize, bytes: u64) -> Self {
        let units = bytes.div_ceil(UNIT).saturating_mul(bodies as u64);
        let units = usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), sending: Clients::default() }
    }

    /// Notes that a client begins to send an upload.
    pub(crate) fn begin(&self, client: &Arc<Client>) {
        self.sending.add(client);
        client.begin_upload();
    }

    /// Takes memory for a client until `share` is enough for so many bytes. Returns false if there is none for a while.
    pub(crate) async fn grow(&self, client: &Client, share: &mut BodyShare, bytes: u64) -> bool {
        let begun = Instant::now();
        loop {
            let held = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
            let more = u32::try_from(bytes.div_ceil(UNIT).saturating_sub(held)).unwrap_or(u32::MAX);
            if more == 0 {
                return true;
            }
            if let Ok(permit) = self.free.clone().try_acquire_many_owned(more) {
                match &mut share.0 {
                    Some(held) => held.merge(permit),
                    none => *none = Some(permit),
                }
                return true;
            }
            client.excuse();
            if begun.elapsed() >= MAX_WAIT {
                return false;
            }
            if let Some(latest) = self.latest() {
                latest.close();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns the client that is the latest with its upload; `None` if none is late.
    fn latest(&self) -> Option<Arc<Client>> {
        let late = self.sending.all().into_iter().filter_map(|client| Some((client.late_upload()?, client)));
        late.max_by_key(|(late, _)| *late).map(|(_, client)| client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_grows_with_its_body_and_a_late_client_gives_way() {
        let memory = BodyMemory::new(2, 3 * UNIT - 1);
        let [asks, slow] = [Client::default(), Client::default()].map(Arc::new);
        let (mut first, mut second) = (BodyShare::default(), BodyShare::default());
        assert!(memory.grow(&slow, &mut first, 1).await && memory.grow(&slow, &mut first, 5 * UNIT).await);
        assert!(memory.grow(&asks, &mut second, UNIT).await && memory.grow(&asks, &mut second, 1).await);
        // Nobody is late who is sending.
        assert!(!memory.grow(&asks, &mut second, UNIT + 1).await);
        [&asks, &slow].into_iter().for_each(|client| memory.begin(client));
        slow.received(10 << 20);
        let closed = tokio::spawn(async move {
            slow.closed().await;
            drop(first);
        });
        let begun = Instant::now();
        assert!(memory.grow(&asks, &mut second, 6 * UNIT).await);
        closed.await.unwrap();
        assert!(begun.elapsed() < MAX_WAIT && asks.late().is_none());
    }
}
