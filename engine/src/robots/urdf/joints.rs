//! Joints of a URDF file: degrees of freedom, limits, mimics.

use glamx::glam::DVec3;

use super::super::xml::Element;
use super::super::{Mimic, Motion, RobotJoint, RobotModel};
use super::Reader;
use crate::error::Result;
use crate::maths::Vec3;

impl Reader<'_> {
    /// The degrees of freedom of a joint, mimics aside.
    pub(super) fn joint(&mut self, element: &Element) -> Result<Vec<RobotJoint>> {
        let name = element.required("name")?;
        let axis = match element.child("axis") {
            Some(axis) => axis.own().vector("xyz")?.unwrap_or(DVec3::X),
            None => DVec3::X,
        };
        let axis = match axis.try_normalize() {
            Some(axis) => axis.as_vec3(),
            // Fixed joints often carry a zero axis.
            None if element.get("type") == Some("fixed") => Vec3::X,
            None => return Err(element.error("its axis has no length")),
        };
        for child in &element.children {
            match child.tag.as_str() {
                "origin" | "parent" | "child" | "axis" | "limit" | "dynamics" | "mimic" => {}
                tag => self.notes.at(element, format!("<{tag}> of a joint is not read")),
            }
        }
        let one =
            |motion, limited| -> Vec<(String, Motion, Vec3, bool)> { vec![(name.to_owned(), motion, axis, limited)] };
        let several = |axes: &[(&str, Motion, Vec3)]| {
            axes.iter().map(|(suffix, motion, axis)| (format!("{name}_{suffix}"), *motion, *axis, false)).collect()
        };
        use Motion::{Prismatic, Revolute};
        let turns = [("rx", Revolute, Vec3::X), ("ry", Revolute, Vec3::Y), ("rz", Revolute, Vec3::Z)];
        let slides = [("x", Prismatic, Vec3::X), ("y", Prismatic, Vec3::Y), ("z", Prismatic, Vec3::Z)];
        let kind = element.required("type")?;
        let degrees = match kind {
            "revolute" => one(Revolute, true),
            "continuous" => one(Revolute, false),
            "prismatic" => one(Prismatic, true),
            "fixed" => Vec::new(),
            "spherical" | "ball" => several(&turns),
            "planar" => {
                let across = axis.any_orthonormal_vector();
                several(&[("x", Prismatic, across), ("y", Prismatic, axis.cross(across)), ("rz", Revolute, axis)])
            }
            "floating" => several(&[slides, turns].concat()),
            other => return Err(element.error(format!("`type` is `{other}`, which is no joint type"))),
        };
        if degrees.len() > 1 {
            self.notes.at(element, format!("a {kind} joint is {} joints of one degree each", degrees.len()));
        }
        let limits = self.limits(element)?;
        let (damping, friction) = match element.child("dynamics").map(Element::own) {
            Some(dynamics) => {
                (dynamics.non_negative("damping")?.unwrap_or(0.0), dynamics.non_negative("friction")?.unwrap_or(0.0))
            }
            None => (0.0, 0.0),
        };
        let driven = matches!(kind, "revolute" | "continuous" | "prismatic");
        Ok(degrees
            .into_iter()
            .map(|(name, motion, axis, limited)| {
                let range = if limited { limits.range } else { [f32::NEG_INFINITY, f32::INFINITY] };
                RobotJoint {
                    name,
                    motion,
                    axis,
                    anchor: Vec3::ZERO,
                    limits: range,
                    rest: 0.0f32.clamp(range[0], range[1]),
                    max_effort: limits.effort,
                    max_velocity: limits.velocity,
                    damping: damping as f32,
                    friction: friction as f32,
                    spring: None,
                    armature: 0.0,
                    mimic: None,
                    actuated: driven,
                    actuator: None,
                }
            })
            .collect())
    }

    fn limits(&mut self, joint: &Element) -> Result<Limits> {
        let free = [f32::NEG_INFINITY, f32::INFINITY];
        let mut limits = Limits { range: free, effort: f32::INFINITY, velocity: f32::INFINITY };
        let bounded = matches!(joint.get("type"), Some("revolute" | "prismatic"));
        let Some(limit) = joint.child("limit") else {
            if bounded {
                self.notes.at(joint, "a joint without <limit> is taken as free");
            }
            return Ok(limits);
        };
        let own = limit.own();
        let one = |attribute: &str| -> Result<Option<f64>> {
            match own.list(attribute)?.as_deref() {
                None => Ok(None),
                Some(&[x]) => Ok(Some(x)),
                Some(_) => Err(joint.error(format!("`{attribute}` of its limit: expected one number"))),
            }
        };
        match (one("lower")?, one("upper")?) {
            (None, None) => {
                if bounded {
                    self.notes.at(joint, "a joint with no lower and upper limit is taken as free");
                }
            }
            (low, high) => {
                let (low, high) = (low.unwrap_or(0.0), high.unwrap_or(0.0));
                if low > high && bounded {
                    return Err(joint.error(format!("its limits are inverted: lower {low} is above upper {high}")));
                }
                limits.range = [low as f32, high as f32];
            }
        }
        for (attribute, bound) in [("effort", &mut limits.effort), ("velocity", &mut limits.velocity)] {
            match one(attribute)? {
                Some(x) if x > 0.0 => *bound = x as f32,
                Some(x) if x < 0.0 => return Err(joint.error(format!("its {attribute} limit is negative: {x}"))),
                Some(_) => self.notes.at(joint, format!("{attribute} limit 0 is taken as none")),
                None => {}
            }
        }
        Ok(limits)
    }

    pub(super) fn mimics(&mut self, model: &mut RobotModel, places: &[&Element]) {
        for (i, place) in places.iter().enumerate() {
            let Some(element) = place.child("mimic") else { continue };
            model.joints[i].mimic = self.notes.keep(mimic(element, place, model));
        }
    }
}

fn mimic(mimic: &Element, joint: &Element, model: &RobotModel) -> Result<Mimic> {
    let leader = mimic.required("joint")?;
    let missing = || joint.error(format!("it mimics joint `{leader}`, which does not exist or does not move"));
    let own = mimic.own();
    Ok(Mimic {
        joint: model.joint(leader).ok_or_else(missing)?,
        multiplier: own.number("multiplier")?.unwrap_or(1.0) as f32,
        offset: own.number("offset")?.unwrap_or(0.0) as f32,
    })
}

/// Limits of a joint, infinite where there are none.
struct Limits {
    range: [f32; 2],
    effort: f32,
    velocity: f32,
}
