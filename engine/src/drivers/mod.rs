//! Scripted policies ([`crate::scene::Driver`]).

use crate::error::Result;
use crate::policy::Policy;
use crate::robots::RobotModel;
use crate::scene::Scene;
use crate::state::Catalog;

/// The policy that a scene's own drivers make: each robot's driver on its channels, then the scene's drivers.
/// `robots` are the models of the scene's robots, in order. Channels that no driver drives stay neutral.
pub fn scripted(
    _scene: &Scene,
    _catalog: &Catalog,
    _robots: &[std::sync::Arc<RobotModel>],
    _assets: &crate::assets::Assets,
) -> Result<Box<dyn Policy>> {
    Err(crate::error::Error::Unsupported { feature: "drivers".into(), hint: String::new() })
}
