//! What drives a robot's joints: the scene's controllers, and the file's own actuators for the rest.

use super::{Actuator, RobotJoint, RobotModel};
use crate::scene::{Control, Controller};

impl RobotModel {
    /// The controllers of a robot for which a scene gives `given`, in the order of the action.
    ///
    /// Each joint that the file gives an actuator and that no controller of the scene names gets one
    /// after the file: its control, gains and range, in the order of the joints, alike neighbours
    /// together. If the scene gives none at all, the other actuated joints get position control
    /// with default gains.
    pub fn controllers(&self, given: &[Controller]) -> Vec<Controller> {
        let named: Vec<usize> = given
            .iter()
            .flat_map(|controller| &controller.joints)
            .flat_map(|name| self.joints_matching(name))
            .collect();
        let mut own: Vec<Controller> = Vec::new();
        for (index, joint) in self.joints.iter().enumerate() {
            if joint.mimic.is_some() || named.contains(&index) {
                continue;
            }
            let settings = match &joint.actuator {
                Some(actuator) => actuator.settings(joint),
                None if joint.actuated && given.is_empty() => plain(Control::Position),
                None => continue,
            };
            match own.last_mut() {
                Some(last) if alike(last, &settings) => last.joints.push(joint.name.clone()),
                _ => own.push(Controller { joints: vec![joint.name.clone()], ..settings }),
            }
        }
        given.iter().cloned().chain(own).collect()
    }
}

impl Actuator {
    /// A controller over no joint yet. The range is left out where it is what the joint's own limits say.
    fn settings(&self, joint: &RobotJoint) -> Controller {
        let [low, high] = match self.control {
            Control::Position => joint.limits,
            Control::Velocity => [-joint.max_velocity, joint.max_velocity],
            Control::Torque => [-joint.max_effort, joint.max_effort],
            Control::Delta => [f32::NEG_INFINITY, f32::INFINITY],
        };
        let range = self.range.map(|x| x.max(low).min(high));
        Controller {
            stiffness: self.stiffness.map(f64::from),
            damping: self.damping.map(f64::from),
            range: (range != [low, high]).then(|| range.map(f64::from)),
            ..plain(self.control)
        }
    }
}

fn plain(control: Control) -> Controller {
    Controller {
        joints: Vec::new(),
        control,
        stiffness: None,
        damping: None,
        max_force: None,
        max_velocity: None,
        range: None,
    }
}

/// True if two controllers differ in nothing but their joints.
fn alike(a: &Controller, b: &Controller) -> bool {
    Controller { joints: Vec::new(), ..a.clone() } == Controller { joints: Vec::new(), ..b.clone() }
}
