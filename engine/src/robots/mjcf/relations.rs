//! What ties bodies and joints together beside the tree: actuators, couplings, exclusions, keyframes.

use std::collections::BTreeMap;

use super::super::xml::{Attributes, Element, Notes};
use super::super::{Actuator, Mimic, RobotModel};
use super::document::Document;
use super::geoms::flag;
use crate::error::Result;
use crate::scene::Control;

/// What the file says of joints that the model does not keep.
pub(super) struct Written {
    /// `ref` of each joint of the model, rad or m.
    pub references: Vec<f64>,
    /// Names of the free joints.
    pub free_joints: Vec<String>,
}

pub(super) fn read(
    root: &Element,
    document: &mut Document<'_>,
    model: &mut RobotModel,
    written: &Written,
    notes: &mut Notes,
) -> Result<()> {
    let tendons = tendons(root, model, notes)?;
    for element in root.children("actuator").flat_map(|block| &block.children) {
        actuator(element, document, model, written, &tendons, notes)?;
    }
    for element in root.children("equality").flat_map(|block| &block.children) {
        equality(element, document, model, written, notes)?;
    }
    for element in root.children("contact").flat_map(|block| &block.children) {
        match element.tag.as_str() {
            "exclude" => exclude(element, model)?,
            tag => notes.add(format!("<contact><{tag}> is not read")),
        }
    }
    for element in root.children("keyframe").flat_map(|block| &block.children) {
        if element.get("name") == Some("home") {
            home(element, document, model, notes)?;
        }
    }
    for child in &root.children {
        match child.tag.as_str() {
            "compiler" | "default" | "asset" | "worldbody" | "actuator" | "equality" | "contact" | "keyframe"
            | "tendon" | "size" | "statistic" | "visual" | "custom" => {}
            "option" => notes.add("<option> is not read (rates, gravity and solver are the scene's)"),
            "sensor" => notes.add(format!("<sensor> is not read ({} sensors)", child.children.len())),
            tag => notes.add(format!("<{tag}> is not read")),
        }
    }
    Ok(())
}

/// Fixed tendons: the joints that each one pulls, with coefficients.
fn tendons(root: &Element, model: &RobotModel, notes: &mut Notes) -> Result<BTreeMap<String, Vec<(usize, f64)>>> {
    let mut out = BTreeMap::new();
    for element in root.children("tendon").flat_map(|block| &block.children) {
        if element.tag != "fixed" {
            notes.add(format!("<tendon><{}> is not read", element.tag));
            continue;
        }
        for passive in ["stiffness", "damping", "frictionloss", "range"] {
            if element.get(passive).is_some() {
                notes.add(format!("<tendon><fixed {passive}> is not read"));
            }
        }
        let mut joints = Vec::new();
        for joint in element.children("joint") {
            let name = joint.required("joint")?;
            let index = model.joint(name).ok_or_else(|| joint.error(format!("there is no joint `{name}`")))?;
            joints.push((index, joint.own().number("coef")?.unwrap_or(1.0)));
        }
        if let Some(name) = element.get("name") {
            out.insert(name.to_owned(), joints);
        }
    }
    Ok(out)
}

fn actuator(
    element: &Element,
    document: &Document<'_>,
    model: &mut RobotModel,
    written: &Written,
    tendons: &BTreeMap<String, Vec<(usize, f64)>>,
    notes: &mut Notes,
) -> Result<()> {
    let attributes = document.attributes(element, None)?;
    let name = element.get("name").unwrap_or_default();
    let targets: Vec<(usize, f64)> = if let Some(joint) = element.get("joint").or(element.get("jointinparent")) {
        match model.joint(joint) {
            Some(index) => vec![(index, 1.0)],
            // A ball joint, or the base's own free joint.
            None if joint_exists(model, written, joint) => {
                notes.add(format!("actuator `{name}` on a ball or free joint is not read"));
                return Ok(());
            }
            None => return Err(element.error(format!("there is no joint `{joint}`"))),
        }
    } else if let Some(tendon) = element.get("tendon") {
        match tendons.get(tendon) {
            Some(joints) => joints.clone(),
            None => {
                notes.add(format!("actuator `{name}` pulls a tendon that is not read"));
                return Ok(());
            }
        }
    } else {
        notes.add(format!("actuator `{name}` acts on no joint: it is not read"));
        return Ok(());
    };
    let Some(law) = law(element, &attributes, notes)? else { return Ok(()) };
    let gear = attributes.list("gear")?.and_then(|list| list.first().copied()).unwrap_or(1.0);
    let limited = |flag_name: &str, range: Option<[f64; 2]>| -> Result<Option<[f64; 2]>> {
        Ok(match attributes.get(flag_name).unwrap_or("auto") {
            "true" => range,
            "auto" if document.compiler.auto_limits => range,
            _ => None,
        })
    };
    let control_range = limited("ctrllimited", attributes.range("ctrlrange")?)?;
    let force_range = limited("forcelimited", attributes.range("forcerange")?)?;
    for (index, coefficient) in targets {
        let joint = &mut model.joints[index];
        let gear = gear * coefficient;
        let largest = |[low, high]: [f64; 2]| low.abs().max(high.abs());
        // A motor's force is its control times its gain.
        let from_control = match law.control {
            Control::Torque => control_range.map(|range| largest(range) * law.gain.abs()),
            _ => None,
        };
        let force = [from_control, force_range.map(largest)].into_iter().flatten().reduce(f64::min);
        if let Some(force) = force {
            joint.max_effort = joint.max_effort.min((force * gear.abs()) as f32);
        }
        if joint.actuator.is_some() {
            notes.add(format!("joint `{}` has a second actuator `{name}`: only the first is kept", joint.name));
            continue;
        }
        joint.actuated = true;
        joint.actuator = Some(Actuator {
            name: name.to_owned(),
            control: law.control,
            gear: (gear * if law.control == Control::Torque { law.gain } else { 1.0 }) as f32,
            range: control_range.map_or([f32::NEG_INFINITY, f32::INFINITY], |range| range.map(|x| x as f32)),
            stiffness: law.stiffness as f32,
            damping: law.damping as f32,
        });
    }
    Ok(())
}

/// True for the name of a joint that became several, or of a free joint.
fn joint_exists(model: &RobotModel, written: &Written, name: &str) -> bool {
    model.joint(&format!("{name}_rx")).is_some() || written.free_joints.iter().any(|free| free == name)
}

/// Force of an actuator: `gain · control` for a motor, `stiffness · (control − length) − damping · velocity`
/// for a position servo, `damping · (control − velocity)` for a velocity servo.
struct Law {
    control: Control,
    gain: f64,
    stiffness: f64,
    damping: f64,
}

fn law(element: &Element, attributes: &Attributes<'_>, notes: &mut Notes) -> Result<Option<Law>> {
    let first = |attribute: &str, default: f64| -> Result<f64> {
        Ok(attributes.list(attribute)?.and_then(|list| list.first().copied()).unwrap_or(default))
    };
    let motor = Law { control: Control::Torque, gain: 1.0, stiffness: 0.0, damping: 0.0 };
    Ok(Some(match element.tag.as_str() {
        "motor" => motor,
        "position" => {
            if attributes.get("dampratio").is_some() {
                notes.add("<position dampratio> is not read");
            }
            Law { control: Control::Position, gain: 1.0, stiffness: first("kp", 1.0)?, damping: first("kv", 0.0)? }
        }
        "velocity" => Law { control: Control::Velocity, gain: 1.0, stiffness: 0.0, damping: first("kv", 1.0)? },
        "general" => {
            if attributes.get("dyntype").is_some_and(|kind| kind != "none") {
                notes.add("<general dyntype> is not read: the actuator acts at once");
            }
            let gain = first("gainprm", 1.0)?;
            let bias = match attributes.get("biastype").unwrap_or("none") {
                "affine" => attributes.list("biasprm")?.unwrap_or_default(),
                _ => Vec::new(),
            };
            let bias = |i: usize| bias.get(i).copied().unwrap_or(0.0);
            match (bias(1), bias(2)) {
                (position, velocity) if position != 0.0 => {
                    Law { control: Control::Position, gain: 1.0, stiffness: gain, damping: -velocity }
                }
                (_, velocity) if velocity != 0.0 => {
                    Law { control: Control::Velocity, gain: 1.0, stiffness: 0.0, damping: gain }
                }
                _ => Law { gain, ..motor },
            }
        }
        tag => {
            notes.add(format!("<actuator><{tag}> is not read"));
            return Ok(None);
        }
    }))
}

fn equality(
    element: &Element,
    document: &Document<'_>,
    model: &mut RobotModel,
    written: &Written,
    notes: &mut Notes,
) -> Result<()> {
    if !flag(element, "active", true)? {
        return Ok(());
    }
    if element.tag != "joint" {
        notes.add(format!("<equality><{}> is not read: this loop stays open", element.tag));
        return Ok(());
    }
    let find = |name: &str| model.joint(name).ok_or_else(|| element.error(format!("there is no joint `{name}`")));
    let follower = find(element.required("joint1")?)?;
    let Some(leader) = element.get("joint2") else {
        notes.add("<equality><joint> of one joint alone is not read");
        return Ok(());
    };
    let leader = find(leader)?;
    // q1 − ref1 = a0 + a1 (q2 − ref2) + …; the attributes of <default><equality> hold the class.
    let coefficients = document.attributes(element, None)?.list("polycoef")?.unwrap_or_else(|| vec![0.0, 1.0]);
    let at = |i: usize| coefficients.get(i).copied().unwrap_or(0.0);
    if coefficients.iter().skip(2).any(|&c| c != 0.0) {
        notes.add(format!("{} is curved: only its linear part is kept", element.label()));
    }
    let offset = written.references[follower] + at(0) - at(1) * written.references[leader];
    model.joints[follower].mimic = Some(Mimic { joint: leader, multiplier: at(1) as f32, offset: offset as f32 });
    Ok(())
}

fn exclude(element: &Element, model: &mut RobotModel) -> Result<()> {
    let find = |attribute: &str| -> Result<Option<usize>> {
        let name = element.required(attribute)?;
        match model.link(name) {
            Some(link) => Ok(Some(link)),
            None if name == "world" => Ok(None),
            None => Err(element.error(format!("there is no body `{name}`"))),
        }
    };
    if let (Some(a), Some(b)) = (find("body1")?, find("body2")?) {
        model.excluded_pairs.push((a.min(b), a.max(b)));
    }
    Ok(())
}

/// Joint positions of the keyframe `home`.
fn home(element: &Element, document: &Document<'_>, model: &mut RobotModel, notes: &mut Notes) -> Result<()> {
    let Some(positions) = document.attributes(element, None)?.list("qpos")? else { return Ok(()) };
    // A free base has 7 numbers in front; ball joints have 4, which three hinges cannot take over.
    let base = if model.fixed_base { 0 } else { 7 };
    let own = positions.get(base..).unwrap_or_default();
    if own.len() != model.joints.len() {
        notes.add(format!(
            "keyframe `home` has {} positions for {} joints: it is not read",
            own.len(),
            model.joints.len()
        ));
        return Ok(());
    }
    for (joint, &position) in model.joints.iter_mut().zip(own) {
        joint.rest = (position as f32).clamp(joint.limits[0], joint.limits[1]);
    }
    Ok(())
}
