//! `worldloom replay --export`: an episode at the physics rate, as JSON lines, for learning dynamics.
//!
//! A header, then a line for the instant of the reset and one for the end of every physics step. All
//! vectors are in the world's frame and SI units; floats are the simulator's own and round-trip exactly.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use worldloom_engine::assets::Assets;
use worldloom_engine::events::Fired;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::maths::Vec3;
use worldloom_engine::physics::{BodyInertia, Link, PhysicsWorld, Substep, Wrench};
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::state::{Catalog, State};
use worldloom_engine::view::View;
use worldloom_engine::world::{Snapshot, Step, World};

use crate::episode::{self, Origin, Stage};
use crate::failure::{Failure, Outcome};

/// A line of `replay --export`.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// The first line: names, inertias, the tree of joints.
    Header(Header),
    /// The end of a physics step; the instant of the reset has step 0.
    Step(StepLine),
}

/// Names behind the indices of the steps.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of this format.
    pub format_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the run.
    pub seed: u64,
    /// Episode number.
    pub episode: u64,
    /// Physics steps a second.
    pub physics_rate_hz: u32,
    /// Control steps a second.
    pub control_rate_hz: u32,
    /// m/s².
    pub gravity: [f64; 3],
    /// By body.
    pub bodies: Vec<BodyLine>,
    /// By degree of freedom.
    pub joints: Vec<ChannelLine>,
    /// By channel of the action.
    pub action: Vec<ChannelLine>,
    /// The tree that `wrenches` follow.
    pub links: Vec<LinkLine>,
}

/// A body.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyLine {
    /// `mug`, or `arm.forearm` for a link.
    pub name: String,
    /// Semantic class.
    pub class: String,
    /// True if it never moves.
    pub fixed: bool,
    /// kg; null for what never moves and has no mass of its own.
    pub mass_kg: Option<f32>,
    /// Centre of mass in the body's frame, m.
    pub centre_of_mass: [f32; 3],
    /// Rows of the inertia about the centre of mass, axes of the body's frame, kg·m².
    pub inertia: [[f32; 3]; 3],
}

/// A number of a vector: a degree of freedom, or a channel of the action.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelLine {
    /// `hinge`, or `arm.elbow`.
    pub name: String,
    /// Its unit, e.g. `rad`, `m` or `N`.
    pub unit: String,
}

impl ChannelLine {
    fn new(name: &str, unit: &str) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned() }
    }
}

/// A joint or weld through which a body hangs from another.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkLine {
    /// The joint's name, or the child's if they are welded.
    pub name: String,
    /// Index of the body it hangs from; null for the world.
    pub parent: Option<usize>,
    /// Index of the body that hangs.
    pub child: usize,
    /// Where the wrench is taken, in the child's frame, m.
    pub anchor: [f32; 3],
}

/// The end of a physics step.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepLine {
    /// Physics steps since the reset.
    pub step: u64,
    /// Seconds since the reset.
    pub time_secs: f64,
    /// What the policy set for the control step that this belongs to; null at the reset.
    pub action: Option<Vec<f32>>,
    /// By body.
    pub bodies: Vec<BodyStateLine>,
    /// By degree of freedom.
    pub joints: Vec<DofStateLine>,
    /// Forces applied to bodies at their centres of mass by actions and events, during the step.
    pub applied: Vec<AppliedLine>,
    /// Contacts of the step.
    pub contacts: Vec<ContactLine>,
    /// By link of the header: what its parent put on the child during the step. Empty at the reset.
    pub wrenches: Vec<WrenchLine>,
}

/// A body at one instant.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyStateLine {
    /// m.
    pub position: [f32; 3],
    /// Quaternion `[x, y, z, w]`, world from body.
    pub rotation: [f32; 4],
    /// Of the centre of mass, m/s.
    pub velocity: [f32; 3],
    /// rad/s.
    pub angular_velocity: [f32; 3],
    /// False before it is spawned and after it is removed.
    pub present: bool,
}

/// A degree of freedom at one instant.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DofStateLine {
    /// rad or m.
    pub position: f32,
    /// rad/s or m/s.
    pub velocity: f32,
    /// Its motor's torque or force over the step, N·m or N.
    pub effort: f32,
}

/// A force applied to a body.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppliedLine {
    /// Index of the body.
    pub body: usize,
    /// N.
    pub force_n: [f32; 3],
}

/// A contact point.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactLine {
    /// Index of the first body, below `b`.
    pub a: u32,
    /// Index of the second body.
    pub b: u32,
    /// m.
    pub point: [f32; 3],
    /// From `a` to `b`.
    pub normal: [f32; 3],
    /// Penetration, m.
    pub depth_m: f32,
    /// Normal and friction force on `b`, N; `a` gets the opposite.
    pub force_n: [f32; 3],
}

/// What a link carried.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrenchLine {
    /// N.
    pub force_n: [f32; 3],
    /// About the link's anchor, N·m.
    pub torque_nm: [f32; 3],
}

/// Version of the lines.
const FORMAT_VERSION: u32 = 1;

/// Writes one episode.
pub struct Exporter<'a> {
    assets: Arc<Assets>,
    origin: Origin,
    scene: &'a Arc<Scene>,
    seed: u64,
    number: u64,
    channels: Channels,
}

impl<'a> Exporter<'a> {
    /// Episode `number` of a run under `seed`; `channels` are what its policy saw.
    pub fn new(
        assets: Arc<Assets>,
        origin: Origin,
        scene: &'a Arc<Scene>,
        seed: u64,
        number: u64,
        channels: Channels,
    ) -> Self {
        Self { assets, origin, scene, seed, number, channels }
    }

    /// Simulates the episode again and writes it.
    pub fn write(&self, file: &Path) -> Outcome {
        let failed = |error: &std::io::Error| Failure::io("writing", file, error);
        let out = BufWriter::new(File::create(file).map_err(|error| failed(&error))?);
        let mut stage = Stage::new(self.assets.clone(), self.origin);
        let prepared = stage.prepare(self.scene, self.seed, self.number)?;
        let episode::Parts { world, mut policy } = prepared.into_parts();
        let (links, inertias) = (world.links(), world.inertias());
        let header = self.header(world.catalog(), &links, &inertias);
        let first = step_line(0, None, world.state(), &[], &[]);
        let mut watched = Watched { world, links, inertias, out, steps: 0, failure: None };
        watched.put(&Line::Header(header));
        watched.put(&Line::Step(first));
        let mut rollout = Rollout::new(&mut watched, policy.as_mut(), self.channels)?;
        while rollout.next_frame()?.is_some() {}
        if let Err(error) = watched.out.flush() {
            watched.failure.get_or_insert(error);
        }
        watched.failure.map_or(Ok(()), |error| Err(failed(&error)))
    }

    fn header(&self, catalog: &Catalog, links: &[Link], inertias: &[BodyInertia]) -> Header {
        let body = |(info, own): (&worldloom_engine::state::BodyInfo, &BodyInertia)| BodyLine {
            name: info.name.clone(),
            class: info.class.clone(),
            fixed: info.fixed,
            mass_kg: own.mass_kg.is_finite().then_some(own.mass_kg),
            centre_of_mass: own.centre_of_mass.to_array(),
            inertia: own.inertia.transpose().to_cols_array_2d(),
        };
        Header {
            format_version: FORMAT_VERSION,
            scenario: self.scene.name.clone(),
            seed: self.seed,
            episode: self.number,
            physics_rate_hz: self.scene.engine.physics_rate,
            control_rate_hz: self.scene.engine.control_rate,
            gravity: self.scene.engine.gravity,
            bodies: catalog.bodies.iter().zip(inertias).map(body).collect(),
            joints: catalog.joints.iter().map(|joint| ChannelLine::new(&joint.name, joint.unit)).collect(),
            action: catalog.action.channels.iter().map(|c| ChannelLine::new(&c.name, &c.unit)).collect(),
            links: links
                .iter()
                .map(|link| LinkLine {
                    name: link.name.clone(),
                    parent: link.parent,
                    child: link.child,
                    anchor: link.anchor.to_array(),
                })
                .collect(),
        }
    }
}

/// A world that writes every physics step and is otherwise the one it wraps.
struct Watched<'a> {
    world: &'a mut PhysicsWorld,
    links: Vec<Link>,
    inertias: Vec<BodyInertia>,
    out: BufWriter<File>,
    steps: u64,
    failure: Option<std::io::Error>,
}

impl Watched<'_> {
    fn put(&mut self, line: &Line) {
        put(&mut self.out, &mut self.failure, line);
    }
}

/// Writes a line unless an earlier one failed.
fn put(out: &mut BufWriter<File>, failure: &mut Option<std::io::Error>, line: &Line) {
    if failure.is_some() {
        return;
    }
    let written =
        serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from).and_then(|()| out.write_all(b"\n"));
    if let Err(error) = written {
        *failure = Some(error);
    }
}

impl World for Watched<'_> {
    fn reset(&mut self, scene: &Arc<Scene>) -> worldloom_engine::Result<()> {
        self.world.reset(scene)
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

    fn happened(&self) -> &[Fired] {
        self.world.happened()
    }

    fn step(&mut self, action: &[f32]) -> worldloom_engine::Result<Step> {
        let Self { world, links, inertias, out, steps, failure } = self;
        let (gravity, rate_hz) = (world.scene().engine.gravity, world.scene().engine.physics_rate);
        let gravity = Vec3::from_array(gravity.map(|g| g as f32));
        world.step_watched(action, &mut |step: &Substep<'_>| {
            *steps += 1;
            let wrenches = step.wrenches(links, inertias, gravity, 1.0 / rate_hz as f32);
            put(out, failure, &Line::Step(step_line(*steps, Some(action), step.after, step.forces, &wrenches)));
        })
    }

    fn view(&self, camera: usize) -> View {
        self.world.view(camera)
    }

    fn render(&mut self, camera: usize, channels: Channels, out: &mut GBuffer) -> worldloom_engine::Result<()> {
        self.world.render(camera, channels, out)
    }

    fn snapshot(&self) -> worldloom_engine::Result<Snapshot> {
        self.world.snapshot()
    }

    fn restore(&mut self, snapshot: &Snapshot) -> worldloom_engine::Result<()> {
        self.world.restore(snapshot)
    }
}

fn step_line(
    step: u64,
    action: Option<&[f32]>,
    state: &State,
    applied: &[(usize, Vec3)],
    wrenches: &[Wrench],
) -> StepLine {
    StepLine {
        step,
        time_secs: state.time_secs,
        action: action.map(<[f32]>::to_vec),
        bodies: state
            .bodies
            .iter()
            .map(|body| BodyStateLine {
                position: body.pose.translation.to_array(),
                rotation: body.pose.rotation.to_array(),
                velocity: body.velocity.to_array(),
                angular_velocity: body.angular_velocity.to_array(),
                present: body.present,
            })
            .collect(),
        joints: state
            .joints
            .iter()
            .map(|joint| DofStateLine { position: joint.position, velocity: joint.velocity, effort: joint.effort })
            .collect(),
        applied: applied.iter().map(|(body, force)| AppliedLine { body: *body, force_n: force.to_array() }).collect(),
        contacts: state
            .contacts
            .iter()
            .map(|contact| ContactLine {
                a: contact.a,
                b: contact.b,
                point: contact.point.to_array(),
                normal: contact.normal.to_array(),
                depth_m: contact.depth_m,
                force_n: (contact.normal * contact.normal_force_n + contact.friction_force_n).to_array(),
            })
            .collect(),
        wrenches: wrenches
            .iter()
            .map(|wrench| WrenchLine { force_n: wrench.force_n.to_array(), torque_nm: wrench.torque_nm.to_array() })
            .collect(),
    }
}
