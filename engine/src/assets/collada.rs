//! COLLADA 1.4 and 1.5 (`.dae`), as ROS robots use it for their meshes.
//!
//! All geometry of the visual scene is placed by its nodes, scaled by the file's unit and turned so
//! that its up axis is z. Diffuse colours and pictures are kept; skins, morphs, cameras and lights
//! are not.

use std::cell::Cell;
use std::collections::BTreeMap;

use glamx::glam::{Mat3, Mat4, Quat};
use roxmltree::Node;

use super::Assets;
use super::mesh::{MOST_TRIANGLES, RawPart};
use crate::error::{Error, Result};
use crate::maths::{Vec2, Vec3, rotation_about};

/// Nodes inside nodes; also what ends a cycle of `instance_node`.
const DEEPEST: usize = 128;
/// Elements in one file.
const MOST_NODES: u32 = 2_000_000;
/// Nodes placed; a few that refer to each other twice could otherwise be placed 2¹⁰⁰ times.
const MOST_PLACED: usize = 100_000;
/// Numbers and elements read, those of geometry that is placed often each time: a mesh of the most
/// triangles has nine indices a triangle and its vertices.
const MOST_READ: usize = 200_000_000;
/// Largest `offset` of an `<input>`; a corner has an index for position, normal, and a few layers.
const FURTHEST_OFFSET: usize = 64;

pub(super) fn read(assets: &Assets, name: &str) -> Result<Vec<RawPart>> {
    let text = assets.read_text(name)?;
    if crate::robots::nesting(&text) > DEEPEST {
        return Err(Error::asset(name, format!("elements are nested more than {DEEPEST} deep")));
    }
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES };
    let document = roxmltree::Document::parse_with_options(&text, options)
        .map_err(|error| Error::asset(name, format!("is not XML: {error}")))?;
    let root = document.root_element();
    if root.tag_name().name() != "COLLADA" {
        return Err(Error::asset(name, "is not a COLLADA file"));
    }
    let ids = document.descendants().filter_map(|node| Some((node.attribute("id")?, node))).collect();
    let mut reader = Reader { assets, name, ids, parts: Vec::new(), placed: 0, triangles: 0, read: Cell::new(0) };
    let scene = child(root, "scene").and_then(|scene| child(scene, "instance_visual_scene"));
    let scene = match scene.and_then(|instance| reader.target(instance, "url")) {
        Some(scene) => Some(scene),
        None => child(root, "library_visual_scenes").and_then(|library| child(library, "visual_scene")),
    };
    let placed = world(root);
    match scene {
        Some(scene) => {
            for node in children(scene, "node") {
                reader.node(node, placed, 0)?;
            }
        }
        // A bare library of geometry.
        None => {
            let library = child(root, "library_geometries");
            for geometry in library.into_iter().flat_map(|library| children(library, "geometry")) {
                reader.geometry(geometry, placed, &BTreeMap::new())?;
            }
        }
    }
    Ok(reader.parts)
}

/// From the file's unit and up axis to metres and z up.
fn world(root: Node<'_, '_>) -> Mat4 {
    let asset = child(root, "asset");
    let unit = asset.and_then(|asset| child(asset, "unit")?.attribute("meter")?.parse().ok()).unwrap_or(1.0);
    let up = asset.and_then(|asset| child(asset, "up_axis")?.text()).unwrap_or("Y_UP").trim();
    let turn = match up {
        "Z_UP" => Mat3::IDENTITY,
        "X_UP" => Mat3::from_cols(Vec3::Z, Vec3::Y, -Vec3::X),
        _ => Mat3::from_cols(Vec3::X, Vec3::Z, -Vec3::Y),
    };
    Mat4::from_mat3(turn * unit)
}

struct Reader<'a, 'x> {
    assets: &'a Assets,
    name: &'a str,
    ids: BTreeMap<&'x str, Node<'x, 'x>>,
    parts: Vec<RawPart>,
    /// Nodes placed and triangles read so far.
    placed: usize,
    triangles: usize,
    /// Numbers and elements read so far.
    read: Cell<usize>,
}

/// Values of a `<source>`, `stride` at a time.
struct Source {
    values: Vec<f32>,
    stride: usize,
}

/// An `<input>`: which index of a corner it reads, and from where.
struct Input<'x> {
    semantic: &'x str,
    source: Source,
    offset: usize,
}

impl<'x> Reader<'_, 'x> {
    fn error(&self, problem: impl std::fmt::Display) -> Error {
        Error::asset(self.name, problem.to_string())
    }

    /// Counts what is about to be read, so that a small file cannot ask for endless work.
    fn spend(&self, amount: usize) -> Result<()> {
        self.read.set(self.read.get().saturating_add(amount));
        if self.read.get() > MOST_READ {
            return Err(self.error(format!("repeats its geometry until more than {MOST_READ} numbers must be read")));
        }
        Ok(())
    }

    /// The element that an attribute `#id` refers to.
    fn target(&self, node: Node<'x, 'x>, attribute: &str) -> Option<Node<'x, 'x>> {
        self.ids.get(node.attribute(attribute)?.trim_start_matches('#')).copied()
    }

    fn node(&mut self, node: Node<'x, 'x>, parent: Mat4, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(self.error("nodes are nested in a cycle"));
        }
        self.placed += 1;
        if self.placed > MOST_PLACED {
            return Err(self.error(format!("its nodes refer to each other until more than {MOST_PLACED} are placed")));
        }
        self.spend(node.children().count())?;
        let mut placed = parent;
        for child in node.children().filter(Node::is_element) {
            let tag = child.tag_name().name();
            match tag {
                "matrix" | "translate" | "rotate" | "scale" => placed *= self.transform(child)?,
                "instance_geometry" => {
                    if let Some(geometry) = self.target(child, "url") {
                        self.geometry(geometry, placed, &self.bindings(child)?)?;
                    }
                }
                "instance_controller" => {
                    // A skin at rest is its geometry.
                    let skin = self.target(child, "url").and_then(|controller| self::child(controller, "skin"));
                    if let Some(geometry) = skin.and_then(|skin| self.target(skin, "source")) {
                        self.geometry(geometry, placed, &self.bindings(child)?)?;
                    }
                }
                "instance_node" => {
                    if let Some(instance) = self.target(child, "url") {
                        self.node(instance, placed, depth + 1)?;
                    }
                }
                "node" => self.node(child, placed, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn transform(&self, node: Node<'x, 'x>) -> Result<Mat4> {
        let numbers = self.numbers(node)?;
        let tag = node.tag_name().name();
        match (tag, &numbers[..]) {
            ("matrix", rows) if rows.len() == 16 => {
                let mut columns = [0.0; 16];
                columns.copy_from_slice(rows);
                Ok(Mat4::from_cols_array(&columns).transpose())
            }
            ("translate", &[x, y, z]) => Ok(Mat4::from_translation(Vec3::new(x, y, z))),
            ("scale", &[x, y, z]) => Ok(Mat4::from_scale(Vec3::new(x, y, z))),
            ("rotate", &[x, y, z, degrees]) => {
                let axis = Vec3::new(x, y, z).try_normalize();
                let turn = axis.map_or(Quat::IDENTITY, |axis| rotation_about(axis, f64::from(degrees).to_radians()));
                Ok(Mat4::from_quat(turn))
            }
            _ => Err(self.error(format!("<{tag}> with {} numbers", numbers.len()))),
        }
    }

    /// Material of each symbol that a geometry's primitives use.
    fn bindings(&self, instance: Node<'x, 'x>) -> Result<BTreeMap<&'x str, Node<'x, 'x>>> {
        self.spend(instance.descendants().count())?;
        let bound = instance
            .descendants()
            .filter(|node| node.has_tag_name_local("instance_material"))
            .filter_map(|node| Some((node.attribute("symbol")?, self.target(node, "target")?)))
            .collect();
        Ok(bound)
    }

    fn geometry(
        &mut self,
        geometry: Node<'x, 'x>,
        placed: Mat4,
        materials: &BTreeMap<&'x str, Node<'x, 'x>>,
    ) -> Result<()> {
        let Some(mesh) = child(geometry, "mesh") else { return Ok(()) };
        self.spend(mesh.children().count())?;
        for primitive in mesh.children().filter(Node::is_element) {
            let kind = primitive.tag_name().name();
            if !matches!(kind, "triangles" | "polylist" | "polygons" | "tristrips" | "trifans") {
                continue;
            }
            let mut part = self.primitive(primitive, kind, placed)?;
            self.triangles += part.triangles.len();
            if self.triangles > MOST_TRIANGLES {
                return Err(self.error(format!("has more than {MOST_TRIANGLES} triangles")));
            }
            part.name = geometry.attribute("name").or(geometry.attribute("id")).unwrap_or_default().to_owned();
            let symbol = primitive.attribute("material");
            let material = symbol.and_then(|symbol| materials.get(symbol).or_else(|| self.ids.get(symbol)));
            if let Some(material) = material.copied() {
                self.look(material, &mut part)?;
            }
            self.parts.push(part);
        }
        Ok(())
    }

    fn primitive(&self, primitive: Node<'x, 'x>, kind: &str, placed: Mat4) -> Result<RawPart> {
        self.spend(primitive.children().count())?;
        let mut inputs = Vec::new();
        let mut stride = 1;
        for input in children(primitive, "input") {
            let offset = self.offset(input)?;
            stride = stride.max(offset + 1);
            let semantic = input.attribute("semantic").unwrap_or_default();
            let source = self.target(input, "source").ok_or_else(|| self.error(format!("no source for {semantic}")))?;
            if semantic == "VERTEX" {
                // <vertices> collects what shares the position's index.
                for input in children(source, "input") {
                    if let Some(source) = self.target(input, "source") {
                        let semantic = input.attribute("semantic").unwrap_or_default();
                        inputs.push(Input { semantic, source: self.source(source)?, offset });
                    }
                }
            } else {
                inputs.push(Input { semantic, source: self.source(source)?, offset });
            }
        }
        let find = |semantic: &str| inputs.iter().find(|input| input.semantic == semantic);
        let position = find("POSITION").ok_or_else(|| self.error("a primitive without positions"))?;
        let (normal, uv) = (find("NORMAL"), find("TEXCOORD"));

        let turn = Mat3::from_mat4(placed).inverse().transpose();
        let mirrored = Mat3::from_mat4(placed).determinant() < 0.0;
        let mut part = RawPart::default();
        let mut known = BTreeMap::new();
        for polygon in self.polygons(primitive, kind, stride)? {
            let mut corners = Vec::with_capacity(polygon.len());
            for corner in polygon {
                let index = |input: &Input<'_>| corner.get(input.offset).copied().unwrap_or(0);
                let key = [Some(position), normal, uv].map(|input| input.map_or(0, index));
                if let Some(&vertex) = known.get(&key) {
                    corners.push(vertex);
                    continue;
                }
                let [x, y, z] = self.take(&position.source, key[0])?;
                part.positions.push(placed.transform_point3(Vec3::new(x, y, z)));
                if let Some(normal) = normal {
                    let [x, y, z] = self.take(&normal.source, key[1])?;
                    part.normals.push((turn * Vec3::new(x, y, z)).normalize_or_zero());
                }
                if let Some(uv) = uv {
                    let [u, v] = self.take(&uv.source, key[2])?;
                    part.uvs.push(Vec2::new(u, v));
                }
                let vertex = part.positions.len() as u32 - 1;
                known.insert(key, vertex);
                corners.push(vertex);
            }
            for pair in corners.get(1..).unwrap_or_default().windows(2) {
                let [b, c] = if mirrored { [pair[1], pair[0]] } else { [pair[0], pair[1]] };
                part.triangles.push([corners[0], b, c]);
            }
        }
        Ok(part)
    }

    /// Which of a corner's indices an `<input>` reads.
    fn offset(&self, input: Node<'x, 'x>) -> Result<usize> {
        let Some(text) = input.attribute("offset") else { return Ok(0) };
        let offset = text.trim().parse().ok().filter(|offset| *offset <= FURTHEST_OFFSET);
        offset.ok_or_else(|| self.error(format!("offset `{text}` is not one of 0 to {FURTHEST_OFFSET}")))
    }

    /// Corners of each polygon; a corner is `stride` indices.
    fn polygons(&self, primitive: Node<'x, 'x>, kind: &str, stride: usize) -> Result<Vec<Vec<Vec<usize>>>> {
        let mut out = Vec::new();
        let counts = child(primitive, "vcount").map(|node| self.indices(node)).transpose()?.unwrap_or_default();
        for p in children(primitive, "p") {
            let indices = self.indices(p)?;
            let corners: Vec<Vec<usize>> = indices.chunks_exact(stride).map(<[usize]>::to_vec).collect();
            match kind {
                "triangles" => out.extend(corners.chunks_exact(3).map(<[_]>::to_vec)),
                "polylist" => {
                    let mut rest = &corners[..];
                    self.spend(counts.len())?;
                    for &count in &counts {
                        let (polygon, after) = rest
                            .split_at_checked(count)
                            .ok_or_else(|| self.error("a <polylist> has fewer corners than its <vcount> says"))?;
                        out.push(polygon.to_vec());
                        rest = after;
                    }
                }
                "tristrips" => {
                    for (i, t) in corners.windows(3).enumerate() {
                        let mut triangle = t.to_vec();
                        if i % 2 == 1 {
                            triangle.swap(0, 1);
                        }
                        out.push(triangle);
                    }
                }
                // A fan is a polygon.
                _ => out.push(corners),
            }
        }
        Ok(out)
    }

    fn source(&self, node: Node<'x, 'x>) -> Result<Source> {
        let array = child(node, "float_array").ok_or_else(|| self.error("a <source> without <float_array>"))?;
        let accessor = child(node, "technique_common").and_then(|common| child(common, "accessor"));
        let stride = accessor.and_then(|accessor| accessor.attribute("stride")?.parse().ok()).unwrap_or(3);
        Ok(Source { values: self.numbers(array)?, stride })
    }

    fn take<const N: usize>(&self, source: &Source, index: usize) -> Result<[f32; N]> {
        let start = index.checked_mul(source.stride);
        let values = start.and_then(|start| source.values.get(start..start.checked_add(N)?));
        let values = values.and_then(|values| values.try_into().ok());
        values.ok_or_else(|| self.error(format!("index {index} is outside its source")))
    }

    fn numbers(&self, node: Node<'x, 'x>) -> Result<Vec<f32>> {
        let words = node.text().unwrap_or_default().split_whitespace();
        let parsed: Result<Vec<_>> =
            words.map(|word| word.parse().map_err(|_| self.error(format!("`{word}` is not a number")))).collect();
        self.spend(parsed.as_ref().map_or(0, Vec::len))?;
        parsed
    }

    fn indices(&self, node: Node<'x, 'x>) -> Result<Vec<usize>> {
        let words = node.text().unwrap_or_default().split_whitespace();
        let parsed: Result<Vec<_>> =
            words.map(|word| word.parse().map_err(|_| self.error(format!("`{word}` is not an index")))).collect();
        self.spend(parsed.as_ref().map_or(0, Vec::len))?;
        parsed
    }

    /// Diffuse colour or picture of a material.
    fn look(&self, material: Node<'x, 'x>, part: &mut RawPart) -> Result<()> {
        let effect = child(material, "instance_effect").and_then(|instance| self.target(instance, "url"));
        self.spend(effect.map_or(0, |effect| effect.descendants().count()))?;
        let diffuse = effect.and_then(|effect| effect.descendants().find(|node| node.has_tag_name_local("diffuse")));
        let Some(diffuse) = diffuse else { return Ok(()) };
        if let Some(colour) = child(diffuse, "color").and_then(|node| self.numbers(node).ok())
            && let [r, g, b, ..] = colour[..]
        {
            part.colour = Some([r, g, b].map(|c| c.clamp(0.0, 1.0)));
        }
        let texture = child(diffuse, "texture").and_then(|texture| texture.attribute("texture"));
        let Some(texture) = texture else { return Ok(()) };
        let Some(file) = self.image(effect, texture) else { return Ok(()) };
        match self.assets.resolve(self.name, &file).and_then(|path| self.assets.picture(&path)) {
            Ok(picture) => part.picture = Some(picture),
            Err(error) => part.notes.push(format!("texture of `{}`: {error}", self.name)),
        }
        Ok(())
    }

    /// File of a texture: sampler, surface, image, path; or the image directly.
    fn image(&self, effect: Option<Node<'x, 'x>>, texture: &str) -> Option<String> {
        let parameter = |name: &str| {
            effect?
                .descendants()
                .find(|node| node.has_tag_name_local("newparam") && node.attribute("sid") == Some(name))
        };
        let inside = |node: Node<'x, 'x>, tag: &str| {
            node.descendants().find(|node| node.has_tag_name_local(tag)).and_then(|node| node.text())
        };
        let surface = parameter(texture).and_then(|sampler| inside(sampler, "source"));
        let image = surface.and_then(parameter).and_then(|surface| inside(surface, "init_from")).unwrap_or(texture);
        let node = self.ids.get(image.trim())?;
        inside(*node, "init_from").or_else(|| inside(*node, "ref")).map(|path| path.trim().to_owned())
    }
}

/// Tag names without regard to COLLADA's namespace, which many writers get wrong.
trait LocalName {
    fn has_tag_name_local(&self, name: &str) -> bool;
}

impl LocalName for Node<'_, '_> {
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

fn child<'x>(node: Node<'x, 'x>, tag: &str) -> Option<Node<'x, 'x>> {
    node.children().find(|child| child.has_tag_name_local(tag))
}

fn children<'x>(node: Node<'x, 'x>, tag: &'x str) -> impl Iterator<Item = Node<'x, 'x>> {
    node.children().filter(move |child| child.has_tag_name_local(tag))
}
