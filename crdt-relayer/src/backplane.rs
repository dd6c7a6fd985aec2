//! Several relayers, one service: they share every room through a message bus, which is a peer of
//! each. The bus carries ops and is never the record: what a relayer acknowledges is in its own
//! store, whatever becomes of the bus. Source: `docs/adr/0009-jetstream-is-a-bus.md`.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crdt_core::effect::Link;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dial::LinkEvent;
use crate::driver::Driver;
use crate::ended::Ended as LinkEnded;
use crate::local::LocalPeer;
use crate::pause::Pause;

mod ask;
mod batch;
pub mod bus;
mod ended;
#[cfg(feature = "nats")]
pub mod nats;
pub mod notes;
mod peer;
mod reading;
mod said;
#[cfg(test)]
mod tests;

use bus::{Bus, Engine};
use ended::Ended;
use notes::{Notes, hash};
use peer::{Peer, State};
use reading::Reading;

/// Why there is no connection while nobody listens there.
pub(crate) const AWAY: &str = "connection refused";

/// Reasons that are told in one outage.
const REASONS_MAX: usize = 8;

/// Keeps a relayer on a bus until nobody listens to `events` any more. While the bus is away it is
/// dialled again, with growing pauses; an outage is told once, and once more for each other reason.
pub async fn keep<E: Engine>(
    driver: Driver,
    engine: E,
    notes: Notes,
    events: mpsc::Sender<LinkEvent>,
) {
    let url = engine.address().to_owned();
    let store = crdt_core::id::StoreId::from_bytes([0; 32]);
    let (reading, queue) = (Reading::default(), VecDeque::new());
    let mut state = State { notes, store, reading, queue, careful: false };
    let (mut pause, mut told) = (Pause::new(), BTreeSet::new());
    loop {
        let mut up = None;
        let reason = serve(&driver, &engine, &mut state, async |peer| {
            up = Some(Instant::now());
            events.send(LinkEvent::Up { url: url.clone(), peer }).await.is_ok()
        })
        .await;
        if up.is_some() {
            // Why it cannot be had again is news only if it is not just away.
            told = BTreeSet::from([AWAY.to_owned()]);
        }
        let held = up.map_or(Duration::ZERO, |since| since.elapsed());
        let news = told.len() < REASONS_MAX && told.insert(reason.clone());
        let ended = LinkEnded::lost(reason);
        let wait = pause.next(held, ended.cause);
        let down = LinkEvent::down(&url, ended, wait);
        if events.is_closed() || (news && events.send(down).await.is_err()) {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// One connection to the bus, to its end; returns why it ended.
async fn serve<E: Engine>(
    driver: &Driver,
    engine: &E,
    state: &mut State,
    up: impl AsyncFnOnce(crdt_core::effect::PeerId) -> bool,
) -> String {
    let mut bus = match engine.connect().await {
        Ok(bus) => bus,
        Err(reason) => return reason,
    };
    if let Err(reason) = recognise(&bus, state).await {
        return reason;
    }
    state.careful = false;
    let mut up = Some(up);
    loop {
        let Ok(local) = LocalPeer::connect(driver, Link::PEERED, None).await else {
            return "stopping".to_owned();
        };
        if let Some(up) = up.take()
            && !up(local.id()).await
        {
            return "stopping".to_owned();
        }
        match Peer::new(local, &mut bus, state).run().await {
            Ended::Renew => {}
            Ended::Lost(reason) => return reason,
        }
    }
}

/// Finds out whether the stream is the one that is known and still holds what it held.
async fn recognise<B: Bus>(bus: &B, state: &mut State) -> Result<(), String> {
    let stream = bus.stream();
    let lost = match state.notes.token(stream) {
        Some((seq, _)) if seq > stream.last => true,
        Some((seq, was)) if seq >= stream.first => {
            bus.at(seq).await?.is_some_and(|payload| hash(&payload) != was)
        }
        // It was discarded by the stream's limits since, or there is none.
        Some(_) | None => false,
    };
    let taken = if lost { state.notes.begin_anew(stream) } else { state.notes.take_up(stream) };
    let store = taken.map_err(|error| error.to_string())?;
    if store != state.store {
        (state.store, state.reading) = (store, Reading::default());
    }
    Ok(())
}
