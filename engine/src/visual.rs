//! What the renderer draws: shapes attached to bodies.

use std::sync::Arc;

use crate::assets::Assets;
use crate::error::Result;
use crate::maths::{Pose, Vec2, Vec3};
use crate::robots::RobotModel;
use crate::scene::{Image, Material, Robot, Texture};

/// One drawn shape of a body.
#[derive(Clone, Debug)]
pub struct Visual {
    /// Body of the catalog that carries it; its instance id is one more.
    pub body: usize,
    /// Body from shape.
    pub local: Pose,
    /// Geometry in the shape's frame.
    pub shape: VisualShape,
    /// Its look.
    pub material: Material,
    /// Decoded picture of `material.texture` if that is an image.
    pub image: Option<Arc<Picture>>,
}

/// Drawable geometry, axis z where there is one (see [`crate::scene::Shape`]).
#[derive(Clone, Debug)]
pub enum VisualShape {
    /// Square in the xy plane with this half-width, metres; seen from above (+z) only.
    Plane(f32),
    /// Half extents, metres.
    Box(Vec3),
    /// Radius, metres.
    Sphere(f32),
    /// Semi-axes, metres.
    Ellipsoid(Vec3),
    /// Radius and half length of the cylindrical part, metres.
    Capsule(f32, f32),
    /// Radius and half height, metres.
    Cylinder(f32, f32),
    /// Radius and half height, metres.
    Cone(f32, f32),
    /// Triangles.
    Mesh(Arc<TriMesh>),
}

/// Indexed triangles, counter-clockwise seen from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TriMesh {
    /// Vertices, metres.
    pub positions: Vec<Vec3>,
    /// Unit vertex normals; empty for flat shading.
    pub normals: Vec<Vec3>,
    /// Texture coordinates, v up; empty if there are none.
    pub uvs: Vec<Vec2>,
    /// Vertex indices.
    pub triangles: Vec<[u32; 3]>,
}

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `[H, W, 3]` sRGB, row 0 at the top.
    pub rgb: Vec<u8>,
}

/// The picture that a material lays over a surface, if any.
pub fn image_of(material: &Material, assets: &Assets) -> Result<Option<Arc<Picture>>> {
    match &material.texture {
        Some(Texture::Image(image)) => assets.picture(&image.file).map(Some),
        _ => Ok(None),
    }
}

/// The drawn shape of an object's body, with the picture of its material.
pub fn of_object(body: usize, material: &Material, shape: &VisualShape, image: Option<Arc<Picture>>) -> Visual {
    Visual { body, local: Pose::IDENTITY, shape: shape.clone(), material: material.clone(), image }
}

/// The drawn shapes of a robot's links; `first_body` is the body of link 0.
pub fn of_robot(first_body: usize, robot: &Robot, model: &RobotModel) -> Vec<Visual> {
    let mut out = Vec::new();
    for (index, link) in model.links.iter().enumerate() {
        for visual in &link.visuals {
            let mut material = Material::default();
            if let Some(colour) = visual.colour {
                material.colour = colour.map(f64::from);
            }
            if let Some(colour) = robot.colour {
                material.colour = colour;
            }
            if visual.picture.is_some() {
                material.texture = Some(Texture::Image(Image { file: String::new(), repeat: [1.0; 2] }));
            }
            out.push(Visual {
                body: first_body + index,
                local: visual.local,
                shape: visual.shape.clone(),
                material,
                image: visual.picture.clone(),
            });
        }
    }
    out
}
