//! [`Film`]: recorded states as a world.

use std::sync::Arc;

use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::gbuffer::{Channels, GBuffer};
use crate::physics::PhysicsWorld;
use crate::scene::Scene;
use crate::state::{Catalog, State};
use crate::view::View;
use crate::world::{Snapshot, Step, World};

/// A world that goes through given states, whatever is done in it: the renderer, the observation, the reward and
/// the recorder see them as they see physics.
pub struct Film {
    world: PhysicsWorld,
    states: Arc<Vec<State>>,
    at: usize,
}

impl Film {
    /// A film of a scene's states, the first of which is shown.
    ///
    /// # Errors
    /// A scene that cannot be built; no states, or states of another number of bodies.
    pub fn new(scene: &Arc<Scene>, assets: &Arc<Assets>, states: Arc<Vec<State>>) -> Result<Self> {
        let mut film = Self { world: PhysicsWorld::new(assets.clone()), states, at: 0 };
        film.reset(scene)?;
        Ok(film)
    }

    fn show(&mut self) -> Result<Step> {
        let Some(state) = self.states.get(self.at) else {
            return Err(Error::Misuse {
                operation: "step",
                expected: format!("at most {} steps of a film", self.states.len().saturating_sub(1)),
                found: self.at.to_string(),
            });
        };
        let step = self.world.show(state.clone())?;
        Ok(Step { truncated: step.truncated || self.at + 1 == self.states.len(), ..step })
    }
}

impl World for Film {
    /// Starts the film again. The scene must be that of the states.
    fn reset(&mut self, scene: &Arc<Scene>) -> Result<()> {
        self.world.reset(scene)?;
        let bodies = self.world.catalog().bodies.len();
        if let Some(other) = self.states.iter().find(|state| state.bodies.len() != bodies) {
            return Err(Error::Misuse {
                operation: "reset",
                expected: format!("states of {bodies} bodies, as the scene has"),
                found: format!("{} bodies", other.bodies.len()),
            });
        }
        self.at = 0;
        self.show().map(|_| ())
    }

    fn scene(&self) -> &Arc<Scene> {
        self.world.scene()
    }

    fn catalog(&self) -> &Catalog {
        self.world.catalog()
    }

    fn state(&self) -> &State {
        self.world.state()
    }

    fn observation(&self) -> &[f32] {
        self.world.observation()
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        let channels = self.catalog().action.dim();
        if action.len() != channels {
            return Err(Error::Misuse {
                operation: "step",
                expected: format!("an action of {channels} numbers"),
                found: format!("{} numbers", action.len()),
            });
        }
        self.at += 1;
        self.show()
    }

    fn view(&self, camera: usize) -> View {
        self.world.view(camera)
    }

    fn render(&mut self, camera: usize, channels: Channels, out: &mut GBuffer) -> Result<()> {
        self.world.render(camera, channels, out)
    }

    fn snapshot(&self) -> Result<Snapshot> {
        Err(not_here())
    }

    fn restore(&mut self, _: &Snapshot) -> Result<()> {
        Err(not_here())
    }
}

fn not_here() -> Error {
    Error::Unsupported { feature: "a snapshot of a film".into(), hint: "start it again and step to the place".into() }
}
