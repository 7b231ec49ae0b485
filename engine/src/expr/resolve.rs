//! Names to indices.

use super::near;
use super::tree::{Place, Signal};
use crate::error::{Error, Result};
use crate::maths::{Pose, Vec3};
use crate::state::{Catalog, State};

/// A body, or a point on one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub body: usize,
    /// The frame's pose in the body; `None` for the body itself.
    pub local: Option<Pose>,
}

impl Point {
    pub fn pose(&self, state: &State) -> Pose {
        let body = state.bodies[self.body].pose;
        self.local.map_or(body, |local| body * local)
    }

    /// Of the centre of mass, or of the frame's point, which turns about the centre of mass.
    pub fn velocity(&self, state: &State, catalog: &Catalog) -> Vec3 {
        let body = &state.bodies[self.body];
        match self.local {
            None => body.velocity,
            Some(local) => {
                let arm = body.pose.rotation * (local.translation - catalog.bodies[self.body].centre_of_mass);
                body.velocity + body.angular_velocity.cross(arm)
            }
        }
    }
}

/// One body, or all links of a robot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {
    Body(u32),
    Robot(usize),
}

impl Group {
    pub fn holds(&self, body: u32, catalog: &Catalog) -> bool {
        match self {
            Self::Body(index) => *index == body,
            Self::Robot(robot) => catalog.bodies[body as usize].robot == Some(*robot),
        }
    }
}

/// Index of the robot of this name: links are named `<robot>.<link>`.
pub(crate) fn robot_named(catalog: &Catalog, name: &str) -> Option<usize> {
    let of = |full: &str| full.split_once('.').is_some_and(|(robot, _)| robot == name);
    let by_link = catalog.bodies.iter().find(|body| body.robot.is_some() && of(&body.name));
    let by_joint = || catalog.joints.iter().find(|joint| joint.robot.is_some() && of(&joint.name));
    by_link.and_then(|body| body.robot).or_else(|| by_joint().and_then(|joint| joint.robot))
}

/// Index of a body by its name, or of a robot's base by the robot's.
pub(crate) fn body_named(catalog: &Catalog, name: &str) -> Option<usize> {
    catalog.body(name).or_else(|| {
        let robot = robot_named(catalog, name)?;
        catalog.bodies.iter().position(|body| body.robot == Some(robot))
    })
}

fn unknown<'a>(
    field: &str,
    kind: &'static str,
    name: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Error {
    Error::UnknownName {
        field: field.to_owned(),
        kind,
        name: name.to_owned(),
        hint: near::suggestion(name, candidates),
    }
}

/// The error for a name that is no body's.
pub(crate) fn unknown_body(catalog: &Catalog, name: &str, field: &str) -> Error {
    unknown(field, "body", name, catalog.bodies.iter().map(|body| body.name.as_str()))
}

/// Resolves the places of one expression.
pub(super) struct Names<'a> {
    pub catalog: &'a Catalog,
    pub cameras: &'a [&'a str],
    pub field: &'a str,
}

impl Names<'_> {
    pub fn point(&self, place: &Place) -> Result<Point> {
        if let Some(body) = self.catalog.body(&place.name) {
            return Ok(Point { body, local: None });
        }
        if let Some(index) = self.catalog.frame(&place.name) {
            let frame = &self.catalog.frames[index];
            return Ok(Point { body: frame.body, local: Some(frame.local) });
        }
        if let Some(body) = body_named(self.catalog, &place.name) {
            return Ok(Point { body, local: None });
        }
        let bodies = self.catalog.bodies.iter().map(|body| body.name.as_str());
        let frames = self.catalog.frames.iter().map(|frame| frame.name.as_str());
        Err(unknown(self.field, "body or frame", &place.name, bodies.chain(frames)))
    }

    pub fn body(&self, place: &Place) -> Result<usize> {
        body_named(self.catalog, &place.name).ok_or_else(|| unknown_body(self.catalog, &place.name, self.field))
    }

    pub fn group(&self, place: &Place) -> Result<Group> {
        if let Some(body) = self.catalog.body(&place.name) {
            return Ok(Group::Body(body as u32));
        }
        match robot_named(self.catalog, &place.name) {
            Some(robot) => Ok(Group::Robot(robot)),
            None => Err(unknown_body(self.catalog, &place.name, self.field)),
        }
    }

    pub fn camera(&self, place: &Place) -> Result<usize> {
        let found = self.cameras.iter().position(|camera| *camera == place.name);
        found.ok_or_else(|| unknown(self.field, "camera", &place.name, self.cameras.iter().copied()))
    }

    /// One joint (false) or the joints of a robot (true).
    pub fn joints(&self, place: &Place, signal: Signal) -> Result<(Vec<usize>, bool)> {
        if let Some(joint) = self.catalog.joint(&place.name) {
            return Ok((vec![joint], false));
        }
        if let Some(robot) = robot_named(self.catalog, &place.name) {
            let of_robot =
                |(index, joint): (usize, &crate::state::JointInfo)| (joint.robot == Some(robot)).then_some(index);
            return Ok((self.catalog.joints.iter().enumerate().filter_map(of_robot).collect(), true));
        }
        let names = self.catalog.joints.iter().map(|joint| joint.name.as_str());
        let mut error = unknown(self.field, "joint", &place.name, names);
        if let (Error::UnknownName { hint, .. }, true) = (&mut error, self.catalog.joints.is_empty()) {
            *hint = format!("{}() needs a joint or a robot, and this scene has none", signal.name());
        }
        Err(error)
    }
}
