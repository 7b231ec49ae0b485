//! Bodies: shape, mass, surface, look.

use serde::{Deserialize, Serialize};

/// One rigid body with one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Its geometry; written as a key of its own (`box: …`, `mesh: …`).
    #[serde(flatten)]
    pub shape: Shape,
    /// Position of the origin in the world, metres.
    pub at: [f64; 3],
    /// Rotation of the body in the world, quaternion `[x, y, z, w]`.
    #[serde(default = "identity")]
    pub rotation: [f64; 4],
    /// Linear velocity at the start, m/s.
    #[serde(default)]
    pub velocity: [f64; 3],
    /// Angular velocity at the start, rad/s, world frame.
    #[serde(default)]
    pub angular_velocity: [f64; 3],
    /// True if it never moves.
    #[serde(default)]
    pub fixed: bool,
    /// True if it moves on a given course whatever pushes it (its velocity is kept).
    #[serde(default)]
    pub kinematic: bool,
    /// Mass in kg; exclusive with `density`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mass: Option<f64>,
    /// Density in kg/m³; 1000 (water) if neither is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// Coulomb friction coefficient; a pair uses the geometric mean.
    #[serde(default = "default_friction")]
    pub friction: f64,
    /// Newton restitution coefficient; a pair uses the larger one.
    #[serde(default)]
    pub restitution: f64,
    /// Linear and angular velocity decay, 1/s.
    #[serde(default)]
    pub damping: [f64; 2],
    /// Speed of the surface (a conveyor belt), m/s in the body's frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface_velocity: Option<[f64; 3]>,
    /// False if it is seen but not touched.
    #[serde(default = "yes")]
    pub collides: bool,
    /// Its look.
    #[serde(default)]
    pub material: Material,
    /// Semantic class; the object's name without its trailing index if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

fn identity() -> [f64; 4] {
    [0.0, 0.0, 0.0, 1.0]
}
fn default_friction() -> f64 {
    0.5
}
fn yes() -> bool {
    true
}

/// Geometry, in the body's frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Half-space below the plane through the origin with normal z; drawn as a square of this half-width, metres.
    Plane(f64),
    /// Full edge lengths along x, y, z, metres.
    Box([f64; 3]),
    /// Radius, metres.
    Sphere(f64),
    /// Radius, and length of the cylindrical part, metres; axis z.
    Capsule {
        /// Radius, metres.
        radius: f64,
        /// Length of the cylindrical part (without the caps), metres.
        length: f64,
    },
    /// Axis z.
    Cylinder {
        /// Radius, metres.
        radius: f64,
        /// Full height, metres.
        height: f64,
    },
    /// Axis z, tip up; the origin is halfway up the axis.
    Cone {
        /// Radius of the base, metres.
        radius: f64,
        /// Full height, metres.
        height: f64,
    },
    /// Triangles of an OBJ, STL, glTF or COLLADA file.
    Mesh {
        /// Reference to the file.
        file: String,
        /// Scale along x, y, z.
        #[serde(default = "unit_scale")]
        scale: [f64; 3],
        /// True to collide as the convex hull (needed for a moving body), false as the triangles.
        #[serde(default = "yes")]
        convex: bool,
    },
    /// A grid of heights over a rectangle centred on the origin.
    Heightfield {
        /// Extent along x and y, metres.
        size: [f64; 2],
        /// `[rows along y][columns along x]` heights in metres, at least 2 by 2.
        heights: Vec<Vec<f64>>,
    },
}

fn unit_scale() -> [f64; 3] {
    [1.0; 3]
}

/// How a surface looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Material {
    /// Base colour, sRGB in [0, 1]; multiplies the texture.
    pub colour: [f64; 3],
    /// 0 is a mirror-like highlight, 1 is matt.
    #[serde(default = "default_roughness")]
    pub roughness: f64,
    /// 0 is a dielectric, 1 a metal.
    #[serde(default)]
    pub metallic: f64,
    /// Pattern over the surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texture: Option<Texture>,
}

fn default_roughness() -> f64 {
    0.6
}

impl Default for Material {
    /// A matt light grey.
    fn default() -> Self {
        Self { colour: [0.7, 0.7, 0.7], roughness: default_roughness(), metallic: 0.0, texture: None }
    }
}

/// A pattern over a surface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Texture {
    /// Squares of the base colour and this one.
    Checker {
        /// Second colour, sRGB.
        colour: [f64; 3],
        /// Edge of a square, metres.
        size: f64,
    },
    /// Fractal value noise between the base colour and this one.
    Noise {
        /// Second colour, sRGB.
        colour: [f64; 3],
        /// Feature size, metres.
        size: f64,
        /// Seed of the pattern.
        #[serde(default)]
        seed: u32,
    },
    /// A picture laid over the surface's texture coordinates.
    Image(Image),
}

/// A picture file used as a texture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Reference to a PNG or JPEG file.
    pub file: String,
    /// Repetitions along u and v.
    #[serde(default = "unit_repeat")]
    pub repeat: [f64; 2],
}

fn unit_repeat() -> [f64; 2] {
    [1.0; 2]
}
