//! URDF: the XML robot format of ROS.
//!
//! Follows <https://wiki.ros.org/urdf/XML> and, where files in the wild are loose, what Gazebo and
//! Bullet make of them; every such guess is a line in [`RobotModel::skipped`]:
//! - a link without `<inertial>` weighs what its collision shapes would weigh as water (1000 kg/m³);
//!   without any shape it is a bare frame;
//! - an inertia of all zeros is that of the collision shapes with the given mass;
//! - an effort or velocity limit of 0, or limits without `lower` and `upper`, are no limit;
//! - a root link without mass or shape that a `floating` joint leaves is the world.
//!
//! `spherical` joints become three hinges, `planar` two slides and a hinge, and `floating` joints
//! inside the tree three slides and three hinges. A `<transmission>` says by its hardware interface
//! how its joint is driven; limits are those of `<limit>`, which are the joint's whatever the gear is.

mod joints;
mod transmissions;

use std::collections::BTreeMap;
use std::sync::Arc;

use glamx::DPose3;
use glamx::glam::{DMat3, DVec3};

use super::finish::finish;
use super::inertia::{Inertia, MeshMethod};
use super::shapes::{Geometry, rotation, to_pose};
use super::xml::{Element, Notes};
use super::{Link, LinkCollider, LinkVisual, RobotModel};
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::maths::{Mat3, Pose, Vec3};
use crate::visual::Picture;

/// Density of links whose mass the file does not give, kg/m³.
const WATER: f64 = 1000.0;
/// Radius of gyration given to a link with mass but neither inertia nor shape, metres (Bullet's guess is alike).
const POINT_GYRATION_M: f64 = 0.05;

pub(super) fn load(reference: &str, assets: &Assets, notes: &mut Notes) -> Result<RobotModel> {
    let root = Element::load(reference, assets)?;
    if root.tag != "robot" {
        return Err(root.error("is not a URDF file: expected <robot>"));
    }
    let mut reader = Reader {
        assets,
        base: assets.normalise(reference)?,
        materials: BTreeMap::new(),
        frictions: BTreeMap::new(),
        notes,
        files: Vec::new(),
    };
    reader.file(&reader.base.clone());
    for material in root.children("material") {
        let read = reader.material(material);
        reader.notes.keep(read);
    }
    for child in &root.children {
        match child.tag.as_str() {
            "link" | "joint" | "material" | "transmission" => {}
            "gazebo" => {
                let read = reader.gazebo(child);
                reader.notes.keep(read);
            }
            // What a macro would have made is missing everywhere else.
            tag if tag.starts_with("xacro:") => {
                return Err(child.error("is a xacro macro: expand the file with xacro first"));
            }
            tag => reader.notes.at(child, format!("<{tag}> is not read")),
        }
    }
    match Tree::new(&root, reader.notes) {
        Ok(tree) => reader.model(&root, &tree),
        Err(error) => {
            reader.alone(&root);
            Err(error)
        }
    }
}

/// Colour and picture of a material.
#[derive(Clone, Default)]
struct Look {
    colour: Option<[f32; 3]>,
    picture: Option<Arc<Picture>>,
    invisible: bool,
}

/// The links in an order in which parents come first, with the joint that holds each.
struct Tree<'a> {
    links: Vec<&'a Element>,
    /// By position in `links`: the joint and the position of the parent.
    held_by: Vec<Option<(&'a Element, usize)>>,
}

impl<'a> Tree<'a> {
    fn new(root: &'a Element, notes: &mut Notes) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for link in root.children("link") {
            let Some(name) = notes.keep(link.required("name")) else { continue };
            if by_name.insert(name, link).is_some() {
                notes.mistake(link.error("another link has this name"));
            }
        }
        if by_name.is_empty() {
            return Err(root.error("has no <link>"));
        }
        let mut holder: BTreeMap<&str, &Element> = BTreeMap::new();
        let mut children: BTreeMap<&str, Vec<(&str, &Element)>> = BTreeMap::new();
        let mut names = std::collections::BTreeSet::new();
        for joint in root.children("joint") {
            let Some(name) = notes.keep(joint.required("name")) else { continue };
            if !names.insert(name) {
                notes.mistake(joint.error("another joint has this name"));
            }
            let end = |tag: &str| -> Result<&'a str> {
                let end = joint.child(tag).ok_or_else(|| joint.error(format!("has no <{tag}>")))?;
                let name = end.required("link")?;
                match by_name.contains_key(name) {
                    true => Ok(name),
                    false => Err(joint.error(format!("its {tag} link `{name}` does not exist"))),
                }
            };
            let ends = (notes.keep(end("parent")), notes.keep(end("child")));
            let (Some(parent), Some(child)) = ends else { continue };
            if let Some(other) = holder.insert(child, joint) {
                notes.mistake(joint.error(format!("link `{child}` already hangs from {}", other.label())));
            }
            children.entry(parent).or_default().push((child, joint));
        }
        // Who hangs from whom makes no sense without all names.
        notes.refuse()?;
        let roots: Vec<&Element> = root
            .children("link")
            .filter(|link| !link.get("name").is_some_and(|name| holder.contains_key(name)))
            .collect();
        let base = match roots[..] {
            [base] => base,
            [] => return Err(root.error("its links hang from each other in a cycle: there is no base")),
            [first, second, ..] => {
                let name = first.get("name").unwrap_or_default();
                return Err(second.error(format!("no joint holds it, and none holds `{name}`: a robot has one base")));
            }
        };
        let mut tree = Self { links: vec![base], held_by: vec![None] };
        let mut next = 0;
        while next < tree.links.len() {
            let name = tree.links[next].get("name").unwrap_or_default();
            for &(child, joint) in children.get(name).into_iter().flatten() {
                tree.links.push(by_name[child]);
                tree.held_by.push(Some((joint, next)));
            }
            next += 1;
        }
        if tree.links.len() < by_name.len() {
            let lost = root.children("link").find(|link| !tree.links.iter().any(|known| std::ptr::eq(*known, *link)));
            return Err(lost.unwrap_or(root).error("it hangs in a cycle of joints that the base does not reach"));
        }
        Ok(tree)
    }
}

struct Reader<'a> {
    assets: &'a Assets,
    /// Reference of the URDF file.
    base: String,
    materials: BTreeMap<String, Look>,
    /// Friction that `<gazebo reference>` blocks give to links.
    frictions: BTreeMap<String, f32>,
    notes: &'a mut Notes,
    files: Vec<String>,
}

impl Reader<'_> {
    fn material(&mut self, material: &Element) -> Result<()> {
        let look = self.look(material)?;
        self.materials.insert(material.required("name")?.to_owned(), look);
        Ok(())
    }

    /// Notes the mistakes of each link and joint by itself, for a file whose links make no tree.
    fn alone(&mut self, root: &Element) {
        for link in root.children("link").filter(|link| link.get("name").is_some()) {
            let read = self.link(link);
            self.notes.keep(read);
        }
        for joint in root.children("joint").filter(|joint| joint.get("name").is_some()) {
            self.notes.keep(origin(joint));
            let read = self.joint(joint);
            self.notes.keep(read);
        }
    }

    fn model(mut self, root: &Element, tree: &Tree<'_>) -> Result<RobotModel> {
        let mut model = RobotModel {
            name: root.get("name").unwrap_or("robot").to_owned(),
            links: Vec::new(),
            joints: Vec::new(),
            fixed_base: true,
            world_link: None,
            frames: Vec::new(),
            excluded_pairs: Vec::new(),
            skipped: Vec::new(),
            files: Vec::new(),
        };
        // A world that the robot floats in is not a part of it.
        let from = usize::from(tree.links.len() > 1 && self.floats_in_a_world(tree)?);
        model.fixed_base = from == 0;
        let mut places = Vec::new();
        for (i, element) in tree.links.iter().enumerate().skip(from) {
            let mut link = self.link(element)?;
            if let Some((joint, parent)) = tree.held_by[i].filter(|_| i > from) {
                link.parent = Some(parent - from);
                link.parent_from_link = to_pose(self.notes.keep(origin(joint)).unwrap_or(DPose3::IDENTITY));
                let degrees = self.joint(joint);
                for degree in self.notes.keep(degrees).unwrap_or_default() {
                    link.joints.push(model.joints.len());
                    model.joints.push(degree);
                    places.push(joint);
                }
            }
            model.links.push(link);
        }
        self.notes.refuse()?;
        self.mimics(&mut model, &places);
        self.transmissions(root, &mut model);
        self.notes.refuse()?;
        let mut model = finish(model, &tree.links[from..], &places, self.notes)?;
        model.skipped = self.notes.take_lines();
        model.files = self.files;
        Ok(model)
    }

    fn floats_in_a_world(&self, tree: &Tree<'_>) -> Result<bool> {
        let bare = ["inertial", "visual", "collision"].iter().all(|tag| tree.links[0].child(tag).is_none());
        let mut below = tree.held_by.iter().flatten().filter(|(_, parent)| *parent == 0);
        Ok(match (below.next(), below.next()) {
            (Some((joint, _)), None) => bare && joint.required("type")? == "floating",
            _ => false,
        })
    }

    fn link(&mut self, element: &Element) -> Result<Link> {
        let mut link = Link {
            name: element.required("name")?.to_owned(),
            parent: None,
            parent_from_link: Pose::IDENTITY,
            joints: Vec::new(),
            mass_kg: 0.0,
            centre_of_mass: Vec3::ZERO,
            inertia: Mat3::ZERO,
            colliders: Vec::new(),
            visuals: Vec::new(),
        };
        let friction = self.friction(element);
        let friction = self.notes.keep(friction).flatten();
        let mut solids = Vec::new();
        for child in &element.children {
            match child.tag.as_str() {
                "collision" => {
                    let read = self.shape(child);
                    let Some(Some((geometry, pose))) = self.notes.keep(read) else { continue };
                    solids.extend(geometry.solid(MeshMethod::Exact).map(|solid| solid.placed(pose)));
                    let colliders = geometry.colliders(false);
                    if colliders.is_empty() {
                        self.notes.at(element, "a collision shape without extent touches nothing");
                    }
                    link.colliders.extend(colliders.into_iter().map(|(shape, local)| LinkCollider {
                        shape,
                        local: to_pose(pose) * local,
                        friction,
                        contype: 1,
                        conaffinity: 1,
                    }));
                }
                "visual" => {
                    let read = self.visual(child, &mut link);
                    self.notes.keep(read);
                }
                "inertial" | "contact" => {}
                tag if tag.starts_with("xacro:") => {
                    self.notes.mistake(child.error("is a xacro macro: expand the file with xacro first"));
                }
                tag => self.notes.at(element, format!("<{tag}> of a link is not read")),
            }
        }
        let shape = solids.into_iter().reduce(Inertia::plus);
        let body = self.inertia(element, shape);
        let body = self.notes.keep(body).unwrap_or(Inertia::ZERO);
        (link.mass_kg, link.centre_of_mass, link.inertia) =
            (body.mass as f32, body.centre.as_vec3(), body.tensor_f32());
        Ok(link)
    }

    fn inertia(&mut self, element: &Element, shape: Option<Inertia>) -> Result<Inertia> {
        let name = element.get("name").unwrap_or_default();
        let Some(inertial) = element.child("inertial") else {
            let Some(shape) = shape else { return Ok(Inertia::ZERO) };
            let body = shape.with_mass(shape.mass * WATER);
            self.notes
                .at(element, format!("link `{name}` has no <inertial>: {:.3} kg from its shapes as water", body.mass));
            return Ok(body);
        };
        let pose = origin(inertial)?;
        let mass = inertial.child("mass").ok_or_else(|| element.error("its <inertial> has no <mass>"))?;
        let mass = mass.own().number("value")?.ok_or_else(|| element.error("its <mass> has no `value`"))?;
        if mass < 0.0 {
            return Err(element.error(format!("its mass is negative: {mass} kg")));
        }
        let tensor = match inertial.child("inertia") {
            Some(tensor) => inertia_tensor(tensor)?,
            None => DMat3::ZERO,
        };
        if tensor == DMat3::ZERO && mass > 0.0 {
            let gyration = mass * POINT_GYRATION_M * POINT_GYRATION_M;
            let (tensor, source) = match shape.map(|shape| shape.with_mass(mass)) {
                Some(shape) => (shape.tensor, "its shapes"),
                None => (DMat3::from_diagonal(DVec3::splat(gyration)), "a ball"),
            };
            self.notes.at(element, format!("link `{name}` has no inertia: that of {source} with its mass"));
            return Ok(Inertia { mass, centre: pose.translation, tensor });
        }
        Ok(Inertia { mass, centre: DVec3::ZERO, tensor }.placed(pose))
    }

    /// Bullet's `<contact><lateral_friction value=…/></contact>`, else Gazebo's `<mu1>`.
    fn friction(&mut self, link: &Element) -> Result<Option<f32>> {
        let mut friction = link.get("name").and_then(|name| self.frictions.get(name)).copied();
        let Some(contact) = link.child("contact") else { return Ok(friction) };
        for child in &contact.children {
            match child.tag.as_str() {
                "lateral_friction" => friction = child.own().non_negative("value")?.map(|mu| mu as f32),
                tag => self.notes.at(link, format!("<{tag}> of a <contact> is not read")),
            }
        }
        Ok(friction)
    }

    /// `<gazebo reference="link"><mu1>0.9</mu1></gazebo>`; the rest is for Gazebo's own plugins.
    fn gazebo(&mut self, element: &Element) -> Result<()> {
        for child in &element.children {
            let link = element.get("reference").filter(|_| child.tag == "mu1");
            let Some(link) = link else {
                self.notes.at(child, format!("<gazebo><{}> is not read", child.tag));
                continue;
            };
            let text = child.get("value").unwrap_or(&child.text);
            match text.parse::<f32>() {
                Ok(mu) if mu >= 0.0 && mu.is_finite() => self.frictions.insert(link.to_owned(), mu),
                _ => return Err(child.error(format!("`{text}` is not a friction coefficient"))),
            };
        }
        Ok(())
    }

    fn visual(&mut self, element: &Element, link: &mut Link) -> Result<()> {
        let Some((geometry, pose)) = self.shape(element)? else { return Ok(()) };
        let look = match element.child("material") {
            Some(material) => self.look(material)?,
            None => Look::default(),
        };
        if look.invisible {
            return Ok(());
        }
        for drawn in geometry.visuals() {
            link.visuals.push(LinkVisual {
                shape: drawn.shape,
                local: to_pose(pose),
                colour: look.colour.or(drawn.colour),
                picture: look.picture.clone().or(drawn.picture),
            });
        }
        Ok(())
    }

    fn look(&mut self, material: &Element) -> Result<Look> {
        let mut look = material.get("name").and_then(|name| self.materials.get(name)).cloned().unwrap_or_default();
        if let Some(colour) = material.child("color") {
            let rgba = colour.own().list("rgba")?.unwrap_or_default();
            if let [r, g, b, ..] = rgba[..] {
                look.colour = Some([r, g, b].map(|c| c.clamp(0.0, 1.0) as f32));
                look.invisible = rgba.get(3) == Some(&0.0);
            } else {
                return Err(colour.error("`rgba`: expected 4 numbers"));
            }
        }
        if let Some(texture) = material.child("texture").and_then(|texture| texture.get("filename")) {
            let picture = self.assets.resolve(&self.base, texture).and_then(|path| {
                let picture = self.assets.picture(&path)?;
                Ok((path, picture))
            });
            match picture {
                Ok((path, picture)) => {
                    self.file(&path);
                    look.picture = Some(picture);
                }
                Err(error) => self.notes.at(material, format!("texture: {error}")),
            }
        }
        // A material may be given in full inside a link and named from then on.
        if let Some(name) = material.get("name").filter(|name| !name.is_empty() && !material.children.is_empty()) {
            self.materials.entry(name.to_owned()).or_insert_with(|| look.clone());
        }
        Ok(look)
    }

    fn shape(&mut self, element: &Element) -> Result<Option<(Geometry, DPose3)>> {
        let pose = origin(element)?;
        let shapes = element.child("geometry").map(|geometry| &geometry.children[..]).unwrap_or_default();
        let Some(shape) = shapes.first() else {
            self.notes.at(element, "a shape without geometry is left out");
            return Ok(None);
        };
        let own = shape.own();
        let positive = |attribute: &str| -> Result<f64> {
            match own.number(attribute)? {
                Some(x) if x >= 0.0 => Ok(x),
                Some(x) => Err(shape.error(format!("`{attribute}` is negative: {x}"))),
                None => Err(shape.error(format!("has no attribute `{attribute}`"))),
            }
        };
        let geometry = match shape.tag.as_str() {
            "box" => {
                let size = own.vector("size")?.ok_or_else(|| shape.error("has no attribute `size`"))?;
                if size.min_element() < 0.0 {
                    return Err(shape.error(format!("`size` is negative: {size}")));
                }
                // Sheets are drawn with a thickness of 0.
                let thinnest = if size.max_element() > 0.0 { 1.0e-5 } else { 0.0 };
                Geometry::Box((size / 2.0).max(DVec3::splat(thinnest)))
            }
            "sphere" => Geometry::Sphere(positive("radius")?),
            "cylinder" => Geometry::Cylinder(positive("radius")?, positive("length")? / 2.0),
            "capsule" => Geometry::Capsule(positive("radius")?, own.non_negative("length")?.unwrap_or(0.0) / 2.0),
            "mesh" => {
                let file = shape.required("filename")?;
                let scale = match own.list("scale")?.as_deref() {
                    None => DVec3::ONE,
                    Some(&[s]) => DVec3::splat(s),
                    Some(&[x, y, z]) => DVec3::new(x, y, z),
                    Some(other) => {
                        return Err(shape.error(format!("`scale`: expected 3 numbers, found {}", other.len())));
                    }
                };
                if !scale.is_finite() || scale.x * scale.y * scale.z == 0.0 {
                    return Err(shape.error(format!("`scale` must be finite and not 0, found {scale}")));
                }
                let path = self.assets.resolve(&self.base, file).map_err(|error| in_element(shape, &error))?;
                let parts = self.assets.mesh_parts(&path).map_err(|error| in_element(shape, &error))?;
                self.file(&path);
                for note in parts.iter().flat_map(|part| &part.notes) {
                    self.notes.add(note.as_str());
                }
                Geometry::Mesh(parts, scale)
            }
            "plane" => {
                // Bullet's extension: a half-space with this normal through the origin.
                let normal = own.vector("normal")?.unwrap_or(DVec3::Z).normalize_or(DVec3::Z);
                let turn = glamx::glam::DQuat::from_rotation_arc(DVec3::Z, normal);
                return Ok(Some((Geometry::Plane(0.0, 0.0), pose * DPose3::from_rotation(turn))));
            }
            tag => {
                self.notes.at(shape, format!("<{tag}> is not a shape that is read"));
                return Ok(None);
            }
        };
        if geometry.is_empty() {
            self.notes.at(shape, "a shape of size 0 is left out");
            return Ok(None);
        }
        Ok(Some((geometry, pose)))
    }

    fn file(&mut self, reference: &str) {
        if !self.files.iter().any(|known| known == reference) {
            self.files.push(reference.to_owned());
        }
    }
}

/// An asset error with the element that asked for it.
fn in_element(element: &Element, error: &Error) -> Error {
    element.error(error.to_string())
}

fn inertia_tensor(element: &Element) -> Result<DMat3> {
    let own = element.own();
    let get = |attribute: &str| -> Result<f64> { Ok(own.number(attribute)?.unwrap_or(0.0)) };
    let (xx, yy, zz) = (get("ixx")?, get("iyy")?, get("izz")?);
    let (xy, xz, yz) = (get("ixy")?, get("ixz")?, get("iyz")?);
    Ok(DMat3::from_cols_array_2d(&[[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
}

/// The `<origin>` of an element: translation, then fixed-axis roll, pitch, yaw.
fn origin(element: &Element) -> Result<DPose3> {
    let Some(origin) = element.child("origin") else { return Ok(DPose3::IDENTITY) };
    let own = origin.own();
    let xyz = own.vector("xyz")?.unwrap_or(DVec3::ZERO);
    let turn = match (own.numbers::<4>("quat_xyzw")?, own.numbers::<3>("rpy")?) {
        (Some([x, y, z, w]), _) => glamx::glam::DQuat::from_xyzw(x, y, z, w).normalize(),
        (None, Some([roll, pitch, yaw])) => {
            rotation(DVec3::Z, yaw) * rotation(DVec3::Y, pitch) * rotation(DVec3::X, roll)
        }
        (None, None) => glamx::glam::DQuat::IDENTITY,
    };
    Ok(DPose3::from_parts(xyz, turn))
}
