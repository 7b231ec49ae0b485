//! Geoms, and the meshes, materials and textures that they name.

use std::collections::BTreeMap;
use std::sync::Arc;

use glamx::DPose3;
use glamx::glam::{DQuat, DVec3};

use super::super::inertia::{Inertia, MeshMethod};
use super::super::shapes::{Geometry, hull_mesh};
use super::super::xml::{Attributes, Element, Notes};
use super::super::{LinkCollider, LinkVisual};
use super::bodies::Body;
use super::document::{Document, boolean, from_z};
use crate::assets::MeshPart;
use crate::error::Result;
use crate::maths::Pose;
use crate::visual::{Picture, TriMesh};

/// Density of a geom that gives neither mass nor density, kg/m³ (MuJoCo's default).
const WATER: f64 = 1000.0;
/// Highest group that MuJoCo's viewer shows at first.
const LAST_SHOWN_GROUP: i64 = 2;

/// A geom in its body's (or frame's) frame.
pub(super) struct Geom {
    pub(super) pose: DPose3,
    pub(super) group: i64,
    /// Mass properties in the geom's frame; `None` if it weighs nothing.
    pub(super) solid: Option<Inertia>,
    /// Poses are relative to the geom.
    pub(super) colliders: Vec<LinkCollider>,
    pub(super) visuals: Vec<LinkVisual>,
    /// It touches nothing.
    pub(super) visual_only: bool,
}

/// A `<mesh>`.
struct Mesh {
    parts: Arc<[MeshPart]>,
    scale: DVec3,
    method: MeshMethod,
    /// Moves the file's vertices (after scaling) to the reference frame.
    reference: DPose3,
}

/// A `<material>` or what a geom's own `rgba` says.
#[derive(Clone, Default)]
struct Look {
    rgba: Option<[f32; 4]>,
    texture: Option<String>,
}

/// Colour with alpha, and picture.
type ColourAndPicture = (Option<[f32; 4]>, Option<Arc<Picture>>);

/// What `<asset>` declares.
pub(super) struct Library {
    meshes: BTreeMap<String, Element>,
    loaded: BTreeMap<String, Arc<Mesh>>,
    materials: BTreeMap<String, Look>,
    /// Files of two-dimensional textures.
    textures: BTreeMap<String, String>,
    /// First colour of textures without a file (checkers, gradients).
    plain: BTreeMap<String, [f32; 4]>,
    pub(super) files: Vec<String>,
    /// For each geom read: its body, whether it touches nothing, its group, and the number of the body's visuals after it.
    pub(super) drawn: Vec<(usize, bool, i64, usize)>,
}

impl Library {
    pub(super) fn read(root: &Element, document: &Document<'_>, notes: &mut Notes) -> Self {
        let mut out = Self {
            meshes: BTreeMap::new(),
            loaded: BTreeMap::new(),
            materials: BTreeMap::new(),
            textures: BTreeMap::new(),
            plain: BTreeMap::new(),
            files: Vec::new(),
            drawn: Vec::new(),
        };
        for element in root.children("asset").flat_map(|assets| &assets.children) {
            let read = out.asset(element, document, notes);
            notes.keep(read);
        }
        out
    }

    fn asset(&mut self, element: &Element, document: &Document<'_>, notes: &mut Notes) -> Result<()> {
        // What names a wrong asset is not wrong itself.
        match (element.tag.as_str(), element.get("name")) {
            ("mesh", Some(name)) => drop(self.meshes.insert(name.to_owned(), element.clone())),
            ("material", Some(name)) => drop(self.materials.insert(name.to_owned(), Look::default())),
            _ => {}
        }
        let attributes = document.attributes(element, None)?;
        match element.tag.as_str() {
            "mesh" => match (element.get("name"), element.get("file")) {
                (Some(_), _) => {}
                (None, Some(file)) => drop(self.meshes.insert(stem(file), element.clone())),
                (None, None) => return Err(element.error("has neither name nor file")),
            },
            "material" => {
                let name = element.required("name")?.to_owned();
                let texture = attributes.get("texture").map(str::to_owned);
                let layer = element.children("layer").find(|layer| layer.get("role") == Some("rgb"));
                let texture = texture.or_else(|| layer?.get("texture").map(str::to_owned));
                self.materials.insert(name, Look { rgba: rgba(&attributes)?, texture });
            }
            "texture" => {
                let name = match (element.get("name"), element.get("file")) {
                    (Some(name), _) => name.to_owned(),
                    (None, Some(file)) => stem(file),
                    (None, None) => return Ok(()),
                };
                match (attributes.get("type"), element.get("file")) {
                    (Some("skybox"), _) => {
                        notes.at(element, "a skybox texture is not read (the scene has its own sky)")
                    }
                    (Some("2d"), Some(file)) => {
                        self.textures.insert(name, file.to_owned());
                    }
                    (_, Some(_)) => notes.at(element, "a cube texture is not read"),
                    (_, None) => {
                        let first = attributes.vector("rgb1")?.unwrap_or(DVec3::splat(0.8)).as_vec3();
                        self.plain.insert(name, [first.x, first.y, first.z, 1.0]);
                    }
                }
            }
            tag => notes.at(element, format!("<{tag}> assets are not read")),
        }
        Ok(())
    }

    /// Reads a `<geom>`; `None` if it is of a kind that is not read.
    pub(super) fn geom(
        &mut self,
        document: &Document<'_>,
        attributes: &Attributes<'_>,
        notes: &mut Notes,
    ) -> Result<Option<Geom>> {
        let element = attributes.element;
        let integer =
            |name: &str, default: i64| -> Result<i64> { Ok(attributes.number(name)?.map_or(default, |x| x as i64)) };
        let (contype, conaffinity) = (integer("contype", 1)? as u32, integer("conaffinity", 1)? as u32);
        let group = integer("group", 0)?;
        let Some((geometry, pose, method)) = self.shape(document, attributes, notes)? else { return Ok(None) };

        let density = attributes.non_negative("density")?.unwrap_or(WATER);
        let mass = attributes.number("mass")?;
        if let Some(mass) = mass.filter(|&mass| mass < 0.0) {
            return Err(element.error(format!("`mass` is negative: {mass} kg")));
        }
        if attributes.get("shellinertia") == Some("true") {
            notes.at(element, "<geom shellinertia> is not read: the geom is solid");
        }
        let solid = geometry.solid(method).map(|solid| solid.with_mass(mass.unwrap_or(solid.mass * density)));
        let solid = solid.filter(|solid| solid.mass > 0.0);

        let visual_only = contype == 0 && conaffinity == 0;
        let friction = attributes.list("friction")?.and_then(|list| list.first().copied()).unwrap_or(1.0);
        let mut colliders = Vec::new();
        if !visual_only {
            for (shape, local) in geometry.colliders(true) {
                colliders.push(LinkCollider { shape, local, friction: Some(friction as f32), contype, conaffinity });
            }
            if colliders.is_empty() {
                notes.at(element, "a geom without extent touches nothing");
            }
        }
        let (rgba, picture) = self.look(document, attributes, notes)?;
        let hidden = group > LAST_SHOWN_GROUP || rgba.is_some_and(|rgba| rgba[3] <= 0.0);
        let mut visuals = Vec::new();
        if !hidden {
            for drawn in geometry.visuals() {
                visuals.push(LinkVisual {
                    shape: drawn.shape,
                    local: Pose::IDENTITY,
                    colour: rgba.map(|[r, g, b, _]| [r, g, b]).or(drawn.colour),
                    picture: picture.clone().or(drawn.picture),
                });
            }
        }
        Ok(Some(Geom { pose, group, solid, colliders, visuals, visual_only }))
    }

    fn shape(
        &mut self,
        document: &Document<'_>,
        attributes: &Attributes<'_>,
        notes: &mut Notes,
    ) -> Result<Option<(Geometry, DPose3, MeshMethod)>> {
        let element = attributes.element;
        let kind = attributes.get("type").unwrap_or("sphere");
        let mut pose = document.pose(attributes)?;
        if let Some(name) = attributes.get("mesh") {
            if kind != "mesh" {
                notes.at(element, format!("fitting a {kind} to a mesh is not done: the mesh itself is used"));
            }
            let mesh = self.mesh(document, element, name, notes)?;
            return Ok(
                mesh.map(|mesh| (Geometry::Mesh(mesh.parts.clone(), mesh.scale), pose * mesh.reference, mesh.method))
            );
        }
        let mut size = attributes.list("size")?.unwrap_or_default();
        if matches!(kind, "capsule" | "cylinder" | "ellipsoid" | "box")
            && let Some([a, b, c, d, e, f]) = attributes.numbers::<6>("fromto")?
        {
            let (from, to) = (DVec3::new(a, b, c), DVec3::new(d, e, f));
            let length = from.distance(to);
            let direction = (from - to).try_normalize();
            let direction = direction.ok_or_else(|| element.error("`fromto` has no length"))?;
            pose = DPose3::from_parts((from + to) / 2.0, from_z(direction));
            let radius = size.first().copied().unwrap_or(0.0);
            size = match kind {
                "capsule" | "cylinder" => vec![radius, length / 2.0],
                _ => vec![radius, radius, length / 2.0],
            };
        }
        let dimension = |i: usize| match size.get(i) {
            Some(&x) if x > 0.0 && x.is_finite() => Ok(x),
            Some(x) => Err(element.error(format!("`size` must be positive, found {x}"))),
            None => Err(element.error(format!("`size`: a {kind} needs {} numbers, found {}", i + 1, size.len()))),
        };
        let geometry = match kind {
            "plane" => {
                let half = |i: usize| size.get(i).copied().unwrap_or(0.0);
                Geometry::Plane(half(0), half(1))
            }
            "sphere" => Geometry::Sphere(dimension(0)?),
            "capsule" => Geometry::Capsule(dimension(0)?, dimension(1)?),
            "cylinder" => Geometry::Cylinder(dimension(0)?, dimension(1)?),
            "ellipsoid" => Geometry::Ellipsoid(DVec3::new(dimension(0)?, dimension(1)?, dimension(2)?)),
            "box" => Geometry::Box(DVec3::new(dimension(0)?, dimension(1)?, dimension(2)?)),
            "mesh" => return Err(element.error("is a mesh, but names none")),
            "hfield" | "sdf" => {
                notes.at(element, format!("{kind} geoms are not read"));
                return Ok(None);
            }
            other => return Err(element.error(format!("`type` is `{other}`, which is no geom type"))),
        };
        Ok(Some((geometry, pose, MeshMethod::Exact)))
    }

    fn mesh(
        &mut self,
        document: &Document<'_>,
        geom: &Element,
        name: &str,
        notes: &mut Notes,
    ) -> Result<Option<Arc<Mesh>>> {
        if let Some(mesh) = self.loaded.get(name) {
            return Ok(Some(mesh.clone()));
        }
        let Some(element) = self.meshes.get(name).cloned() else {
            return Err(geom.error(format!("there is no mesh `{name}`")));
        };
        let attributes = document.attributes(&element, None)?;
        let scale = attributes.vector("scale")?.unwrap_or(DVec3::ONE);
        if scale.x * scale.y * scale.z == 0.0 {
            return Err(element.error(format!("`scale` has a 0: {scale}")));
        }
        let parts: Arc<[MeshPart]> = match (attributes.get("file"), attributes.list("vertex")?) {
            (Some(file), _) => {
                let in_element = |error: crate::Error| element.error(error.to_string());
                let path = document.mesh_file(file).map_err(in_element)?;
                let parts = document.assets.mesh_parts(&path).map_err(in_element)?;
                if !self.files.contains(&path) {
                    self.files.push(path);
                }
                for note in parts.iter().flat_map(|part| &part.notes) {
                    notes.add(note.as_str());
                }
                parts
            }
            (None, Some(vertices)) => {
                let faces = attributes.list("face")?;
                let mesh = inline_mesh(&vertices, faces.as_deref()).map_err(|problem| element.error(problem))?;
                let mesh = Arc::new(mesh);
                let part = MeshPart { name: name.to_owned(), mesh, colour: None, picture: None, notes: Vec::new() };
                Arc::from([part])
            }
            (None, None) => {
                notes.at(&element, "a mesh with neither file nor vertices is not read");
                return Ok(None);
            }
        };
        let method = match attributes.get("inertia").unwrap_or("legacy") {
            "legacy" => MeshMethod::Legacy,
            "exact" => MeshMethod::Exact,
            "convex" => MeshMethod::Convex,
            "shell" => MeshMethod::Shell,
            other => return Err(element.error(format!("`inertia` is `{other}`, not legacy, exact, convex or shell"))),
        };
        // MuJoCo moves vertices to the reference frame first and scales then.
        let offset = attributes.vector("refpos")?.unwrap_or(DVec3::ZERO);
        let [w, x, y, z] = attributes.numbers("refquat")?.unwrap_or([1.0, 0.0, 0.0, 0.0]);
        let turn = DQuat::from_xyzw(x, y, z, w).normalize().inverse();
        let turned = !turn.is_near_identity();
        if turned && (scale.x != scale.y || scale.y != scale.z) {
            notes.at(&element, "<mesh refquat> with an uneven scale is not exact");
        }
        let reference = DPose3::from_parts(turn * (scale * -offset), turn);
        let mesh = Arc::new(Mesh { parts, scale, method, reference });
        self.loaded.insert(name.to_owned(), mesh.clone());
        Ok(Some(mesh))
    }

    /// Colour with alpha and picture of a geom: its own `rgba` unless that is the default grey, else its material's.
    fn look(
        &mut self,
        document: &Document<'_>,
        attributes: &Attributes<'_>,
        notes: &mut Notes,
    ) -> Result<ColourAndPicture> {
        let own = rgba(attributes)?;
        let Some(name) = attributes.get("material") else { return Ok((own, None)) };
        let Some(material) = self.materials.get(name).cloned() else {
            return Err(attributes.element.error(format!("there is no material `{name}`")));
        };
        let mut colour = own.or(material.rgba);
        let mut picture = None;
        if let Some(texture) = &material.texture {
            if let Some(file) = self.textures.get(texture) {
                let found = document.texture_file(file).and_then(|path| {
                    let picture = document.assets.picture(&path)?;
                    Ok((path, picture))
                });
                match found {
                    Ok((path, found)) => {
                        if !self.files.contains(&path) {
                            self.files.push(path);
                        }
                        picture = Some(found);
                    }
                    Err(error) => notes.at(attributes.element, format!("texture `{texture}`: {error}")),
                }
            } else if let Some(plain) = self.plain.get(texture) {
                notes.at(attributes.element, format!("texture `{texture}` is drawn in its first colour"));
                colour = colour.map(|c| std::array::from_fn(|i| c[i] * plain[i])).or(Some(*plain));
            }
        }
        Ok((colour, picture))
    }

    /// Bodies with purely visual geoms show those, and what shares their groups: the others are
    /// rough stand-ins for collision.
    pub(super) fn keep_drawn(&self, bodies: &mut [Body<'_>]) {
        for (i, body) in bodies.iter_mut().enumerate().skip(1) {
            let mut first = 0;
            let mut geoms = Vec::new();
            for &(_, visual_only, group, end) in self.drawn.iter().filter(|(body, ..)| *body == i) {
                geoms.push((visual_only, group, first..end));
                first = end;
            }
            let shown: Vec<i64> = geoms
                .iter()
                .filter(|(visual_only, _, range)| *visual_only && !range.is_empty())
                .map(|(_, group, _)| *group)
                .collect();
            if shown.is_empty() {
                continue;
            }
            let mut kept = Vec::new();
            for (visual_only, group, range) in geoms {
                if visual_only || shown.contains(&group) {
                    kept.extend_from_slice(&body.visuals[range]);
                }
            }
            body.visuals = kept;
        }
    }
}

fn rgba(attributes: &Attributes<'_>) -> Result<Option<[f32; 4]>> {
    Ok(attributes.list("rgba")?.map(|list| {
        let channel = |i: usize| list.get(i).copied().unwrap_or(1.0).clamp(0.0, 1.0) as f32;
        [channel(0), channel(1), channel(2), channel(3)]
    }))
}

fn stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

/// A mesh written in the file: its triangles, or the convex hull of its vertices.
fn inline_mesh(vertices: &[f64], faces: Option<&[f64]>) -> Result<TriMesh, String> {
    if !vertices.len().is_multiple_of(3) || vertices.len() < 12 || vertices.iter().any(|x| !x.is_finite()) {
        return Err("`vertex` must be at least four finite points".to_owned());
    }
    let points: Vec<_> = vertices.chunks_exact(3).map(|p| DVec3::new(p[0], p[1], p[2]).as_vec3()).collect();
    let Some(faces) = faces else {
        return hull_mesh(&points).ok_or_else(|| "the points of `vertex` lie in a plane".to_owned());
    };
    if !faces.len().is_multiple_of(3) || faces.iter().any(|&i| i < 0.0 || i >= points.len() as f64) {
        return Err(format!("`face` must be triples of indices below {}", points.len()));
    }
    let triangles = faces.chunks_exact(3).map(|t| [t[0] as u32, t[1] as u32, t[2] as u32]).collect();
    Ok(TriMesh { positions: points, triangles, ..TriMesh::default() })
}

/// Reads a boolean that may be absent.
pub(super) fn flag(element: &Element, attribute: &str, default: bool) -> Result<bool> {
    if element.get(attribute).is_some() { boolean(element, attribute) } else { Ok(default) }
}
