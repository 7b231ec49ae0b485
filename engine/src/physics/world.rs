//! [`PhysicsWorld`]: a scene under rapier.

use std::sync::Arc;

use super::build::{Built, build_all};
use super::camera::Rig;
use super::drawing::{SceneRenderer, Shot};
use super::effects;
use super::sight::Eyes;
use super::step::Scratch;
use super::watch::Substep;
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::events::{EventRunner, FaultBank, Fired};
use crate::expr::{Expr, Program};
use crate::gbuffer::{Channels, GBuffer};
use crate::problems::{Compile, Problems};
use crate::robots::RobotModel;
use crate::scene::Scene;
use crate::spec::{CameraSpec, Channel, ObservationSpec, VectorSpec};
use crate::state::{Catalog, State};
use crate::view::View;
use crate::visual::Visual;
use crate::world::{Snapshot, Step, World};

/// A world simulated by rapier3d.
pub struct PhysicsWorld {
    assets: Arc<Assets>,
    live: Option<Box<Live>>,
}

/// Sees each physics step of a control step.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&Substep<'_>);

/// What exists between a reset and the next.
pub(super) struct Live {
    pub scene: Arc<Scene>,
    pub built: Built,
    pub rules: Rules,
    pub events: EventRunner,
    pub faults: FaultBank,
    pub eyes: Eyes,
    pub scratch: Scratch,
    pub state: State,
    pub observation: Vec<f32>,
    pub action: Vec<f32>,
    /// Events that had fired before the last step.
    pub fired_before: usize,
}

/// The scene's expressions, compiled.
pub(super) struct Rules {
    observation: Vec<Program>,
    success: Option<Program>,
    reward: Option<Program>,
    terminate: Option<Program>,
}

impl PhysicsWorld {
    /// A world that finds its files in `assets`.
    pub fn new(assets: Arc<Assets>) -> Self {
        Self { assets, live: None }
    }

    /// The models of the scene's robots, in order; empty before a reset.
    pub fn robots(&self) -> &[Arc<RobotModel>] {
        self.live.as_ref().map_or(&[], |live| &live.built.models)
    }

    /// The names and the robots of a scene, past every problem.
    pub(crate) fn names(scene: &Scene, assets: &Assets, problems: &mut Problems) -> (Catalog, Vec<Arc<RobotModel>>) {
        let Parts { built, .. } = Parts::new(scene, assets, problems);
        (built.catalog, built.models)
    }

    /// Every event that fired since the reset, in order; [`World::happened`] gives those of the last step.
    pub fn fired(&self) -> &[Fired] {
        self.live.as_ref().map_or(&[], |live| live.events.fired())
    }

    /// What a renderer draws of the scene; empty before a reset.
    pub fn visuals(&self) -> &[Visual] {
        self.live.as_ref().map_or(&[], |live| live.eyes.renderer.visuals())
    }

    /// What `cameras` (by their index in the scene) see now, sensor faults included; with `channels.flow` also the motion
    /// to the shot `before`, which may be of another time.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a world that was never reset, a camera that is not there, and a shot of other cameras or bodies
    /// before.
    pub fn shoot(&mut self, cameras: &[usize], channels: Channels, before: Option<&Shot>) -> Result<Shot> {
        let live = self.live_mut("shoot")?;
        let mut shot = live.eyes.renderer.draw(&live.state.bodies, cameras, channels, before)?;
        for (camera, pixels) in cameras.iter().zip(&mut shot.pixels) {
            live.spoil(*camera, channels, pixels);
        }
        Ok(shot)
    }
}

impl PhysicsWorld {
    pub(super) fn live(&self) -> &Live {
        match &self.live {
            Some(live) => live,
            None => never_reset(),
        }
    }

    /// A control step, showing each physics step to `watch`.
    pub(super) fn step_shown(&mut self, action: &[f32], watch: Option<Watch<'_>>) -> Result<Step> {
        self.live_mut("step")?.step(action, watch)
    }

    pub(super) fn live_mut(&mut self, operation: &'static str) -> Result<&mut Live> {
        self.live.as_deref_mut().ok_or_else(|| Error::Misuse {
            operation,
            expected: "a world that has been reset to a scene".into(),
            found: "a world that was never reset".into(),
        })
    }
}

impl World for PhysicsWorld {
    fn reset(&mut self, scene: &Arc<Scene>) -> Result<()> {
        // Built before the old one goes: a failed reset leaves the world as it was.
        self.live = Some(Box::new(Live::new(scene, &self.assets)?));
        Ok(())
    }

    fn scene(&self) -> &Arc<Scene> {
        &self.live().scene
    }

    fn catalog(&self) -> &Catalog {
        &self.live().built.catalog
    }

    fn state(&self) -> &State {
        &self.live().state
    }

    fn observation(&self) -> &[f32] {
        &self.live().observation
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        self.step_shown(action, None)
    }

    fn happened(&self) -> &[Fired] {
        let live = self.live();
        live.events.fired().get(live.fired_before..).unwrap_or_default()
    }

    fn view(&self, camera: usize) -> View {
        let live = self.live();
        live.eyes.renderer.rigs()[camera].view(&live.state.bodies)
    }

    fn render(&mut self, camera: usize, channels: Channels, out: &mut GBuffer) -> Result<()> {
        let live = self.live_mut("render")?;
        let rigs = live.eyes.renderer.rigs();
        let Some(rig) = rigs.get(camera) else {
            return Err(Error::Misuse {
                operation: "render",
                expected: format!("a camera index below {}", rigs.len()),
                found: camera.to_string(),
            });
        };
        let view = rig.view(&live.state.bodies);
        live.eyes.renderer.draw_view(&view, &live.state.bodies, channels, out);
        live.spoil(camera, channels, out);
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let live = self.live.as_ref().ok_or_else(|| Error::Snapshot { problem: "the world was never reset".into() })?;
        super::snapshot::take(live)
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        super::snapshot::put_back(self.live_mut("restore")?, snapshot)
    }
}

/// What a scene's names resolve to. Whole only if there were no problems.
struct Parts {
    built: Built,
    rigs: Vec<Rig>,
    rules: Rules,
    events: Option<EventRunner>,
}

impl Parts {
    fn new(scene: &Scene, assets: &Assets, problems: &mut Problems) -> Self {
        let mut built = build_all(scene, assets, problems);
        let rigs = Rig::all(scene, &built.catalog, problems);
        let rules = Rules::new(scene, &built.catalog, problems);
        built.catalog.observation =
            ObservationSpec { state: VectorSpec { channels: rules.channels() }, cameras: cameras(scene) };
        let events = EventRunner::collect(scene, &built.catalog, problems);
        Self { built, rigs, rules, events }
    }
}

impl Live {
    fn new(scene: &Arc<Scene>, assets: &Assets) -> Result<Self> {
        let mut problems = Problems::default();
        let Parts { mut built, rigs, rules, events } = Parts::new(scene, assets, &mut problems);
        problems.first()?;
        let Some(events) = events else {
            return Err(Error::scene("events", "the events could not be resolved"));
        };
        let scratch = Scratch::default();
        let mut state = State::default();
        built.sim.read(&scratch, &mut state);
        let visuals = std::mem::take(&mut built.visuals);
        let eyes = Eyes::new(SceneRenderer::of(scene, &built.catalog, visuals, rigs));
        let dims: Vec<usize> = rules.observation.iter().map(Program::dim).collect();
        let mut live = Self {
            scene: scene.clone(),
            events,
            faults: FaultBank::new(scene, &dims),
            built,
            rules,
            eyes,
            scratch,
            state,
            observation: Vec::new(),
            action: Vec::new(),
            fired_before: 0,
        };
        live.observe();
        Ok(live)
    }

    /// What a camera's faults make of its picture.
    fn spoil(&mut self, camera: usize, channels: Channels, pixels: &mut GBuffer) {
        if channels.colour && !self.faults.spares_camera(camera) {
            self.faults.picture(camera, self.state.step, &mut pixels.colour);
        }
    }

    fn step(&mut self, action: &[f32], mut watch: Option<Watch<'_>>) -> Result<Step> {
        let spec = &self.built.catalog.action;
        if action.len() != spec.dim() {
            return Err(Error::Misuse {
                operation: "step",
                expected: format!("an action of {} numbers", spec.dim()),
                found: format!("{} numbers", action.len()),
            });
        }
        self.action.clear();
        self.action.extend_from_slice(action);
        if let Err(what) = spec.clamp(&mut self.action) {
            return Err(self.diverged(format!("action {what}")));
        }
        self.fired_before = self.events.fired().len();
        self.built.sim.forces.clear();
        let ended = self.happen()?;
        self.built.actions.apply(&self.action, &mut self.built.sim);
        let mut pulsed = !self.built.sim.pulses.is_empty();
        self.built.sim.apply_forces();
        for _ in 0..self.scene.engine.substeps() {
            let before = watch.as_ref().map(|_| self.instant());
            self.built.sim.advance(&self.built.hooks, &self.built.catalog, &mut self.scratch)?;
            if let (Some(watch), Some(before)) = (&mut watch, before) {
                let after = self.instant();
                watch(&Substep { before: &before, after: &after, forces: &self.built.sim.applied });
            }
            if std::mem::take(&mut pulsed) {
                self.built.sim.apply_forces();
            }
        }
        self.built.sim.read(&self.scratch, &mut self.state);
        self.state.step += 1;
        self.state.time_secs = self.state.step as f64 / f64::from(self.scene.engine.control_rate);
        self.observe();
        if let Some(what) = self.built.catalog.observation.state.not_finite(&self.observation) {
            return Err(self.diverged(format!("observation {what}")));
        }
        let mut step = self.judge();
        if !step.reward.is_finite() {
            return Err(self.diverged(format!("reward is {}", step.reward)));
        }
        step.terminated |= ended;
        Ok(step)
    }

    fn diverged(&self, what: String) -> Error {
        Error::Diverged { step: self.built.sim.steps, what }
    }

    /// Carries out the events of this instant; true if one of them ends the episode.
    fn happen(&mut self) -> Result<bool> {
        let mut look = self.eyes.look(&self.state);
        let mut ended = false;
        for effect in self.events.tick(&self.state, &self.built.catalog, &mut look) {
            match effects::carry_out(&mut self.built, effect)? {
                effects::Outcome::Done => {}
                effects::Outcome::Terminate => ended = true,
                effects::Outcome::Fault(fault) => self.faults.start(fault),
            }
        }
        Ok(ended)
    }

    /// The state now, between two physics steps.
    fn instant(&mut self) -> State {
        let mut state = State { step: self.state.step, ..State::default() };
        self.built.sim.read(&self.scratch, &mut state);
        state.time_secs = self.built.sim.steps as f64 / f64::from(self.scene.engine.physics_rate);
        state
    }

    /// Refills the observation from the state.
    pub(super) fn observe(&mut self) {
        self.observation.clear();
        let mut look = self.eyes.look(&self.state);
        for program in &self.rules.observation {
            program.extend(&self.state, &self.built.catalog, &mut look, &mut self.observation);
        }
        self.faults.observe(self.state.step, &mut self.observation);
    }

    /// Evaluates the scene's verdicts on the state.
    pub(super) fn judge(&mut self) -> Step {
        let mut look = self.eyes.look(&self.state);
        let (state, catalog) = (&self.state, &self.built.catalog);
        let reward = self.rules.reward.as_ref().map_or(0.0, |program| program.number(state, catalog, &mut look));
        let success = self.rules.success.as_ref().is_some_and(|program| program.holds(state, catalog, &mut look));
        let terminated = self.rules.terminate.as_ref().is_some_and(|program| program.holds(state, catalog, &mut look));
        Step { reward: reward as f32, success, terminated, truncated: state.step >= self.scene.engine.steps() }
    }
}

impl Rules {
    fn new(scene: &Scene, catalog: &Catalog, problems: &mut Problems) -> Self {
        let cameras: Vec<&str> = scene.cameras.keys().map(String::as_str).collect();
        let mut observation = Vec::with_capacity(scene.observation.len());
        for (index, entry) in scene.observation.iter().enumerate() {
            let field = format!("observation[{index}]");
            let Some(program) = problems.expression(Program::new, &entry.expr, catalog, &cameras, &field) else {
                continue;
            };
            observation.push(match &entry.name {
                Some(name) => program.named(name),
                None => program,
            });
        }
        let mut compiled = |expr: &Option<Expr>, compile: Compile, field: &str| {
            problems.expression(compile, expr.as_ref()?, catalog, &cameras, field)
        };
        Self {
            observation,
            success: compiled(&scene.success, Program::condition, "success"),
            reward: compiled(&scene.reward, Program::scalar, "reward"),
            terminate: compiled(&scene.terminate, Program::condition, "terminate"),
        }
    }

    fn channels(&self) -> Vec<Channel> {
        self.observation.iter().flat_map(|program| program.channels().to_vec()).collect()
    }
}

fn cameras(scene: &Scene) -> Vec<CameraSpec> {
    let spec = |(name, camera): (&String, &crate::scene::Camera)| CameraSpec {
        name: name.clone(),
        width: camera.resolution[0],
        height: camera.resolution[1],
    };
    scene.cameras.iter().map(spec).collect()
}

/// The accessors of [`World`] cannot fail, and have nothing to show before a reset.
#[expect(clippy::panic, reason = "a broken precondition of the trait, not an input")]
fn never_reset() -> ! {
    panic!("a PhysicsWorld was used before its first successful reset")
}
