//! Where a driver sits: which channels of the action are its own, and what they mean.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::robots::RobotModel;
use crate::scene::{Control, Driver, Scene};
use crate::state::{Catalog, State};

/// A driver's channels.
#[derive(Clone)]
pub(super) struct Seat {
    /// Field path of the driver, for errors.
    pub field: String,
    /// The robot that it drives, if any.
    pub robot: Option<Ridden>,
    /// Its channels, in the action's order.
    pub levers: Vec<Lever>,
    /// Control period, seconds.
    pub dt_secs: f64,
}

/// A robot under a driver.
#[derive(Clone)]
pub(super) struct Ridden {
    /// Index among the scene's robots.
    pub index: usize,
    /// Name in the scene.
    pub name: String,
    /// Its description.
    pub model: Arc<RobotModel>,
}

/// What a channel of a robot moves: indices into the robot's model, and into the catalog's bodies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hinge {
    pub joint: usize,
    pub link: usize,
    pub body: usize,
}

/// One channel.
#[derive(Clone, Debug)]
pub(super) struct Lever {
    /// Index in the action.
    pub channel: usize,
    /// Name in the action.
    pub name: String,
    /// Bounds; infinite if there are none.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// What its value means, if it drives a joint.
    pub control: Option<Control>,
    /// Joint of the catalog that it drives, if it drives one.
    pub joint: Option<usize>,
    /// Index of the robot's controller that it belongs to.
    pub group: usize,
}

impl Lever {
    /// Half its range; 1 if it has no bounds.
    pub fn half_range(&self) -> f64 {
        let half = 0.5 * (self.high - self.low);
        if half.is_finite() { half } else { 1.0 }
    }

    /// Where motion around the start is centred: the joint's position for position control (kept inside
    /// the bounds), else the middle of the range, or 0.
    pub fn centre(&self, state: &State) -> f64 {
        let middle = 0.5 * (self.low + self.high);
        match (self.control, self.joint) {
            (Some(Control::Position), Some(joint)) => {
                f64::from(state.joints[joint].position).max(self.low).min(self.high)
            }
            _ if middle.is_finite() => middle,
            _ => 0.0,
        }
    }

    pub fn clamp(&self, value: f64) -> f64 {
        value.max(self.low).min(self.high)
    }
}

impl Seat {
    /// The seats of a scene: robots' drivers, then the scene's own, each with its driver.
    pub fn all<'a>(scene: &'a Scene, catalog: &Catalog, robots: &[Arc<RobotModel>]) -> Result<Vec<(&'a Driver, Self)>> {
        if robots.len() != scene.robots.len() {
            return Err(Error::Misuse {
                operation: "drivers::scripted",
                expected: format!("the models of {} robots", scene.robots.len()),
                found: format!("{}", robots.len()),
            });
        }
        Self::each(scene, catalog, robots).into_iter().map(|(_, driver, seat)| Ok((driver, seat?))).collect()
    }

    /// [`Seat::all`], each driver by itself, with its field.
    pub fn each<'a>(
        scene: &'a Scene,
        catalog: &Catalog,
        robots: &[Arc<RobotModel>],
    ) -> Vec<(String, &'a Driver, Result<Self>)> {
        let dt_secs = 1.0 / f64::from(scene.engine.control_rate);
        let mut held = vec![false; catalog.action.dim()];
        let mut seats = Vec::new();
        for (index, (name, robot)) in scene.robots.iter().enumerate() {
            let Some(driver) = &robot.driver else { continue };
            let levers: Vec<Lever> = (0..catalog.action.dim())
                .filter_map(|channel| lever(scene, catalog, robots, channel))
                .filter(|lever| lever.joint.is_some_and(|joint| catalog.joints[joint].robot == Some(index)))
                .collect();
            let field = format!("robots.{name}.driver");
            if levers.is_empty() {
                let error = Error::Scene {
                    field: field.clone(),
                    problem: "the driver has nothing to drive".into(),
                    hint: format!("list `{name}.controllers` in `action`"),
                };
                seats.push((field, driver, Err(error)));
                continue;
            }
            levers.iter().for_each(|lever| held[lever.channel] = true);
            let robot = Some(Ridden { index, name: name.clone(), model: robots[index].clone() });
            let own = format!("{field}.{}", driver.kind());
            seats.push((field, driver, Ok(Self { field: own, robot, levers, dt_secs })));
        }
        for (index, driver) in scene.drivers.iter().enumerate() {
            let free = (0..catalog.action.dim()).filter(|channel| !held[*channel]);
            let levers = free.filter_map(|channel| lever(scene, catalog, robots, channel)).collect();
            let field = format!("drivers[{index}]");
            let own = format!("{field}.{}", driver.kind());
            seats.push((field, driver, Ok(Self { field: own, robot: None, levers, dt_secs })));
        }
        seats
    }

    /// Error unless `found` numbers, written under `key` of the driver, fit the channels.
    pub fn expect_width(&self, found: usize, what: &str, key: &str) -> Result<()> {
        if found == self.levers.len() {
            return Ok(());
        }
        let names: Vec<&str> = self.levers.iter().map(|lever| lever.name.as_str()).collect();
        Err(Error::Scene {
            field: format!("{}{key}", self.field),
            problem: format!("{what} has {found} numbers, and there are {} channels", self.levers.len()),
            hint: format!("the channels are: {}", names.join(", ")),
        })
    }

    /// The joint that a channel drives, the link that it turns, and that link's body.
    pub fn hinge(&self, lever: usize, catalog: &Catalog) -> Result<Hinge> {
        let robot = self.robot()?;
        let name = &self.levers[lever].name;
        let own = name.strip_prefix(&format!("{}.", robot.name)).unwrap_or(name);
        let model = &robot.model;
        let joint = model.joints.iter().position(|joint| joint.name == own);
        let link = joint.and_then(|joint| model.links.iter().position(|link| link.joints.contains(&joint)));
        let body = link.and_then(|link| catalog.body(&format!("{}.{}", robot.name, model.links[link].name)));
        match (joint, link, body) {
            (Some(joint), Some(link), Some(body)) => Ok(Hinge { joint, link, body }),
            _ => Err(self.fail(format!("`{name}` turns no link"))),
        }
    }

    /// An error of this driver.
    pub fn fail(&self, problem: impl Into<String>) -> Error {
        Error::scene(self.field.clone(), problem)
    }

    /// The robot, or an error that says that this driver needs one.
    pub fn robot(&self) -> Result<&Ridden> {
        self.robot.as_ref().ok_or_else(|| self.fail("this driver belongs inside a robot"))
    }
}

fn lever(scene: &Scene, catalog: &Catalog, robots: &[Arc<RobotModel>], channel: usize) -> Option<Lever> {
    let spec = catalog.action.channels.get(channel)?;
    let joint = catalog.joint(&spec.name);
    let robot = joint.and_then(|joint| catalog.joints[joint].robot);
    let (control, group) = match (robot, joint) {
        (Some(robot), _) => {
            let (name, description) = scene.robots.get_index(robot)?;
            let own = spec.name.strip_prefix(name.as_str())?.strip_prefix('.')?;
            let model = robots.get(robot)?;
            let slot = model.joint(own)?;
            let listed = |pattern: &String| model.joints_matching(pattern).contains(&slot);
            let controllers = model.controllers(&description.controllers);
            let group = controllers.iter().position(|group| group.joints.iter().any(listed));
            let control = group.map_or(Control::Position, |group| controllers[group].control);
            (Some(control), group.unwrap_or(0))
        }
        (None, Some(_)) => (scene.joints.get(&spec.name).and_then(|joint| joint.motor.as_ref()).map(|m| m.control), 0),
        _ => (None, 0),
    };
    let (low, high) = (f64::from(spec.low), f64::from(spec.high));
    Some(Lever { channel, name: spec.name.clone(), low, high, control, joint, group })
}
