//! Cameras: aimed at what they look at, with a random error if they are told so.

use worldloom_engine::scene::ParamValue;
use worldloom_engine::view::looking_at;

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
            looking_at(at, place(target)?).ok_or_else(|| "the camera stands in what it looks at".to_owned())?
        } else if let Some(written) = aim.get("rotation") {
            rotation(Some(written))?
        } else if let (Some(target), false) = (camera.get("track"), mounted) {
            looking_at(at, place(target)?).ok_or_else(|| "the camera stands in what it tracks".to_owned())?
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
