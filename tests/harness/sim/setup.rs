//! Who takes part in a run, who is linked to whom, and what is bound to happen.

use std::sync::Arc;

use crdt_core::id::RoomName;

use super::liar::Liar;
use super::link::Link;
use super::mangle::Mangler;
use super::options::{Crime, Lie};
use super::party::Party;
use super::world::{Event, World};

/// A seed for the key of a party.
fn key_of(kind: u8, number: usize) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[0] = u8::try_from(number).unwrap_or(u8::MAX);
    seed
}

/// Honest relayers first, then lying ones, then honest nodes; lying authors apart.
pub(super) fn people(world: &mut World) {
    let names = ["main", "side", "third"];
    let rooms = names.into_iter().take(world.options.rooms.clamp(1, 3));
    world.rooms = rooms.filter_map(|name| RoomName::parse(name).ok()).collect();
    let signatures = Arc::clone(&world.signatures);
    let (honest, lying) = (world.options.relayers, world.options.lying_relayers);
    for number in 0..honest + lying {
        let store = world.new_store();
        let kind = if number < honest { "relayer" } else { "lying relayer" };
        world.parties.push(Party::new(format!("{kind} {number}"), None, store, &signatures));
    }
    for number in 0..world.options.authors {
        let store = world.new_store();
        let key = key_of(1, number);
        let party = Party::new(format!("node {number}"), Some(key), store, &signatures);
        world.truth.honest.extend(party.author());
        world.parties.push(party);
    }
    let authors: Vec<_> = world.parties.iter().filter_map(Party::author).collect();
    for who in honest..honest + lying {
        let all: Vec<Lie> = world.options.lies.iter().copied().collect();
        let lies = all.iter().copied().filter(|_| world.tape.chance(600)).collect();
        let victim = world.tape.pick(&authors);
        let other = world.rooms.get(1).map_or("ab".repeat(32), |room| room.id().to_string());
        world.parties[who].mangler = Some(Mangler { lies, victim, other_room: other });
    }
    for number in 0..world.options.liars {
        let rooms = world.rooms.iter().map(RoomName::id).collect();
        let mut liar = Liar::new(format!("liar {number}"), key_of(2, number), rooms);
        let all: Vec<Crime> = world.options.crimes.iter().copied().collect();
        liar.crimes = all.into_iter().filter(|_| world.tape.chance(600)).collect();
        if liar.crimes.contains(&Crime::ClaimStore) {
            let whose = world.tape.below(world.parties.len());
            liar.store = world.parties[whose].store;
        }
        world.liars.push(liar);
    }
}

/// Links nodes to relayers and to one another, liars to anybody; every honest party has an honest
/// path to every other.
pub(super) fn topology(world: &mut World) {
    let relayers = world.options.relayers + world.options.lying_relayers;
    let (parties, honest_relayers) = (world.parties.len(), world.options.relayers);
    // The smallest party each is joined with by honest links.
    let mut group: Vec<usize> = (0..parties).collect();
    let mut pairs: Vec<[usize; 2]> = Vec::new();
    for node in relayers..parties {
        for relayer in 0..relayers {
            if world.tape.chance(650) {
                pairs.push([node, relayer]);
            }
        }
        for other in node + 1..parties {
            if world.tape.chance(world.options.mesh) {
                pairs.push([node, other]);
            }
        }
    }
    let honest =
        |world: &World, pair: &[usize; 2]| pair.iter().all(|who| world.parties[*who].is_honest());
    for pair in pairs.iter().filter(|pair| honest(world, pair)) {
        join(&mut group, *pair);
    }
    // A first node that knows all honest relayers, and for every other at least one of them.
    let first = (0..honest_relayers).map(|relayer| [relayers, relayer]);
    let others = (relayers + 1..parties).map(|node| [node, 0]);
    for pair in first.chain(others) {
        if group[pair[0]] != group[pair[1]] {
            join(&mut group, pair);
            pairs.push(pair);
        }
    }
    for number in 0..world.liars.len() {
        let liar = parties + number;
        let links = 1 + world.tape.below(3);
        for _ in 0..links {
            let to = world.tape.below(parties);
            if !pairs.contains(&[liar, to]) {
                pairs.push([liar, to]);
            }
        }
    }
    for ends in pairs {
        let is_honest = ends.iter().all(|who| *who < parties && world.parties[*who].is_honest());
        world.links.push(Link::new(ends, is_honest));
    }
}

fn join(group: &mut [usize], [a, b]: [usize; 2]) {
    let (keep, drop) = (group[a].min(group[b]), group[a].max(group[b]));
    group.iter_mut().filter(|one| **one == drop).for_each(|one| *one = keep);
}

pub(super) fn first_events(world: &mut World) {
    for who in 0..world.parties.len() {
        world.after(0, Event::Restart(who));
        if world.parties[who].author().is_some() {
            let wait = world.tape.between(1, 2 * world.options.write_ms);
            world.after(wait, Event::Write(who));
        }
        let forgets = |mangler: &Mangler| mangler.lies.contains(&Lie::Forget);
        if world.parties[who].mangler.as_ref().is_some_and(forgets) {
            let wait = world.tape.between(1_000, 60_000);
            world.after(wait, Event::Forget(who));
        }
    }
    for link in 0..world.links.len() {
        let wait = world.tape.between(1, 500);
        world.after(wait, Event::Up(link));
    }
    for liar in 0..world.liars.len() {
        world.after(1_000, Event::Lie(liar));
    }
    for (fault, mean) in world.options.faults.clone() {
        let wait = world.tape.between(1, 2 * mean);
        world.after(wait, Event::Chaos(fault));
    }
    let active = world.options.active_ms;
    world.after(active, Event::Heal);
}
