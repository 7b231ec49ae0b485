//! Cameras: aimed at what they look at, with a random error if they are told so.

use worldloom_engine::scene::ParamValue;

use crate::placement::rotation;
use crate::space::{self, Rotation, Vector};
use crate::tree::{Plain, Tree, Values};

/// A camera as decoded.
#[derive(Clone, Debug)]
pub struct CameraPlan {
    /// Name.
    pub name: String,
    /// What the engine reads, without place and rotation.
    pub tree: Tree,
    /// `at`, `look_at`, `rotation`.
    pub aim: Tree,
    /// Parameter of the error of its position.
    pub shift: Option<usize>,
    /// Parameter of the error of its direction.
    pub turn: Option<usize>,
}

impl CameraPlan {
    /// Position and rotation from filled-in keys. `find` gives the place of a body or frame.
    pub fn aim(
        &self,
        aim: &Plain,
        camera: &Plain,
        values: &dyn Values,
        find: &dyn Fn(&str) -> Option<Vector>,
    ) -> Result<(Vector, Rotation), String> {
        let jitter = |index: Option<usize>| match index.and_then(|index| values.value(index)) {
            Some(ParamValue::Vector(items)) if items.len() == 3 => [items[0], items[1], items[2]],
            _ => [0.0; 3],
        };
        let mut at = aim.get("at").and_then(Plain::vector3).unwrap_or_default();
        if self.shift.is_some() {
            at = space::add(at, jitter(self.shift));
        }
        let mounted = camera.get("mount").is_some();
        let place = |target: &Plain| match target {
            Plain::Text(name) => find(name).ok_or_else(|| format!("`{name}` has no place at the start")),
            other => other.vector3().ok_or_else(|| "must be a name or a point".to_owned()),
        };
        let mut turned = if let Some(target) = aim.get("look_at") {
            looking(at, place(target)?).ok_or_else(|| "the camera stands in what it looks at".to_owned())?
        } else if let Some(written) = aim.get("rotation") {
            rotation(Some(written))?
        } else if let (Some(target), false) = (camera.get("track"), mounted) {
            looking(at, place(target)?).ok_or_else(|| "the camera stands in what it tracks".to_owned())?
        } else if mounted {
            space::IDENTITY
        } else {
            space::from_axes([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
        };
        if self.turn.is_some() {
            let error = jitter(self.turn);
            if let Some(axis) = space::unit(error) {
                turned = space::times(turned, space::about(axis, libm::sqrt(space::dot(error, error))));
            }
        }
        Ok((at, turned))
    }
}

/// Rotation of a camera (x right, y down, z forward) at `eye` that sees `target` in its middle, upright.
fn looking(eye: Vector, target: Vector) -> Option<Rotation> {
    let forward = space::unit(space::sub(target, eye))?;
    // Straight down or up there is no upright: the world's x is to the right.
    let right = space::unit(space::cross(forward, [0.0, 0.0, 1.0])).unwrap_or([1.0, 0.0, 0.0]);
    Some(space::from_axes([right, space::cross(forward, right), forward]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_sees_its_target_ahead_and_the_sky_above() {
        for (eye, target) in [
            ([2.0, 1.0, 1.5], [0.0, 0.0, 0.5]),
            ([0.0, 0.0, 5.0], [0.0, 0.0, 0.0]),
            ([-1.0, 0.0, 0.0], [4.0, 0.0, 0.0]),
        ] {
            let rotation = looking(eye, target).expect("they differ");
            let [right, down, forward] = space::axes(rotation);
            let ahead = space::unit(space::sub(target, eye)).expect("they differ");
            assert!(space::dot(forward, ahead) > 1.0 - 1e-12, "{forward:?} is not towards {target:?}");
            assert!(right[2].abs() < 1e-12, "the horizon is tilted: {right:?}");
            assert!(down[2] <= 1e-12, "upside down: {down:?}");
        }
        assert!(looking([1.0; 3], [1.0; 3]).is_none());
    }
}
