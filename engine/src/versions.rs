//! Versions of the libraries that decide an episode's states and pixels, for manifests.

/// Name and version of each. Nothing at build time tells a crate its dependencies' versions, so they
/// are written here; a tidy test holds them to `Cargo.lock`. (glam is the one of rapier's own types.)
pub const LIBRARIES: [(&str, &str); 4] =
    [("glam", "0.33.12"), ("libm", "0.2.16"), ("parry3d", "0.31.1"), ("rapier3d", "0.36.1")];
