//! `<transmission>`: how `ros_control` drives a joint.

use super::super::xml::Element;
use super::super::{Actuator, RobotModel};
use super::Reader;
use crate::error::Result;
use crate::scene::Control;

impl Reader<'_> {
    /// Gives joints the control that the hardware interface of their transmission names.
    pub(super) fn transmissions(&mut self, root: &Element, model: &mut RobotModel) {
        for element in root.children("transmission") {
            let kind = element.child("type").map_or_else(|| element.get("type").unwrap_or_default(), |kind| &kind.text);
            if !(kind.is_empty() || kind.ends_with("SimpleTransmission")) {
                self.notes
                    .at(element, format!("<transmission> of type {kind} is not read: each joint is driven alone"));
            }
            if element.child("joint").is_none() {
                self.notes.at(element, "<transmission> without a joint is not read");
            }
            for joint in element.children("joint") {
                let read = self.transmission(element, joint, model);
                self.notes.keep(read);
            }
        }
    }

    fn transmission(&mut self, element: &Element, joint: &Element, model: &mut RobotModel) -> Result<()> {
        // Before ROS Indigo the interface stood in the actuator.
        let mut interfaces = joint.children("hardwareInterface").collect::<Vec<_>>();
        if interfaces.is_empty() {
            interfaces.extend(element.children("actuator").flat_map(|actuator| actuator.children("hardwareInterface")));
        }
        let mut controls =
            interfaces.iter().filter_map(|interface| match interface.text.rsplit('/').next().unwrap_or_default() {
                "EffortJointInterface" => Some(Control::Torque),
                "VelocityJointInterface" => Some(Control::Velocity),
                "PositionJointInterface" | "PosVelJointInterface" => Some(Control::Position),
                _ => None,
            });
        let Some(control) = controls.next() else {
            self.notes.at(element, "<transmission> without an interface for position, velocity or effort is not read");
            return Ok(());
        };
        if controls.any(|other| other != control) {
            self.notes.at(element, "<transmission> has several interfaces: only the first is kept");
        }
        let name = joint.required("name")?;
        let Some(index) = model.joint(name).filter(|&index| model.joints[index].actuated) else {
            self.notes.at(element, format!("<transmission> of joint `{name}`, which nothing can drive, is not read"));
            return Ok(());
        };
        if model.joints[index].actuator.is_some() {
            self.notes.at(element, format!("joint `{name}` has another transmission: only the first is kept"));
            return Ok(());
        }
        model.joints[index].actuator = Some(Actuator {
            name: element.child("actuator").and_then(|actuator| actuator.get("name")).unwrap_or_default().to_owned(),
            control,
            range: [f32::NEG_INFINITY, f32::INFINITY],
            stiffness: None,
            damping: None,
        });
        Ok(())
    }
}
