//! Choosing a robot's joints by name.

use super::RobotModel;

impl RobotModel {
    /// Joints (by index) that a name stands for: the joint of exactly that name, else, where `*` in it
    /// stands for any run of characters, every actuated joint that it matches, in the file's order.
    /// Mimic joints are never actuated.
    pub fn joints_matching(&self, pattern: &str) -> Vec<usize> {
        if let Some(exact) = self.joint(pattern) {
            return vec![exact];
        }
        let wild = |&joint: &usize| {
            let joint = &self.joints[joint];
            joint.actuated && joint.mimic.is_none() && matches(pattern, &joint.name)
        };
        if pattern.contains('*') { (0..self.joints.len()).filter(wild).collect() } else { Vec::new() }
    }
}

/// True if `pattern`, in which `*` stands for any run of characters, matches the whole of `name`.
/// Each part between stars takes its first place, which leaves the most for the parts after it.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, mut tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    while let Some((part, after)) = tail.split_once('*') {
        let Some(at) = rest.find(part) else { return false };
        (rest, tail) = (&rest[at + part.len()..], after);
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("elbow", "elbow", true),
            ("elbow", "elbow2", false),
            ("*", "", true),
            ("*", "elbow", true),
            ("left_*", "left_knee", true),
            ("left_*", "right_knee", false),
            ("*_knee", "front_left_knee", true),
            ("l*k*e", "left_knee", true),
            ("l*k*x", "left_knee", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xbxa", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} against {name}");
        }
    }
}
