//! N worlds stepped together, so that a policy or a model infers once for all of them.
//!
//! Worlds share nothing but assets, each is stepped by one thread at a time, and the buffers are
//! laid out by slot: the result has the same bits as stepping the worlds one by one, for any number
//! of threads.

use std::sync::Arc;

use rayon::prelude::*;

use super::PhysicsWorld;
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::scene::Scene;
use crate::world::{Step, World};

/// A batch of physical worlds with the same action and observation sizes.
pub struct WorldBatch {
    worlds: Vec<PhysicsWorld>,
    assets: Arc<Assets>,
    pool: rayon::ThreadPool,
    observation_dim: usize,
    action_dim: usize,
    /// `[N, D]`, one row per slot.
    observations: Vec<f32>,
    /// `[N]`.
    steps: Vec<Step>,
    outcomes: Vec<Result<Step>>,
}

impl WorldBatch {
    /// One world per scene, reset to it, on `threads` threads (0: as many as there are cores).
    ///
    /// # Errors
    /// No scene at all, a scene that cannot be built, or scenes whose actions or observations differ in size.
    pub fn new(scenes: &[Arc<Scene>], assets: &Arc<Assets>, threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| Error::Misuse {
            operation: "WorldBatch::new",
            expected: "a pool of threads".into(),
            found: error.to_string(),
        })?;
        let worlds: Vec<PhysicsWorld> = pool.install(|| {
            let build = |scene: &Arc<Scene>| {
                let mut world = PhysicsWorld::new(assets.clone());
                world.reset(scene).map(|()| world)
            };
            scenes.par_iter().map(build).collect::<Result<_>>()
        })?;
        let Some(first) = worlds.first() else {
            return Err(Error::Misuse {
                operation: "WorldBatch::new",
                expected: "at least one scene".into(),
                found: "none".into(),
            });
        };
        let (observation_dim, action_dim) = (first.observation().len(), first.catalog().action.dim());
        let mut batch = Self {
            observations: vec![0.0; worlds.len() * observation_dim],
            steps: vec![Step::default(); worlds.len()],
            outcomes: Vec::with_capacity(worlds.len()),
            worlds,
            assets: assets.clone(),
            pool,
            observation_dim,
            action_dim,
        };
        for slot in 0..batch.worlds.len() {
            batch.refresh(slot)?;
        }
        Ok(batch)
    }

    /// Number of worlds.
    pub fn len(&self) -> usize {
        self.worlds.len()
    }

    /// True if there are none (never, after [`WorldBatch::new`]).
    pub fn is_empty(&self) -> bool {
        self.worlds.is_empty()
    }

    /// Numbers in one action.
    pub fn action_dim(&self) -> usize {
        self.action_dim
    }

    /// Numbers in one observation.
    pub fn observation_dim(&self) -> usize {
        self.observation_dim
    }

    /// `[N, D]` observations of this instant, row-major by slot.
    pub fn observations(&self) -> &[f32] {
        &self.observations
    }

    /// `[N]` results of the last [`WorldBatch::step`].
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A world by slot.
    pub fn world(&self, slot: usize) -> &PhysicsWorld {
        &self.worlds[slot]
    }

    /// A world by slot, to draw, snapshot or restore; see [`WorldBatch::refresh`].
    pub fn world_mut(&mut self, slot: usize) -> &mut PhysicsWorld {
        &mut self.worlds[slot]
    }

    /// Reads a slot's observation again after its world was changed from outside.
    ///
    /// # Errors
    /// A world that was reset to a scene of other sizes.
    pub fn refresh(&mut self, slot: usize) -> Result<()> {
        self.check_sizes(&self.worlds[slot], slot)?;
        let dim = self.observation_dim;
        self.observations[slot * dim..(slot + 1) * dim].copy_from_slice(self.worlds[slot].observation());
        Ok(())
    }

    /// Starts one slot over with a scene.
    ///
    /// # Errors
    /// A scene that cannot be built, or whose actions or observations have other sizes than the
    /// batch's: the slot goes on in its old scene.
    pub fn reset(&mut self, slot: usize, scene: &Arc<Scene>) -> Result<()> {
        let mut world = PhysicsWorld::new(self.assets.clone());
        world.reset(scene)?;
        self.check_sizes(&world, slot)?;
        self.worlds[slot] = world;
        self.steps[slot] = Step::default();
        self.refresh(slot)
    }

    /// Advances every world by one control step under `[N, A]` actions, row-major by slot.
    ///
    /// # Errors
    /// The error of the lowest slot that fails; the other slots have stepped all the same. The
    /// failed one keeps its last observation and must be reset.
    pub fn step(&mut self, actions: &[f32]) -> Result<&[Step]> {
        let expected = self.worlds.len() * self.action_dim;
        if actions.len() != expected {
            return Err(Error::Misuse {
                operation: "WorldBatch::step",
                expected: format!("{expected} numbers ({} worlds of {})", self.worlds.len(), self.action_dim),
                found: format!("{} numbers", actions.len()),
            });
        }
        let (worlds, outcomes, action_dim) = (&mut self.worlds, &mut self.outcomes, self.action_dim);
        self.pool.install(|| {
            let act = |(slot, world): (usize, &mut PhysicsWorld)| {
                world.step(&actions[slot * action_dim..(slot + 1) * action_dim])
            };
            worlds.par_iter_mut().enumerate().map(act).collect_into_vec(outcomes);
        });
        let mut failure = None;
        for slot in 0..self.worlds.len() {
            let outcome = std::mem::replace(&mut self.outcomes[slot], Ok(Step::default()));
            match outcome.and_then(|step| self.refresh(slot).map(|()| step)) {
                Ok(step) => self.steps[slot] = step,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(&self.steps),
        }
    }

    fn check_sizes(&self, world: &PhysicsWorld, slot: usize) -> Result<()> {
        let found = (world.observation().len(), world.catalog().action.dim());
        if found == (self.observation_dim, self.action_dim) {
            return Ok(());
        }
        Err(Error::Misuse {
            operation: "WorldBatch",
            expected: format!("observations of {} and actions of {}", self.observation_dim, self.action_dim),
            found: format!("{} and {} in slot {slot}", found.0, found.1),
        })
    }
}
