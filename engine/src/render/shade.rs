//! Colour of what a pixel sees, in linear light.
//!
//! Lambert plus GGX highlights (B. Walter et al., "Microfacet Models for Refraction through Rough
//! Surfaces", 2007; visibility term after E. Hammon, 2017; Fresnel after C. Schlick, 1994), lights
//! of [`super::model::Lamp`], and the sky as ambient light and as what smooth surfaces reflect.
//! White paper that faces a light of strength 1 has radiance 1: factors of π cancel.

use super::model::{LampPlace, RenderModel};
use super::place::{Eye, Placed};
use super::shadow::{Casters, Receiver};
use super::texture::{Pattern, Spot};
use super::vector::normalised;
use super::visibility::Hit;
use crate::maths::Vec3;

/// Part of the light that a dielectric reflects head on (refractive index 1.5).
const DIELECTRIC_F0: f32 = 0.04;
/// A surface seen edge-on has no smaller cosine than this in the pixel's footprint.
const LEAST_COSINE: f32 = 1e-3;

/// What shading reads.
pub(super) struct Shader<'a> {
    pub model: &'a RenderModel,
    pub placed: &'a [Placed],
    pub eye: &'a Eye,
    pub shadows: bool,
    pub antialias: bool,
}

impl Shader<'_> {
    /// What a ray sees that meets nothing; `d` in the camera's frame.
    pub fn sky(&self, d: Vec3) -> Vec3 {
        let r = self.eye.rotation;
        let up = r.x_axis.z * d.x + r.y_axis.z * d.y + r.z_axis.z;
        self.model.sky.radiance(up / d.dot(d).sqrt())
    }

    /// Colour of a hit on a ray `d` (camera's frame) with a world normal.
    pub fn colour(&self, hit: &Hit, d: Vec3, normal: Vec3, casters: &mut Casters) -> Vec3 {
        let Some(at) = self.placed.get(hit.surface as usize) else {
            return self.sky(d);
        };
        let surface = &self.model.surfaces[at.surface];
        let ray = self.eye.rotation * d;
        let length = ray.dot(ray).sqrt();
        let view = ray * (-1.0 / length);
        let p = self.eye.position + ray * hit.t;
        let dp = self.footprint(hit.t, ray, length, normal);
        let base = match &surface.pattern {
            Pattern::Plain => surface.colour,
            pattern => {
                let spot = Spot {
                    p: at.eye + (at.local_from_camera * d) * hit.t,
                    normal: at.local_from_world * normal,
                    dp: dp.map(|dp| at.local_from_world * dp),
                };
                pattern.colour(surface.colour, &spot, |p| surface.solid.uv(p, hit.face))
            }
        };
        let diffuse = base * (1.0 - surface.metallic);
        let f0 = Vec3::splat(DIELECTRIC_F0) + (base - Vec3::splat(DIELECTRIC_F0)) * surface.metallic;
        let facing = normal.dot(view).max(LEAST_COSINE);
        let mut light = self.ambient(normal, view, facing, diffuse, f0, surface.roughness);
        let receiver = Receiver { p, normal, dp, distance: hit.t * length, surface: hit.surface };
        for (index, lamp) in self.model.lights.iter().enumerate() {
            let (towards, strength) = match lamp.place {
                LampPlace::Sun(towards) => (towards, 1.0),
                LampPlace::Point(place) => {
                    let way = place - p;
                    let squared = way.dot(way).max(1e-4);
                    (normalised(way), 1.0 / squared)
                }
            };
            let cosine = normal.dot(towards);
            if cosine <= 0.0 {
                continue;
            }
            let seen = if self.shadows && lamp.shadows {
                casters.visibility(self.model, self.placed, index, &receiver, self.antialias)
            } else {
                1.0
            };
            if seen > 0.0 {
                let reflected = diffuse + highlight(normal, view, towards, cosine, facing, f0, surface.alpha);
                light += reflected * lamp.power * (strength * seen * cosine);
            }
        }
        light
    }

    /// How the point seen moves with a pixel to the right and down, on the tangent plane.
    fn footprint(&self, t: f32, ray: Vec3, length: f32, normal: Vec3) -> [Vec3; 2] {
        let slope = normal.dot(ray).min(-LEAST_COSINE * length);
        let r = self.eye.rotation;
        [r.x_axis * self.eye.step[0], r.y_axis * self.eye.step[1]].map(|turn| (turn - ray * (normal.dot(turn) / slope)) * t)
    }

    /// Light of the sky, diffuse and reflected.
    fn ambient(&self, normal: Vec3, view: Vec3, facing: f32, diffuse: Vec3, f0: Vec3, roughness: f32) -> Vec3 {
        let sky = &self.model.sky;
        let soft = sky.irradiance(normal.z);
        let grazing = 1.0 - facing;
        let grazing = grazing * grazing * grazing * grazing * grazing;
        // Rough surfaces lose the grazing reflection (S. Lagarde's form of Schlick's term).
        let fresnel = f0 + (f0.max(Vec3::splat(1.0 - roughness)) - f0) * grazing;
        let mirrored = normal.z * 2.0 * normal.dot(view) - view.z;
        let sharp = sky.radiance(mirrored) * sky.ambient;
        let reflected = sharp + (soft - sharp) * roughness;
        soft * diffuse + reflected * fresnel
    }
}

/// Specular reflectance times π.
fn highlight(normal: Vec3, view: Vec3, towards: Vec3, cosine: f32, facing: f32, f0: Vec3, alpha: f32) -> Vec3 {
    let half = normalised(view + towards);
    let nh = normal.dot(half).max(0.0);
    let a2 = alpha * alpha;
    let spread = nh * nh * (a2 - 1.0) + 1.0;
    let shadowing = 2.0 * cosine * facing * (1.0 - alpha) + (cosine + facing) * alpha;
    let away = 1.0 - view.dot(half).clamp(0.0, 1.0);
    let away = away * away * away * away * away;
    let fresnel = f0 + (Vec3::ONE - f0) * away;
    fresnel * (a2 / (2.0 * spread * spread * shadowing))
}
