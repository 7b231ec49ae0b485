//! An action unrolled into starts.

use crate::error::{Error, Result};
use crate::expr::{body_named, near, unknown_body};
use crate::maths::Vec3;
use crate::problems::Problems;
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
    /// Where the action stands, for errors.
    pub field: String,
    pub starts: Vec<Scheduled>,
    pub problems: &'a mut Problems,
}

fn vector(v: [f64; 3]) -> Vec3 {
    Vec3::from_array(v.map(|x| x as f32))
}

impl Unroller<'_> {
    /// Adds the starts of `action` begun at `offset_secs`; gives how long it takes, seconds. A part that
    /// makes no sense is reported and left out.
    pub fn add(&mut self, action: &EventAction, offset_secs: f64) -> f64 {
        match action {
            EventAction::Serial(actions) => {
                let mut length_secs = 0.0;
                for (i, action) in actions.iter().enumerate() {
                    length_secs += self.inside(&format!("serial[{i}]"), action, offset_secs + length_secs);
                }
                length_secs
            }
            EventAction::Parallel(actions) => {
                let part = |(i, action)| self.inside(&format!("parallel[{i}]"), action, offset_secs);
                actions.iter().enumerate().map(part).fold(0.0, f64::max)
            }
            EventAction::Repeat { times, every, action } => {
                if *every <= 0.0 && *times > 1 {
                    self.refuse("repeat.every", "repeat needs a time between starts above 0");
                    return 0.0;
                }
                let mut length_secs = 0.0;
                for i in 0..*times {
                    let begin = f64::from(i) * every;
                    // What begins after the episode's end never happens.
                    if offset_secs + begin > self.scene.engine.duration {
                        break;
                    }
                    length_secs = begin + self.inside("repeat.do", action, offset_secs + begin);
                    if self.starts.len() > MAX_STARTS {
                        break;
                    }
                }
                length_secs
            }
            single => match self.start(single) {
                Ok((start, length_secs)) => {
                    if self.starts.len() <= MAX_STARTS {
                        self.starts.extend(start.map(|start| Scheduled { offset_secs, start }));
                    }
                    if self.starts.len() > MAX_STARTS {
                        self.refuse("", &format!("the event unrolls to more than {MAX_STARTS} actions"));
                    }
                    length_secs
                }
                Err(error) => {
                    self.problems.push(&self.field, error);
                    0.0
                }
            },
        }
    }

    /// [`Unroller::add`] for an action under `key` of this one.
    fn inside(&mut self, key: &str, action: &EventAction, offset_secs: f64) -> f64 {
        let inner = format!("{}.{key}", self.field);
        let outer = std::mem::replace(&mut self.field, inner);
        let length_secs = self.add(action, offset_secs);
        self.field = outer;
        length_secs
    }

    /// What a single action starts, if anything, and how long it takes, seconds.
    fn start(&self, action: &EventAction) -> Result<(Option<Start>, f64)> {
        let mut length_secs = 0.0;
        let start = match action {
            EventAction::Wait(secs) => return Ok((None, self.duration(*secs, "wait")?)),
            EventAction::ApplyImpulse { to, value } => {
                Start::Impulse { body: self.body(to, "apply_impulse.to")?, impulse: vector(*value) }
            }
            EventAction::ApplyForce { to, value, duration } => {
                length_secs = self.duration(duration.unwrap_or(0.0), "apply_force.for")?;
                let body = self.body(to, "apply_force.to")?;
                Start::Force { body, force: vector(*value), duration_secs: *duration }
            }
            EventAction::Set { of, at, velocity, angular_velocity } => Start::Set {
                body: self.body(of, "set.of")?,
                at: at.map(vector),
                velocity: velocity.map(vector),
                angular_velocity: angular_velocity.map(vector),
            },
            EventAction::Spawn { name, .. } => Start::Spawn(self.body(name, "spawn.name")?),
            EventAction::Remove(name) => {
                let body = self.body(name, "remove")?;
                if self.catalog.bodies[body].robot.is_some() {
                    let problem = format!("`{name}` is a robot's link, and only objects can be removed");
                    return Err(self.fail("remove", problem));
                }
                Start::Remove(body)
            }
            EventAction::Friction { of, value } => {
                if *value < 0.0 {
                    return Err(self.fail("friction.value", "a friction coefficient is not negative"));
                }
                Start::Friction { body: self.body(of, "friction.of")?, coefficient: *value as f32 }
            }
            EventAction::BreakJoint(name) => Start::BreakJoint(self.joint(name, "break_joint")?),
            EventAction::KillMotor(name) if self.problems.doubts(name) => return Ok((None, 0.0)),
            EventAction::KillMotor(name) => Start::KillMotor(self.motor(name)?),
            EventAction::Fault(fault) => {
                length_secs = self.duration(fault.duration.unwrap_or(0.0), "fault.for")?;
                if let FaultKind::Delay(secs) = fault.kind {
                    self.duration(secs, "fault.kind.delay")?;
                }
                Start::Fault { sensor: self.sensor(&fault.sensor)?, kind: fault.kind, duration_secs: fault.duration }
            }
            EventAction::Terminate => Start::Terminate,
            EventAction::Serial(_) | EventAction::Parallel(_) | EventAction::Repeat { .. } => return Ok((None, 0.0)),
        };
        Ok((Some(start), length_secs))
    }

    fn place(&self, key: &str) -> String {
        if key.is_empty() { self.field.clone() } else { format!("{}.{key}", self.field) }
    }

    fn fail(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::scene(self.place(key), problem)
    }

    fn refuse(&mut self, key: &str, problem: &str) {
        let error = self.fail(key, problem);
        self.problems.push(&self.field, error);
    }
    fn duration(&self, secs: f64, key: &str) -> Result<f64> {
        if secs >= 0.0 && secs.is_finite() { Ok(secs) } else { Err(self.fail(key, "a duration is 0 or more seconds")) }
    }

    fn body(&self, name: &str, key: &str) -> Result<usize> {
        body_named(self.catalog, name).ok_or_else(|| unknown_body(self.catalog, name, &self.place(key)))
    }

    /// A joint of the scene (even one without a degree of freedom) or of a robot.
    fn joint(&self, name: &str, key: &str) -> Result<String> {
        if self.scene.joints.contains_key(name) || self.catalog.joint(name).is_some() {
            return Ok(name.to_owned());
        }
        let of_scene = self.scene.joints.keys().map(String::as_str);
        let all = of_scene.chain(self.catalog.joints.iter().map(|joint| joint.name.as_str()));
        Err(self.unknown("joint", name, key, all))
    }

    /// A joint that something drives.
    fn motor(&self, name: &str) -> Result<String> {
        let name = self.joint(name, "kill_motor")?;
        let driven = self.catalog.joint(&name).is_some_and(|joint| {
            let info = &self.catalog.joints[joint];
            info.actuated || self.listed(info.robot, &name)
        });
        if driven { Ok(name) } else { Err(self.fail("kill_motor", format!("joint `{name}` has no motor"))) }
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
                "fault.sensor",
                cameras.chain(entries.iter().map(String::as_str)),
            )
        })
    }

    fn unknown<'a>(
        &self,
        kind: &'static str,
        name: &str,
        key: &str,
        candidates: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Error {
        Error::UnknownName {
            field: self.place(key),
            kind,
            name: name.to_owned(),
            hint: near::suggestion(name, candidates),
        }
    }
}
