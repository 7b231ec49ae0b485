//! gltf
use super::Assets;
use super::mesh::RawPart;
use crate::error::{Error, Result};
pub(super) fn read(_assets: &Assets, name: &str) -> Result<Vec<RawPart>> {
    Err(Error::asset(name, "not yet"))
}
