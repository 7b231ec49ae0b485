//! Cameras, lights, sky.

use serde::{Deserialize, Serialize};

/// A pinhole camera. Its own frame is x right, y down, z forward (OpenCV's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// Width and height in pixels.
    pub resolution: [u32; 2],
    /// Field of view or intrinsics; written as a key of its own.
    #[serde(flatten)]
    pub lens: Lens,
    /// Position in the world, or in the frame of what it is mounted on, metres.
    pub at: [f64; 3],
    /// Rotation from the camera's frame to the world's (or the mount's), quaternion `[x, y, z, w]`.
    pub rotation: [f64; 4],
    /// What carries it; the world if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<Mount>,
    /// A body or frame that it turns to at every frame (its rotation is then only the start's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
}

/// What carries a camera: a body, `robot.link` or `robot.frame`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mount(pub String);

/// Projection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lens {
    /// Vertical field of view in radians; square pixels, centre of the picture as principal point.
    Fov(f64),
    /// Focal lengths and principal point `[fx, fy, cx, cy]` in pixels; pixel centres are at half-integers.
    Intrinsics([f64; 4]),
}

impl Camera {
    /// Focal lengths and principal point `[fx, fy, cx, cy]` in pixels.
    pub fn intrinsics(&self) -> [f64; 4] {
        match self.lens {
            Lens::Intrinsics(k) => k,
            Lens::Fov(fov_rad) => {
                let [width, height] = self.resolution.map(f64::from);
                let focal = 0.5 * height / crate::maths::tan(0.5 * fov_rad);
                [focal, focal, 0.5 * width, 0.5 * height]
            }
        }
    }
}

/// A light.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Light {
    /// Direction in which a distant light (a sun) shines; exclusive with `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<[f64; 3]>,
    /// Position of a point light, metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<[f64; 3]>,
    /// Colour, sRGB.
    #[serde(default = "white")]
    pub colour: [f64; 3],
    /// Strength: irradiance of a sun relative to white paper at 1; for a point light, the same at one metre.
    #[serde(default = "one")]
    pub intensity: f64,
    /// True if it throws shadows.
    #[serde(default = "yes")]
    pub shadows: bool,
    /// Half-angle that it subtends (rad, a sun) or radius (m, a point): softness of its shadows.
    #[serde(default)]
    pub softness: f64,
}

fn white() -> [f64; 3] {
    [1.0; 3]
}
fn one() -> f64 {
    1.0
}
fn yes() -> bool {
    true
}

/// What is behind everything, and the light that comes from everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sky {
    /// Colour overhead, sRGB.
    pub colour: [f64; 3],
    /// Colour at the horizon, sRGB.
    pub horizon: [f64; 3],
    /// Strength of the ambient light.
    pub ambient: f64,
}

impl Default for Sky {
    /// A pale blue afternoon.
    fn default() -> Self {
        Self { colour: [0.45, 0.62, 0.86], horizon: [0.83, 0.88, 0.93], ambient: 0.45 }
    }
}
