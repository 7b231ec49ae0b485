//! Saving and going back.
//!
//! A snapshot holds the physical world, the servos, the events and faults under way and the present
//! state; scene, hooks and compiled expressions come from the reset. rapier's continuation has the same bits because everything it
//! carries from one step to the next is serialised (its pipeline is only workspace).

use serde::{Deserialize, Serialize};

use super::sim::Sim;
use super::world::Live;
use crate::error::{Error, Result};
use crate::events::{FaultBankState, RunnerState};
use crate::scene::Scene;
use crate::state::State;
use crate::world::Snapshot;

/// Layout of the bytes; a snapshot of another version is refused.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Saved<'a> {
    version: u32,
    sim: &'a Sim,
    state: &'a State,
    observation: &'a [f32],
    events: &'a RunnerState,
    faults: &'a FaultBankState,
}

#[derive(Deserialize)]
struct Loaded {
    version: u32,
    sim: Sim,
    state: State,
    observation: Vec<f32>,
    events: RunnerState,
    faults: FaultBankState,
}

/// BLAKE3 of a scene's serialised form.
pub(super) fn digest(scene: &Scene) -> Result<[u8; 32]> {
    let text = serde_json::to_vec(scene).map_err(|error| Error::Snapshot { problem: error.to_string() })?;
    Ok(*blake3::hash(&text).as_bytes())
}

pub(super) fn take(live: &Live) -> Result<Snapshot> {
    let saved = Saved {
        version: VERSION,
        sim: &live.built.sim,
        state: &live.state,
        observation: &live.observation,
        events: live.events.state(),
        faults: live.faults.state(),
    };
    let bytes = postcard::to_stdvec(&saved).map_err(|error| Error::Snapshot { problem: error.to_string() })?;
    Ok(Snapshot { scene: digest(&live.scene)?, bytes })
}

pub(super) fn put_back(live: &mut Live, snapshot: &Snapshot) -> Result<()> {
    if snapshot.scene != digest(&live.scene)? {
        return Err(Error::Snapshot { problem: "it belongs to another scene".into() });
    }
    let loaded: Loaded =
        postcard::from_bytes(&snapshot.bytes).map_err(|error| Error::Snapshot { problem: error.to_string() })?;
    if loaded.version != VERSION {
        let problem = format!("it has version {}, this engine reads {VERSION}", loaded.version);
        return Err(Error::Snapshot { problem });
    }
    live.events.restore(loaded.events)?;
    live.fired_before = live.events.fired().len();
    live.faults.restore(loaded.faults)?;
    live.built.sim = loaded.sim;
    live.state = loaded.state;
    live.observation = loaded.observation;
    Ok(())
}
