//! What a synchronisation came to, for people, for programs, and as an exit code.

use serde_json::{Value, json};

use super::route::Traffic;
use crate::error::NodeError;
use crate::shortfall::Shortfall;
use crate::show;

/// A room at the end of it.
#[derive(Clone, Debug)]
pub struct Room {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) ops: u64,
    pub(super) set: String,
    pub(super) log: String,
    /// Ops named by others that are not here.
    pub(super) missing: Vec<String>,
}

/// How a route stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It announced what this node holds, in every room.
    InSync,
    /// It did not, for this reason.
    Apart(String),
    /// It never introduced itself, for this reason.
    Unreachable(String),
}

/// A route at the end of it.
#[derive(Clone, Debug)]
pub struct Moved {
    pub(super) url: String,
    pub(super) state: State,
    /// Ops that were new here and came from it first.
    pub(super) received: u64,
    pub(super) traffic: Traffic,
}

/// What a synchronisation came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) rooms: Vec<Room>,
    pub(super) routes: Vec<Moved>,
    pub(super) seconds: u64,
}

impl Report {
    /// What is left undone.
    ///
    /// # Errors
    /// The gravest.
    pub fn outcome(&self) -> Result<(), NodeError> {
        self.shortfall().map_or(Ok(()), |shortfall| Err(shortfall.into()))
    }

    fn shortfall(&self) -> Option<Shortfall> {
        let unreachable = self.routes.iter().find_map(|route| match &route.state {
            State::Unreachable(reason) => {
                Some(Shortfall::Unreachable { route: route.url.clone(), reason: reason.clone() })
            }
            State::InSync | State::Apart(_) => None,
        });
        let apart = || {
            self.routes.iter().find_map(|route| match &route.state {
                State::Apart(lacking) => Some(Shortfall::Apart {
                    route: route.url.clone(),
                    seconds: self.seconds,
                    lacking: lacking.clone(),
                }),
                State::InSync | State::Unreachable(_) => None,
            })
        };
        unreachable.or_else(apart)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let code = self.shortfall().map_or(0, |shortfall| shortfall.exit_code());
        let room = |room: &Room| {
            json!({
                "room": room.name, "id": room.id, "ops": room.ops, "set": room.set,
                "log": room.log, "missing": room.missing,
            })
        };
        let route = |route: &Moved| {
            let (state, reason) = match &route.state {
                State::InSync => ("in_sync", None),
                State::Apart(lacking) => ("apart", Some(lacking)),
                State::Unreachable(reason) => ("unreachable", Some(reason)),
            };
            json!({
                "route": route.url, "state": state, "reason": reason,
                "received": route.received, "acknowledged": route.traffic.acknowledged,
                "bytes_in": route.traffic.bytes_in, "bytes_out": route.traffic.bytes_out,
            })
        };
        json!({
            "schema": "crdt-node/sync/1", "ok": code == 0, "code": code,
            "routes": self.routes.iter().map(route).collect::<Vec<_>>(),
            "rooms": self.rooms.iter().map(room).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for Moved { url, state, received, traffic } in &self.routes {
            let state = match state {
                State::InSync => "in sync".to_owned(),
                State::Apart(why) => format!("NOT IN SYNC: {}", show::safe(why)),
                State::Unreachable(why) => format!("UNREACHABLE: {}", show::safe(why)),
            };
            let Traffic { acknowledged, bytes_in, bytes_out, .. } = traffic;
            lines.push(format!(
                "route  {url}  {state}\n       {received} ops received, {acknowledged} acknowledged; \
                 {bytes_in} bytes in, {bytes_out} out"
            ));
        }
        for Room { name, ops, set, log, .. } in &self.rooms {
            lines.push(format!("room   {name:<16} {ops} ops\n  set  {set}\n  log  {log}"));
        }
        lines.join("\n")
    }
}
