//! The relayers that this one dials, and which connection leads to each at the moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crdt_core::effect::PeerId;
use tokio::sync::mpsc;

use crate::dial::LinkEvent;

/// Link events that may wait to be noted.
const EVENTS_WAITING_MAX: usize = 64;

/// The relayers that this one dials. Clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Peered(Arc<Mutex<BTreeMap<String, Option<PeerId>>>>);

impl Peered {
    /// Those at these addresses, none of which is connected yet.
    pub fn of(urls: &[String]) -> Self {
        let none = urls.iter().map(|url| (url.clone(), None)).collect();
        Self(Arc::new(Mutex::new(none)))
    }

    /// Each with its connection, if there is one.
    pub fn now(&self) -> Vec<(String, Option<PeerId>)> {
        self.links().iter().map(|(url, peer)| (url.clone(), *peer)).collect()
    }

    /// Notes link events, and passes them on to whoever wants to hear of them too. Must be called
    /// in a tokio runtime.
    pub fn note(self, onward: Option<mpsc::Sender<LinkEvent>>) -> mpsc::Sender<LinkEvent> {
        let (sender, mut inbox) = mpsc::channel(EVENTS_WAITING_MAX);
        tokio::spawn(async move {
            while let Some(event) = inbox.recv().await {
                let (url, peer) = match &event {
                    LinkEvent::Up { url, peer } => (url, Some(*peer)),
                    LinkEvent::Down { url, .. } => (url, None),
                };
                if let Some(link) = self.links().get_mut(url) {
                    *link = peer;
                }
                if let Some(onward) = &onward {
                    // Who has stopped listening wants to hear no more.
                    drop(onward.send(event).await);
                }
            }
        });
        sender
    }

    /// A thread that panicked in between leaves the map usable.
    fn links(&self) -> MutexGuard<'_, BTreeMap<String, Option<PeerId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crdt_core::effect::PeerId;

    use super::*;

    #[tokio::test]
    async fn a_link_is_known_while_it_is_up_and_others_are_told_after_it_is_noted() {
        let peered = Peered::of(&["ws://a/".into(), "ws://b/".into()]);
        let (onward, mut told) = mpsc::channel(1);
        let links = peered.clone().note(Some(onward));
        links.send(LinkEvent::Up { url: "ws://b/".into(), peer: PeerId(7) }).await.unwrap();
        told.recv().await.unwrap();
        assert_eq!(peered.now(), [("ws://a/".into(), None), ("ws://b/".into(), Some(PeerId(7)))]);
        let cause = crate::ended::Ended::lost("gone").cause;
        let (url, reason) = ("ws://b/".into(), "gone".into());
        links.send(LinkEvent::Down { url, reason, retry_ms: 1, cause }).await.unwrap();
        told.recv().await.unwrap();
        assert_eq!(peered.now()[1].1, None);
    }
}
