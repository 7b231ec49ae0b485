//! [`Pair`]: two clips that differ in one law.

use std::sync::Arc;

use super::chance::{Chance, Take};
use super::{Film, Violation};
use crate::assets::Assets;
use crate::drivers::scripted;
use crate::error::Result;
use crate::frame::Frame;
use crate::gbuffer::Channels;
use crate::maths::{Pose, Quat, Vec3, cos, sin};
use crate::physics::PhysicsWorld;
use crate::physics::tamper::Tamper;
use crate::policy::{Policy, PolicyInput};
use crate::rollout::Rollout;
use crate::scene::Scene;
use crate::state::{BodyState, Catalog, JointState, State};
use crate::stream::Stream;
use crate::world::World;

/// Moments that are tried, for one that shows.
const TRIES: usize = 12;
/// Directions that a teleport is tried in.
const DIRECTIONS: u32 = 16;
/// Clips that differ by less than this are the same, metres or m/s.
const SHOWS: f32 = 0.02;

/// Which clip of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clip {
    /// Physics as the scene says.
    Valid,
    /// Physics with one law broken.
    Invalid,
}

/// Two clips of one scene. Frames are the states but the last, as in an episode: the last is where the last step led.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What is broken.
    pub violation: Violation,
    /// How much, in the unit of the violation.
    pub severity: f64,
    /// Whose law it is, by index of the catalog; for `time_reversed` the body that ran fastest.
    pub body: usize,
    /// Last control step at which both clips are the same bits.
    pub moment: u64,
    /// What both show.
    pub scene: Arc<Scene>,
    /// What was set in each step, in both.
    pub actions: Vec<Vec<f32>>,
    /// By control step, one more than there are actions.
    pub valid: Arc<Vec<State>>,
    /// As long.
    pub invalid: Arc<Vec<State>>,
}

impl Pair {
    /// Rolls a scene out under its own drivers and breaks a law of it. `None` if nothing in the episode offers that:
    /// another scene may.
    ///
    /// # Errors
    /// A scene that cannot be built, or an episode that diverges.
    pub fn make(
        scene: &Arc<Scene>,
        assets: &Arc<Assets>,
        seed: u64,
        violation: Violation,
        severity: f64,
    ) -> Result<Option<Self>> {
        let mut world = PhysicsWorld::new(assets.clone());
        world.reset(scene)?;
        let mut policy = scripted(scene, world.catalog(), world.robots(), assets)?;
        policy.reset(scene, world.catalog(), Stream::new(seed, "driver", 0, 0))?;
        let take = Take::roll(&mut world, policy.as_mut())?;
        let mut chances = take.chances(violation);
        let mut stream = Stream::new(seed, "violation", 0, 0);
        for _ in 0..TRIES {
            if chances.is_empty() {
                break;
            }
            let chance = chances.swap_remove(stream.below(chances.len() as u64) as usize);
            let Some(invalid) = broken(&mut world, &take, chance, violation, severity, &mut stream)? else { continue };
            let frames = invalid.len();
            if frames > chance.moment + 1 && differ(&take.states[..frames], &invalid) {
                return Ok(Some(Self {
                    violation,
                    severity,
                    body: chance.body,
                    moment: chance.moment as u64,
                    scene: scene.clone(),
                    actions: take.actions[..frames - 1].to_vec(),
                    valid: Arc::new(take.states[..frames].to_vec()),
                    invalid: Arc::new(invalid),
                }));
            }
        }
        Ok(None)
    }

    /// The states of a clip.
    pub fn states(&self, clip: Clip) -> &Arc<Vec<State>> {
        match clip {
            Clip::Valid => &self.valid,
            Clip::Invalid => &self.invalid,
        }
    }

    /// A clip as a world.
    pub fn film(&self, clip: Clip, assets: &Arc<Assets>) -> Result<Film> {
        Film::new(&self.scene, assets, self.states(clip).clone())
    }

    /// A policy that sets what was set.
    pub fn policy(&self) -> Box<dyn Policy> {
        Box::new(Again { actions: self.actions.clone(), at: 0 })
    }

    /// The frames of a clip with their pictures.
    pub fn frames(&self, clip: Clip, channels: Channels, assets: &Arc<Assets>) -> Result<Vec<Frame>> {
        let mut film = self.film(clip, assets)?;
        let mut policy = self.policy();
        let mut rollout = Rollout::new(&mut film, policy.as_mut(), channels)?;
        let mut frames = Vec::with_capacity(self.actions.len());
        while let Some(frame) = rollout.next_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }
}

/// The states with the law broken; `None` if it cannot be broken there.
fn broken(
    world: &mut PhysicsWorld,
    take: &Take,
    Chance { moment, body }: Chance,
    violation: Violation,
    severity: f64,
    stream: &mut Stream,
) -> Result<Option<Vec<State>>> {
    let amount = severity as f32;
    let tamper = match violation {
        Violation::GravityOff => Tamper::Gravity(1.0 - amount),
        Violation::BounceAboveOne => Tamper::Restitution(amount),
        Violation::Interpenetration => Tamper::Size(1.0 - amount),
        Violation::WrongMass => Tamper::Mass(amount),
        Violation::Teleport => match jump(take, moment, body, severity, stream) {
            Some(by) => Tamper::Jump(by),
            None => return Ok(None),
        },
        Violation::Vanishing => return Ok(hidden(world, take, moment, body, severity)),
        Violation::TimeReversed => return Ok(Some(reversed(&take.states, moment, severity))),
    };
    let scene = world.scene().clone();
    world.reset(&scene)?;
    let mut states = vec![world.state().clone()];
    for (step, action) in take.actions.iter().enumerate() {
        if step == moment {
            world.tamper(body, tamper)?;
        }
        world.step(action)?;
        states.push(world.state().clone());
    }
    Ok(Some(states))
}

/// A horizontal jump to where nothing stands.
fn jump(take: &Take, moment: usize, body: usize, metres: f64, stream: &mut Stream) -> Option<Vec3> {
    let first = stream.unit();
    (0..DIRECTIONS).find_map(|side| {
        let angle = std::f64::consts::TAU * (first + f64::from(side) / f64::from(DIRECTIONS));
        let by = Vec3::new((metres * cos(angle)) as f32, (metres * sin(angle)) as f32, 0.0);
        take.free_at(&take.states[moment], body, by).then_some(by)
    })
}

/// The same states without a body for a while; `None` if it is not back before the end.
fn hidden(world: &PhysicsWorld, take: &Take, moment: usize, body: usize, secs: f64) -> Option<Vec<State>> {
    let steps = libm::ceil(secs * f64::from(world.scene().engine.control_rate)).max(1.0) as usize;
    let mut states = take.states.clone();
    let gone = states.get_mut(moment + 1..=moment + steps)?;
    gone.iter_mut().for_each(|state| state.bodies[body].present = false);
    Some(states)
}

/// The states up to a moment, then those before it backwards, at a pace.
fn reversed(states: &[State], moment: usize, pace: f64) -> Vec<State> {
    let mut film = states[..=moment].to_vec();
    for ahead in 1..states.len() - moment {
        let place = moment as f64 - pace * ahead as f64;
        if place < 0.0 {
            break;
        }
        let (low, part) = (place as usize, (place - libm::floor(place)) as f32);
        let State { time_secs, step, .. } = states[moment + ahead];
        let mut state = between(&states[low], &states[(low + 1).min(moment)], part);
        (state.time_secs, state.step) = (time_secs, step);
        for body in &mut state.bodies {
            body.velocity *= -(pace as f32);
            body.angular_velocity *= -(pace as f32);
        }
        for joint in &mut state.joints {
            joint.velocity *= -(pace as f32);
        }
        film.push(state);
    }
    film
}

fn between(from: &State, to: &State, part: f32) -> State {
    let body = |(a, b): (&BodyState, &BodyState)| BodyState {
        pose: Pose::from_parts(
            a.pose.translation.lerp(b.pose.translation, part),
            turned(a.pose.rotation, b.pose.rotation, part),
        ),
        velocity: a.velocity.lerp(b.velocity, part),
        angular_velocity: a.angular_velocity.lerp(b.angular_velocity, part),
        present: a.present,
    };
    let joint = |(a, b): (&JointState, &JointState)| JointState {
        position: a.position + (b.position - a.position) * part,
        velocity: a.velocity + (b.velocity - a.velocity) * part,
        effort: a.effort,
    };
    State {
        bodies: from.bodies.iter().zip(&to.bodies).map(body).collect(),
        joints: from.joints.iter().zip(&to.joints).map(joint).collect(),
        ..from.clone()
    }
}

fn turned(from: Quat, to: Quat, part: f32) -> Quat {
    let nearer = if from.dot(to) < 0.0 { -to } else { to };
    (from * (1.0 - part) + nearer * part).normalize()
}

fn differ(valid: &[State], invalid: &[State]) -> bool {
    valid.iter().zip(invalid).any(|(valid, invalid)| {
        valid.bodies.iter().zip(&invalid.bodies).any(|(a, b)| {
            a.present != b.present
                || (a.pose.translation - b.pose.translation).length() > SHOWS
                || (a.velocity - b.velocity).length() > SHOWS
        })
    })
}

/// Sets what was set, step by step.
struct Again {
    actions: Vec<Vec<f32>>,
    at: usize,
}

impl Policy for Again {
    fn reset(&mut self, _: &Scene, _: &Catalog, _: Stream) -> Result<()> {
        self.at = 0;
        Ok(())
    }

    fn act(&mut self, _: &PolicyInput<'_>, action: &mut [f32]) -> Result<()> {
        if let Some(set) = self.actions.get(self.at) {
            action.copy_from_slice(set);
        }
        self.at += 1;
        Ok(())
    }
}
