//! One episode: a concrete scene in a physics world under the scene's own drivers, frame by frame.
//!
//! `generate`, `replay`, `preview` and `bench` all come here, so that what is replayed is what was recorded.

use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::drivers::{self, Programs};
use worldloom_engine::frame::{EpisodeEnd, Frame};
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::policy::Policy;
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::{Driver, Scene};
use worldloom_engine::state::Catalog;
use worldloom_engine::stream::Stream;
use worldloom_engine::world::World;

use crate::failure::{Failure, Outcome};

/// The stream that drivers draw from, for (seed, episode).
const DRIVER_STREAM: &str = "driver";

/// Where a scene comes from, and so whether it may start the programs that its `process` drivers name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user asked for it to be run, programs and all.
    Trusted,
    /// It comes with a dataset, or the user only wants to look: no program is started.
    Foreign,
}

impl Origin {
    /// What `--allow-process` says.
    pub fn of(allow_process: bool) -> Self {
        if allow_process { Self::Trusted } else { Self::Foreign }
    }
}

/// A worker's world, used for one episode after the other. Programs of `process` drivers live as long.
pub struct Stage {
    world: PhysicsWorld,
    assets: Arc<Assets>,
    origin: Origin,
    programs: Programs,
}

/// A scene that is ready to roll.
pub struct Prepared<'a> {
    world: &'a mut PhysicsWorld,
    policy: Box<dyn Policy>,
}

/// See [`Prepared::into_parts`].
pub struct Parts<'a> {
    /// Reset to the scene.
    pub world: &'a mut PhysicsWorld,
    /// Reset to the episode's stream.
    pub policy: Box<dyn Policy>,
}

impl Stage {
    /// A world whose files are looked up in `assets`.
    pub fn new(assets: Arc<Assets>, origin: Origin) -> Self {
        Self { world: PhysicsWorld::new(assets.clone()), assets, origin, programs: Programs::default() }
    }

    /// Builds `scene`, and the drivers of episode `number` under `seed`.
    pub fn prepare(&mut self, scene: &Arc<Scene>, seed: u64, number: u64) -> Outcome<Prepared<'_>> {
        if self.origin == Origin::Foreign {
            refuse_programs(scene)?;
        }
        self.world.reset(scene)?;
        let (catalog, robots) = (self.world.catalog(), self.world.robots());
        let mut policy = drivers::scripted_with(scene, catalog, robots, &self.assets, &self.programs)?;
        policy.reset(scene, self.world.catalog(), Stream::new(seed, DRIVER_STREAM, number, 0))?;
        Ok(Prepared { world: &mut self.world, policy })
    }
}

impl<'a> Prepared<'a> {
    /// Names behind the indices.
    pub fn catalog(&self) -> &Catalog {
        self.world.catalog()
    }

    /// What the robots' files say that could not be represented, one line each.
    pub fn skipped(&self) -> Vec<String> {
        let names = self.world.scene().robots.keys();
        names
            .zip(self.world.robots())
            .flat_map(|(name, model)| model.skipped.iter().map(move |line| format!("robot `{name}`: {line}")))
            .collect()
    }

    /// The world and its policy, for who wants to run them otherwise.
    pub fn into_parts(self) -> Parts<'a> {
        Parts { world: self.world, policy: self.policy }
    }

    /// Runs to the end. `each` gets every frame, and stops the episode by returning false (then there is no end).
    pub fn run(
        mut self,
        channels: Channels,
        mut each: impl FnMut(&Frame) -> Outcome<bool>,
    ) -> Outcome<Option<EpisodeEnd>> {
        let mut rollout = Rollout::new(self.world, self.policy.as_mut(), channels)?;
        while let Some(frame) = rollout.next_frame()? {
            if !each(&frame)? {
                return Ok(None);
            }
        }
        Ok(rollout.end())
    }
}

/// The command of the first driver of the scene that is a program.
pub fn program(scene: &Scene) -> Option<&[String]> {
    let own = scene.robots.values().filter_map(|robot| robot.driver.as_ref());
    own.chain(&scene.drivers).find_map(|driver| match driver {
        Driver::Process { command, .. } => Some(command.as_slice()),
        _ => None,
    })
}

/// Fails if a driver of the scene is a program.
fn refuse_programs(scene: &Scene) -> Outcome {
    let Some(command) = program(scene) else { return Ok(()) };
    Err(Failure::bad_input(
        format!("the scene's `process` driver would run a program: {}", command.join(" ")),
        "if you trust where the scene comes from, allow it with --allow-process",
    ))
}

/// Builds a scene and its drivers once, so that `validate` also sees what only the engine can tell.
/// No program is started: that waits for the first step.
pub fn dry_run(scene: &Scene, assets: &Arc<Assets>) -> Outcome<Vec<String>> {
    let scene = Arc::new(scene.clone());
    Ok(Stage::new(assets.clone(), Origin::Trusted).prepare(&scene, 0, 0)?.skipped())
}
