//! An action unrolled into starts.

use crate::error::{Error, Result};
use crate::expr::{body_named, near, unknown_body};
use crate::maths::Vec3;
use crate::scene::{EventAction, FaultKind, Object, Scene};
use crate::state::Catalog;

use super::runner::Sensor;

/// Most starts that one event may unroll to: a repeat of a repeat should fail, not fill the memory.
const MAX_STARTS: usize = 100_000;

/// Something that begins at one instant.
#[derive(Clone, Debug)]
pub(super) enum Start {
    Impulse { body: usize, impulse: Vec3 },
    Force { body: usize, force: Vec3, duration_secs: Option<f64> },
    Set { body: usize, at: Option<Vec3>, velocity: Option<Vec3>, angular_velocity: Option<Vec3> },
    Spawn(usize),
    Remove(usize),
    Friction { body: usize, coefficient: f32 },
    BreakJoint(String),
    KillMotor(String),
    Fault { sensor: Sensor, kind: FaultKind, duration_secs: Option<f64> },
    Terminate,
}

/// A start and its offset from the event's firing, seconds.
#[derive(Clone, Debug)]
pub(super) struct Scheduled {
    pub offset_secs: f64,
    pub start: Start,
}

/// Every body that an event may spawn, in the order of the events: they are in the catalog from the start.
/// A name that several events spawn is listed once.
pub fn spawned(scene: &Scene) -> Vec<(&str, &Object)> {
    fn collect<'a>(action: &'a EventAction, found: &mut Vec<(&'a str, &'a Object)>) {
        match action {
            EventAction::Spawn { name, object } if !found.iter().any(|(known, _)| known == name) => {
                found.push((name, object));
            }
            EventAction::Serial(actions) | EventAction::Parallel(actions) => {
                actions.iter().for_each(|action| collect(action, found));
            }
            EventAction::Repeat { action, .. } => collect(action, found),
            _ => {}
        }
    }
    let mut found = Vec::new();
    scene.events.iter().for_each(|event| collect(&event.action, &mut found));
    found
}

/// Unrolls one event's action.
pub(super) struct Unroller<'a> {
    pub scene: &'a Scene,
    pub catalog: &'a Catalog,
    pub field: String,
    pub starts: Vec<Scheduled>,
}

fn vector(v: [f64; 3]) -> Vec3 {
    Vec3::from_array(v.map(|x| x as f32))
}

impl Unroller<'_> {
    /// Adds the starts of `action` begun at `offset_secs`; gives how long it takes, seconds.
    pub fn add(&mut self, action: &EventAction, offset_secs: f64) -> Result<f64> {
        let mut length_secs = 0.0;
        let start = match action {
            EventAction::Serial(actions) => {
                for action in actions {
                    length_secs += self.add(action, offset_secs + length_secs)?;
                }
                return Ok(length_secs);
            }
            EventAction::Parallel(actions) => {
                for action in actions {
                    length_secs = self.add(action, offset_secs)?.max(length_secs);
                }
                return Ok(length_secs);
            }
            EventAction::Repeat { times, every, action } => {
                if *every <= 0.0 && *times > 1 {
                    return Err(self.fail("repeat needs a time between starts above 0"));
                }
                for i in 0..*times {
                    let begin = f64::from(i) * every;
                    // What begins after the episode's end never happens.
                    if offset_secs + begin > self.scene.engine.duration {
                        break;
                    }
                    length_secs = begin + self.add(action, offset_secs + begin)?;
                }
                return Ok(length_secs);
            }
            EventAction::Wait(secs) => return self.duration(*secs),
            EventAction::ApplyImpulse { to, value } => Start::Impulse { body: self.body(to)?, impulse: vector(*value) },
            EventAction::ApplyForce { to, value, duration } => {
                length_secs = self.duration(duration.unwrap_or(0.0))?;
                Start::Force { body: self.body(to)?, force: vector(*value), duration_secs: *duration }
            }
            EventAction::Set { of, at, velocity, angular_velocity } => Start::Set {
                body: self.body(of)?,
                at: at.map(vector),
                velocity: velocity.map(vector),
                angular_velocity: angular_velocity.map(vector),
            },
            EventAction::Spawn { name, .. } => Start::Spawn(self.body(name)?),
            EventAction::Remove(name) => {
                let body = self.body(name)?;
                if self.catalog.bodies[body].robot.is_some() {
                    return Err(self.fail(&format!("`{name}` is a robot's link, and only objects can be removed")));
                }
                Start::Remove(body)
            }
            EventAction::Friction { of, value } => {
                if *value < 0.0 {
                    return Err(self.fail("a friction coefficient is not negative"));
                }
                Start::Friction { body: self.body(of)?, coefficient: *value as f32 }
            }
            EventAction::BreakJoint(name) => Start::BreakJoint(self.joint(name)?),
            EventAction::KillMotor(name) => Start::KillMotor(self.motor(name)?),
            EventAction::Fault(fault) => {
                length_secs = self.duration(fault.duration.unwrap_or(0.0))?;
                if let FaultKind::Delay(secs) = fault.kind {
                    self.duration(secs)?;
                }
                Start::Fault { sensor: self.sensor(&fault.sensor)?, kind: fault.kind, duration_secs: fault.duration }
            }
            EventAction::Terminate => Start::Terminate,
        };
        if self.starts.len() >= MAX_STARTS {
            return Err(self.fail(&format!("the event unrolls to more than {MAX_STARTS} actions")));
        }
        self.starts.push(Scheduled { offset_secs, start });
        Ok(length_secs)
    }

    fn fail(&self, problem: &str) -> Error {
        Error::scene(self.field.clone(), problem)
    }

    fn duration(&self, secs: f64) -> Result<f64> {
        if secs >= 0.0 && secs.is_finite() { Ok(secs) } else { Err(self.fail("a duration is 0 or more seconds")) }
    }

    fn body(&self, name: &str) -> Result<usize> {
        body_named(self.catalog, name).ok_or_else(|| unknown_body(self.catalog, name, &self.field))
    }

    /// A joint of the scene (even one without a degree of freedom) or of a robot.
    fn joint(&self, name: &str) -> Result<String> {
        if self.scene.joints.contains_key(name) || self.catalog.joint(name).is_some() {
            return Ok(name.to_owned());
        }
        let of_scene = self.scene.joints.keys().map(String::as_str);
        let all = of_scene.chain(self.catalog.joints.iter().map(|joint| joint.name.as_str()));
        Err(self.unknown("joint", name, all))
    }

    /// A joint that something drives.
    fn motor(&self, name: &str) -> Result<String> {
        let name = self.joint(name)?;
        let driven = self.catalog.joint(&name).is_some_and(|joint| {
            let info = &self.catalog.joints[joint];
            info.actuated || self.listed(info.robot, &name)
        });
        if driven { Ok(name) } else { Err(self.fail(&format!("joint `{name}` has no motor"))) }
    }

    /// True if a controller of the robot names the joint, actuated in its file or not.
    fn listed(&self, robot: Option<usize>, name: &str) -> bool {
        let Some((owner, robot)) = robot.and_then(|index| self.scene.robots.get_index(index)) else { return false };
        let own = name.strip_prefix(owner.as_str()).and_then(|rest| rest.strip_prefix('.'));
        robot.controllers.iter().flat_map(|group| &group.joints).any(|joint| Some(joint.as_str()) == own)
    }

    fn sensor(&self, name: &str) -> Result<Sensor> {
        if let Some(camera) = self.scene.cameras.get_index_of(name) {
            return Ok(Sensor::Camera(camera));
        }
        let entry = self.scene.observation.iter().position(|entry| entry.is_called(name));
        entry.map(Sensor::Observation).ok_or_else(|| {
            let entries: Vec<String> = self.scene.observation.iter().map(ToString::to_string).collect();
            let cameras = self.scene.cameras.keys().map(String::as_str);
            self.unknown(
                "sensor (a camera or an entry of observation)",
                name,
                cameras.chain(entries.iter().map(String::as_str)),
            )
        })
    }

    fn unknown<'a>(
        &self,
        kind: &'static str,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Error {
        Error::UnknownName {
            field: self.field.clone(),
            kind,
            name: name.to_owned(),
            hint: near::suggestion(name, candidates),
        }
    }
}
