//! What ties bodies and joints together beside the tree: couplings, actuators, exclusions, keyframes.

use super::super::xml::{Element, Notes};
use super::super::{Mimic, RobotModel};
use super::actuators;
use super::document::Document;
use super::geoms::flag;
use crate::error::Result;

/// What the file says of joints that the model does not keep.
pub(super) struct Written {
    /// `ref` of each joint of the model, rad or m.
    pub references: Vec<f64>,
    /// Names of the free joints.
    pub free_joints: Vec<String>,
}

impl Written {
    /// True for the name of a joint that became several, or of a free joint.
    pub(super) fn several_or_free(&self, model: &RobotModel, name: &str) -> bool {
        model.joint(&format!("{name}_rx")).is_some() || self.free_joints.iter().any(|free| free == name)
    }
}

pub(super) fn read(
    root: &Element,
    document: &Document<'_>,
    model: &mut RobotModel,
    written: &Written,
    notes: &mut Notes,
) {
    for element in root.children("equality").flat_map(|block| &block.children) {
        let read = equality(element, document, model, written, notes);
        notes.keep(read);
    }
    actuators::read(root, document, model, written, notes);
    for element in root.children("contact").flat_map(|block| &block.children) {
        match element.tag.as_str() {
            "exclude" => {
                notes.keep(exclude(element, model));
            }
            tag => notes.at(element, format!("<contact><{tag}> is not read")),
        }
    }
    for element in root.children("keyframe").flat_map(|block| &block.children) {
        if element.get("name") == Some("home") {
            let read = home(element, document, model, notes);
            notes.keep(read);
        }
    }
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
        notes.at(element, format!("<equality><{}> is not read: this loop stays open", element.tag));
        return Ok(());
    }
    let find = |name: &str| model.joint(name).ok_or_else(|| element.error(format!("there is no joint `{name}`")));
    let follower = find(element.required("joint1")?)?;
    let Some(leader) = element.get("joint2") else {
        notes.at(element, "<equality><joint> of one joint alone is not read");
        return Ok(());
    };
    let leader = find(leader)?;
    // q1 − ref1 = a0 + a1 (q2 − ref2) + …; the attributes of <default><equality> hold the class.
    let coefficients = document.attributes(element, None)?.list("polycoef")?.unwrap_or_else(|| vec![0.0, 1.0]);
    let at = |i: usize| coefficients.get(i).copied().unwrap_or(0.0);
    if coefficients.iter().skip(2).any(|&c| c != 0.0) {
        notes.at(element, "<equality><joint> is curved: only its linear part is kept");
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
        notes.at(
            element,
            format!("keyframe `home` has {} positions for {} joints: it is not read", own.len(), model.joints.len()),
        );
        return Ok(());
    }
    for (joint, &position) in model.joints.iter_mut().zip(own) {
        joint.rest = (position as f32).clamp(joint.limits[0], joint.limits[1]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::assets::Assets;
    use crate::error::Result;
    use crate::robots::{Mimic, RobotModel};
    use crate::scene::RobotSource;

    fn load(text: &'static str) -> Result<RobotModel> {
        let files = BTreeMap::from([("robot.xml".to_owned(), text.as_bytes())]);
        crate::robots::load(&RobotSource::Mjcf("robot.xml".into()), &Assets::new(files, Vec::new()))
    }

    #[test]
    fn a_coupling_counts_from_the_reference_positions_of_both_joints() {
        let model = load(
            r#"<mujoco><compiler angle="radian"/><worldbody><body name="base"><geom size="0.1"/>
                <body name="a"><joint name="lead" ref="0.5"/><geom size="0.1"/></body>
                <body name="b"><joint name="follow" ref="0.2"/><geom size="0.1"/></body></body></worldbody>
                <equality><joint joint1="follow" joint2="lead" polycoef="0.1 2 0 0 0"/></equality></mujoco>"#,
        )
        .expect("a robot");
        let follow = model.joint("follow").expect("a joint");
        let Some(Mimic { multiplier, offset, .. }) = model.joints[follow].mimic else { panic!("it follows nothing") };
        // follow = 0.2 + 0.1 + 2 (lead − 0.5)
        assert!((multiplier - 2.0).abs() < 1.0e-6, "expected a factor of 2, found {multiplier}");
        assert!((offset + 0.7).abs() < 1.0e-6, "expected an offset of −0.7 rad, found {offset}");
    }

    #[test]
    fn an_actuator_of_an_unknown_joint_is_refused_on_a_floating_robot_too() {
        const FLOATING: &str = r#"<mujoco><worldbody><body name="base"><freejoint name="root"/><geom size="0.1"/>
            <body name="a"><joint name="hinge"/><geom size="0.1"/></body></body></worldbody>
            <actuator><motor name="m" joint="root"/></actuator></mujoco>"#;
        const MISSPELT: &str = r#"<mujoco><worldbody><body name="base"><freejoint name="root"/><geom size="0.1"/>
            <body name="a"><joint name="hinge"/><geom size="0.1"/></body></body></worldbody>
            <actuator><motor name="m" joint="hinje"/></actuator></mujoco>"#;
        let model = load(FLOATING).expect("a robot");
        let said = model.skipped.iter().any(|line| line.contains("<motor \"m\"> (robot.xml:3)"));
        assert!(said, "expected the skipped actuator to be listed, found {:?}", model.skipped);
        let found = load(MISSPELT).map(|model| model.skipped);
        assert!(
            found.as_ref().is_err_and(|error| error.to_string().contains("`hinje`")),
            "expected the name to be refused, found {found:?}"
        );
    }
}
