//! What is drawn, prepared once per scene.

use super::bvh::MeshTree;
use super::solid::Solid;
use super::texture::Pattern;
use super::tone::linear;
use super::vector::{Motion, normalised};
use crate::maths::Vec3;
use crate::scene::{Light, Sky};
use crate::visual::{Visual, VisualShape};

/// Least roughness in shading: a sharper highlight of a small light would be a single glittering pixel.
const LEAST_ROUGHNESS: f32 = 0.12;

/// What is drawn, prepared once per scene: geometry, textures, lights.
pub struct RenderModel {
    pub(super) surfaces: Vec<Surface>,
    pub(super) lights: Vec<Lamp>,
    pub(super) sky: Heaven,
}

/// A visual, ready to draw.
pub(super) struct Surface {
    pub body: usize,
    pub body_from_shape: Motion,
    pub solid: Solid,
    pub colour: Vec3,
    /// GGX roughness squared: α of the microfacet distribution.
    pub alpha: f32,
    pub roughness: f32,
    pub metallic: f32,
    pub pattern: Pattern,
}

/// A light, ready to shine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lamp {
    pub place: LampPlace,
    /// Linear colour times strength.
    pub power: Vec3,
    pub shadows: bool,
    /// Tangent of the half-angle (a sun) or radius in metres (a point).
    pub softness: f32,
    /// Two unit vectors across the direction of a sun.
    pub across: [Vec3; 2],
}

/// Where light comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum LampPlace {
    /// Unit vector towards a distant light.
    Sun(Vec3),
    /// Position in metres.
    Point(Vec3),
}

/// Sky, ready to shine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heaven {
    pub zenith: Vec3,
    pub horizon: Vec3,
    /// What stands for everything under the horizon.
    pub ground: Vec3,
    /// Ambient light on white paper that faces down and up.
    pub from_below: Vec3,
    pub from_above: Vec3,
    /// Strength of what smooth surfaces reflect.
    pub mirrored: f32,
}

impl RenderModel {
    /// Prepares visuals for drawing. Without any light, a sun stands behind the left shoulder of one
    /// who looks along +y, so that a scene that says nothing about light has form and shadows.
    pub fn new(visuals: &[Visual], lights: &[Light], sky: &Sky) -> Self {
        let default_sun = [Light {
            direction: Some([0.45, 0.6, -1.1]),
            at: None,
            colour: [1.0, 0.96, 0.9],
            intensity: 1.0,
            shadows: true,
            softness: 0.02,
        }];
        let lights = if lights.is_empty() { &default_sun } else { lights };
        Self {
            surfaces: visuals.iter().map(Surface::new).collect(),
            lights: lights.iter().filter_map(Lamp::new).collect(),
            sky: Heaven::new(sky),
        }
    }
}

impl Surface {
    fn new(visual: &Visual) -> Self {
        let material = &visual.material;
        let solid = match &visual.shape {
            VisualShape::Plane(half) => Solid::Plane(*half),
            VisualShape::Box(half) => Solid::Box(*half),
            VisualShape::Sphere(radius) => Solid::Ellipsoid(Vec3::splat(*radius)),
            VisualShape::Ellipsoid(axes) => Solid::Ellipsoid(*axes),
            VisualShape::Capsule(radius, half) => Solid::Capsule(*radius, *half),
            VisualShape::Cylinder(radius, half) => Solid::Cylinder(*radius, *half),
            VisualShape::Cone(radius, half) => Solid::Cone(*radius, *half),
            VisualShape::Mesh(mesh) => Solid::Mesh(MeshTree::shared(mesh)),
        };
        let roughness = (material.roughness as f32).clamp(LEAST_ROUGHNESS, 1.0);
        Self {
            body: visual.body,
            body_from_shape: Motion::from_pose(&visual.local),
            solid,
            colour: linear(material.colour),
            alpha: roughness * roughness,
            roughness,
            metallic: (material.metallic as f32).clamp(0.0, 1.0),
            pattern: Pattern::new(material.texture.as_ref(), visual.image.as_deref()),
        }
    }
}

impl Lamp {
    /// `None` for a light without a place or without a direction.
    fn new(light: &Light) -> Option<Self> {
        let place = match (light.at, light.direction) {
            (Some(at), _) => LampPlace::Point(Vec3::from_array(at.map(|x| x as f32))),
            (None, Some(direction)) => {
                let [x, y, z] = direction;
                let length = (x * x + y * y + z * z).sqrt();
                if length == 0.0 || !length.is_finite() {
                    return None;
                }
                LampPlace::Sun(Vec3::from_array(direction.map(|c| (-c / length) as f32)))
            }
            (None, None) => return None,
        };
        let (across, softness) = match place {
            LampPlace::Sun(towards) => (across(towards), crate::maths::tan(light.softness.clamp(0.0, 1.2)) as f32),
            LampPlace::Point(_) => ([Vec3::X, Vec3::Y], light.softness.max(0.0) as f32),
        };
        Some(Self {
            place,
            power: linear(light.colour) * light.intensity as f32,
            shadows: light.shadows,
            softness,
            across,
        })
    }
}

impl Heaven {
    fn new(sky: &Sky) -> Self {
        let (zenith, horizon) = (linear(sky.colour), linear(sky.horizon));
        let haze = 0.5 * (zenith + horizon);
        // Ground seen past the edge of everything: a third of the light, hue kept.
        let ground = haze * 0.35;
        let ambient = sky.ambient.max(0.0) as f32;
        Self {
            zenith,
            horizon,
            ground,
            from_below: ground * ambient,
            from_above: (0.35 * horizon + 0.65 * zenith) * ambient,
            // Mirrors show the sky as the camera does, unless there is little ambient light.
            mirrored: (2.0 * ambient).min(1.0),
        }
    }
}

/// Two unit vectors that complete `axis` to a frame.
pub(super) fn across(axis: Vec3) -> [Vec3; 2] {
    let helper = if axis.z.abs() < 0.9 { Vec3::Z } else { Vec3::X };
    let first = normalised(axis.cross(helper));
    [first, axis.cross(first)]
}
