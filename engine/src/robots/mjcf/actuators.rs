//! Actuators of joints, and of fixed tendons of joints.
//!
//! An actuator pulls along a length `l = G·q + l₀` of its joint's position `q` with the force
//!
//! ```text
//! f = gain·ctrl + b₀ + b₁·l + b₂·l̇,   limited to forcerange,   τ = G·f at the joint
//! ```
//!
//! (MuJoCo, Computation, "Actuation model"), where `G` is the gear times the tendon's coefficients.
//! `motor` has gain 1 and no `b`; `position` has gain `kp`, `b₁ = −kp`, `b₂ = −kv`; `velocity` has
//! gain `kv`, `b₂ = −kv`; `general` says all of them. Seen from the joint that is
//!
//! | if | it is | a policy sets | gains |
//! |---|---|---|---|
//! | `b₁ < 0` | a position servo | `q* = (gain·ctrl + b₀ + b₁·l₀) / (−b₁·G)` | `K = −b₁·G²`, `D = −b₂·G²` |
//! | `b₁ = 0 > b₂` | a velocity servo | `v* = (gain·ctrl + b₀) / (−b₂·G)` | `D = −b₂·G²` |
//! | `b₁ = b₂ = 0` | a motor | `τ = G·(gain·ctrl + b₀)` | |
//!
//! so that the range of the control becomes one of the joint's own quantity. Joints that follow
//! another (`equality joint`) hand what pulls them to their leader.

use std::collections::BTreeMap;

use super::super::xml::{Attributes, Element, Notes};
use super::super::{Actuator, RobotModel};
use super::document::Document;
use super::relations::Written;
use crate::error::Result;
use crate::scene::Control;

/// A joint, and the length that pulls it: `coefficient · position + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pull {
    joint: usize,
    coefficient: f64,
    offset: f64,
}

/// Reads the actuators; the model's mimics must be known.
pub(super) fn read(
    root: &Element,
    document: &Document<'_>,
    model: &mut RobotModel,
    written: &Written,
    notes: &mut Notes,
) {
    let tendons = tendons(root, model, notes);
    for element in root.children("actuator").flat_map(|block| &block.children) {
        let read = actuator(element, document, model, written, &tendons, notes);
        notes.keep(read);
    }
}

/// Fixed tendons: the joints that each one pulls.
fn tendons(root: &Element, model: &RobotModel, notes: &mut Notes) -> BTreeMap<String, Vec<Pull>> {
    let mut out = BTreeMap::new();
    for element in root.children("tendon").flat_map(|block| &block.children) {
        if element.tag != "fixed" {
            notes.at(element, format!("<tendon><{}> is not read", element.tag));
            continue;
        }
        let pull = |joint: &Element| -> Result<Pull> {
            let name = joint.required("joint")?;
            let index = model.joint(name).ok_or_else(|| joint.error(format!("there is no joint `{name}`")))?;
            Ok(Pull { joint: index, coefficient: joint.own().number("coef")?.unwrap_or(1.0), offset: 0.0 })
        };
        let joints = element.children("joint").filter_map(|joint| notes.keep(pull(joint))).collect();
        if let Some(name) = element.get("name") {
            out.insert(name.to_owned(), joints);
        }
    }
    out
}

/// The same pull on joints that lead themselves: one for each of them.
fn on_leaders(model: &RobotModel, pulls: &[Pull]) -> Vec<Pull> {
    let mut out: Vec<Pull> = Vec::new();
    for &pull in pulls {
        let mut pull = pull;
        // A cycle of followers is refused later on.
        for _ in 0..model.joints.len() {
            let Some(mimic) = model.joints[pull.joint].mimic else { break };
            pull.offset += pull.coefficient * f64::from(mimic.offset);
            pull.coefficient *= f64::from(mimic.multiplier);
            pull.joint = mimic.joint;
        }
        match out.iter_mut().find(|known| known.joint == pull.joint) {
            Some(known) => {
                known.coefficient += pull.coefficient;
                known.offset += pull.offset;
            }
            None => out.push(pull),
        }
    }
    out
}

fn actuator(
    element: &Element,
    document: &Document<'_>,
    model: &mut RobotModel,
    written: &Written,
    tendons: &BTreeMap<String, Vec<Pull>>,
    notes: &mut Notes,
) -> Result<()> {
    let attributes = document.attributes(element, None)?;
    let pulled = if let Some(joint) = element.get("joint").or(element.get("jointinparent")) {
        match model.joint(joint) {
            Some(joint) => vec![Pull { joint, coefficient: 1.0, offset: 0.0 }],
            // A ball joint, or the base's own free joint.
            None if written.several_or_free(model, joint) => {
                notes.at(element, "an actuator on a ball or free joint is not read");
                return Ok(());
            }
            None => return Err(element.error(format!("there is no joint `{joint}`"))),
        }
    } else if let Some(tendon) = element.get("tendon") {
        match tendons.get(tendon) {
            Some(joints) => joints.clone(),
            None => {
                notes.at(element, "an actuator of a tendon that is not read is not read");
                return Ok(());
            }
        }
    } else {
        notes.at(element, "an actuator on no joint is not read");
        return Ok(());
    };
    let Some(law) = law(element, &attributes, notes)? else { return Ok(()) };
    let pulls = on_leaders(model, &pulled);
    let servo = law.control() != Some(Control::Torque);
    if pulls.len() > 1 {
        let instead = if servo { "an own servo with default gains" } else { "an own motor" };
        notes.at(element, format!("a tendon of joints that move apart is not one actuator: each gets {instead}"));
    }
    let ranges = Ranges::read(&attributes, document, model, &pulled)?;
    if let (true, Some([low, high])) = (servo, ranges.force)
        && low != -high
    {
        notes.at(element, "the forcerange of a servo is read as symmetric: the larger bound counts");
    }
    for pull in &pulls {
        let joint = &mut model.joints[pull.joint];
        if joint.actuator.is_some() {
            notes.at(element, format!("joint `{}` has another actuator: only the first is kept", joint.name));
            continue;
        }
        joint.actuated = true;
        if servo && pulls.len() > 1 {
            continue;
        }
        let gear = gear(&attributes)?;
        let pull = Pull { coefficient: gear * pull.coefficient, offset: gear * pull.offset, ..*pull };
        let name = element.get("name").unwrap_or_default();
        let Some(seen) = law.at_joint(name, pull, &ranges) else {
            joint.actuated = false;
            notes.at(element, "an actuator whose control has no effect, or whose bias pushes away, is not read");
            continue;
        };
        let own = if seen.control == Control::Torque { seen.range.map(f32::abs) } else { [f32::INFINITY; 2] };
        let of_force = ranges.force.map_or(f64::INFINITY, largest) * pull.coefficient.abs();
        joint.max_effort = joint.max_effort.min(own[0].max(own[1])).min(of_force as f32);
        joint.actuator = Some(seen);
    }
    Ok(())
}

/// Joint effort per unit of actuator force.
fn gear(attributes: &Attributes<'_>) -> Result<f64> {
    Ok(finite(attributes, "gear")?.first().copied().unwrap_or(1.0))
}

/// Finite numbers; none if the attribute is absent.
fn finite(attributes: &Attributes<'_>, attribute: &str) -> Result<Vec<f64>> {
    let list = attributes.list(attribute)?.unwrap_or_default();
    match list.iter().all(|x| x.is_finite()) {
        true => Ok(list),
        false => Err(attributes.element.error(format!("`{attribute}` is not finite"))),
    }
}

fn largest([low, high]: [f64; 2]) -> f64 {
    low.abs().max(high.abs())
}

/// Bounds of an actuator, in its own units; none if unlimited.
struct Ranges {
    control: Option<[f64; 2]>,
    force: Option<[f64; 2]>,
}

impl Ranges {
    fn read(attributes: &Attributes<'_>, document: &Document<'_>, model: &RobotModel, pulled: &[Pull]) -> Result<Self> {
        let limited = |flag_name: &str, range: Option<[f64; 2]>| match attributes.get(flag_name).unwrap_or("auto") {
            "true" => range,
            "auto" if document.compiler.auto_limits => range,
            _ => None,
        };
        let control = limited("ctrllimited", attributes.range("ctrlrange")?);
        // A position servo may take its range from that of its joint, scaled about the middle.
        let inherited = match (attributes.number("inheritrange")?, pulled) {
            (Some(part), [pull]) if part > 0.0 => {
                let [low, high] = model.joints[pull.joint].limits.map(f64::from);
                let (middle, half) = (0.5 * (low + high), 0.5 * (high - low) * part);
                (low.is_finite() && high.is_finite()).then_some([middle - half, middle + half])
            }
            _ => None,
        };
        Ok(Self { control: control.or(inherited), force: limited("forcelimited", attributes.range("forcerange")?) })
    }
}

/// See the module.
#[derive(Clone, Copy)]
struct Law {
    gain: f64,
    bias: [f64; 3],
    /// Damping is critical, whatever the bias says.
    critical: bool,
}

impl Law {
    /// `None` if its bias pushes away from rest, or its control does nothing.
    fn control(&self) -> Option<Control> {
        match self.bias {
            _ if self.gain == 0.0 => None,
            [_, position, velocity] if position < 0.0 && velocity <= 0.0 => Some(Control::Position),
            [_, 0.0, velocity] if velocity < 0.0 => Some(Control::Velocity),
            [_, 0.0, 0.0] => Some(Control::Torque),
            _ => None,
        }
    }

    fn at_joint(&self, name: &str, pull: Pull, ranges: &Ranges) -> Option<Actuator> {
        let Self { gain, bias, critical } = *self;
        let geared = pull.coefficient;
        let control = self.control().filter(|_| geared != 0.0)?;
        let (scale, shift) = match control {
            Control::Position | Control::Delta => {
                let by = -bias[1] * geared;
                (gain / by, (bias[0] + bias[1] * pull.offset) / by)
            }
            Control::Velocity => (gain / (-bias[2] * geared), bias[0] / (-bias[2] * geared)),
            Control::Torque => (geared * gain, geared * bias[0]),
        };
        let seen = |range: Option<[f64; 2]>, scale: f64, shift: f64| {
            let [a, b] = range.map_or([f64::NEG_INFINITY, f64::INFINITY], |range| range.map(|x| scale * x + shift));
            [a.min(b), a.max(b)]
        };
        let mut range = seen(ranges.control, scale, shift);
        if control == Control::Torque {
            let [low, high] = seen(ranges.force, geared, 0.0);
            range = range.map(|x| x.max(low).min(high));
        }
        // Gears and gains at the ends of what a number holds.
        if range.iter().any(|x| x.is_nan()) {
            return None;
        }
        let squared = geared * geared;
        let servo = matches!(control, Control::Position | Control::Velocity);
        Some(Actuator {
            name: name.to_owned(),
            control,
            range: range.map(|x| x as f32),
            stiffness: (control == Control::Position).then_some((-bias[1] * squared) as f32),
            damping: (servo && !critical).then_some((-bias[2] * squared) as f32),
        })
    }
}

fn law(element: &Element, attributes: &Attributes<'_>, notes: &mut Notes) -> Result<Option<Law>> {
    let first = |attribute: &str, default: f64| -> Result<f64> {
        Ok(finite(attributes, attribute)?.first().copied().unwrap_or(default))
    };
    let motor = Law { gain: 1.0, bias: [0.0; 3], critical: false };
    Ok(Some(match element.tag.as_str() {
        "motor" => motor,
        "position" => {
            let (stiffness, damping) = (first("kp", 1.0)?, first("kv", 0.0)?);
            let ratio = attributes.non_negative("dampratio")?.filter(|&ratio| ratio > 0.0);
            if ratio.is_some_and(|ratio| ratio != 1.0) {
                notes.at(element, "<position dampratio> is read as 1: damping is critical");
            }
            Law { gain: stiffness, bias: [0.0, -stiffness, -damping], critical: ratio.is_some() }
        }
        "velocity" => {
            let damping = first("kv", 1.0)?;
            Law { gain: damping, bias: [0.0, 0.0, -damping], critical: false }
        }
        "general" => {
            if attributes.get("dyntype").is_some_and(|kind| kind != "none") {
                notes.at(element, "<general dyntype> is not read: the actuator acts at once");
            }
            let kinds = ["gaintype", "biastype"].map(|kind| attributes.get(kind));
            if !matches!(kinds, [None | Some("fixed"), None | Some("none" | "affine")]) {
                notes.at(
                    element,
                    "a <general> actuator whose gain is not fixed or whose bias is not affine is not read",
                );
                return Ok(None);
            }
            let bias = match kinds[1] {
                Some("affine") => finite(attributes, "biasprm")?,
                _ => Vec::new(),
            };
            let bias = [0, 1, 2].map(|i| bias.get(i).copied().unwrap_or(0.0));
            Law { gain: first("gainprm", 1.0)?, bias, critical: false }
        }
        tag => {
            notes.at(element, format!("<actuator><{tag}> is not read"));
            return Ok(None);
        }
    }))
}
