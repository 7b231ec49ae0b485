//! An MJCF file with its includes put in, its compiler settings, and its classes of defaults.

use std::collections::BTreeMap;

use glamx::DPose3;
use glamx::glam::{DMat3, DQuat, DVec3};

use super::super::shapes::rotation;
use super::super::xml::{Attributes, Element, Notes};
use crate::assets::Assets;
use crate::error::Result;

/// Includes inside includes.
const DEEPEST_INCLUDE: usize = 32;

/// Values of attributes by element tag, for one class.
type Class = BTreeMap<String, BTreeMap<String, String>>;

/// The whole file.
pub(super) struct Document<'a> {
    pub(super) root: Element,
    pub(super) compiler: Compiler,
    pub(super) assets: &'a Assets,
    /// Reference of the main file, which paths are relative to.
    pub(super) base: String,
    /// Every file read.
    pub(super) files: Vec<String>,
    classes: BTreeMap<String, Class>,
}

/// `<compiler>`, with MuJoCo's defaults.
pub(super) struct Compiler {
    degrees: bool,
    euler_sequence: String,
    pub(super) auto_limits: bool,
    mesh_folder: String,
    texture_folder: String,
    strip_path: bool,
    pub(super) inertia_from_geom: FromGeom,
    pub(super) inertia_groups: [i64; 2],
    pub(super) balance_inertia: bool,
    pub(super) least_mass: f64,
    pub(super) least_inertia: f64,
    pub(super) total_mass: Option<f64>,
}

/// `inertiafromgeom`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FromGeom {
    Never,
    Always,
    IfMissing,
}

impl<'a> Document<'a> {
    pub(super) fn load(reference: &str, assets: &'a Assets, notes: &mut Notes) -> Result<Self> {
        let base = assets.normalise(reference)?;
        let mut root = Element::load(reference, assets)?;
        if root.tag != "mujoco" {
            return Err(root.error("is not an MJCF file: expected <mujoco>"));
        }
        let mut files = vec![base.clone()];
        include(&mut root, assets, &base, &mut vec![base.clone()], &mut files)?;
        let compiler = Compiler::read(&root, notes)?;
        let mut classes = BTreeMap::from([("main".to_owned(), Class::new())]);
        for default in root.children("default") {
            read_class(default, "main", None, &mut classes)?;
        }
        Ok(Self { root, compiler, assets, base, files, classes })
    }

    /// Attributes of an element with those of its class (its own, else the nearest `childclass`, else the main one).
    pub(super) fn attributes<'e>(&'e self, element: &'e Element, child_class: Option<&str>) -> Result<Attributes<'e>> {
        let name = element.get("class").or(child_class).unwrap_or("main");
        let class = self.classes.get(name).ok_or_else(|| element.error(format!("there is no class `{name}`")))?;
        let tag = match element.tag.as_str() {
            // MuJoCo keeps one set of actuator defaults.
            "motor" | "position" | "velocity" | "general" | "intvelocity" | "damper" | "cylinder" | "muscle" => {
                "general"
            }
            tag => tag,
        };
        Ok(Attributes { element, defaults: class.get(tag) })
    }

    /// Reference of a mesh file.
    pub(super) fn mesh_file(&self, file: &str) -> Result<String> {
        self.asset_file(&self.compiler.mesh_folder, file)
    }

    /// Reference of a picture file.
    pub(super) fn texture_file(&self, file: &str) -> Result<String> {
        self.asset_file(&self.compiler.texture_folder, file)
    }

    fn asset_file(&self, folder: &str, file: &str) -> Result<String> {
        let file = if self.compiler.strip_path { file.rsplit(['/', '\\']).next().unwrap_or(file) } else { file };
        let path = if folder.is_empty() { file.to_owned() } else { format!("{}/{file}", folder.trim_end_matches('/')) };
        self.assets.resolve(&self.base, &path)
    }

    pub(super) fn note_file(&mut self, reference: &str) {
        if !self.files.iter().any(|known| known == reference) {
            self.files.push(reference.to_owned());
        }
    }

    /// An angle of the file in radians.
    pub(super) fn angle(&self, value: f64) -> f64 {
        if self.compiler.degrees { value.to_radians() } else { value }
    }

    /// `pos` and one of `quat`, `axisangle`, `euler`, `xyaxes`, `zaxis`.
    pub(super) fn pose(&self, attributes: &Attributes<'_>) -> Result<DPose3> {
        let position = attributes.vector("pos")?.unwrap_or(DVec3::ZERO);
        Ok(DPose3::from_parts(position, self.orientation(attributes)?))
    }

    fn orientation(&self, attributes: &Attributes<'_>) -> Result<DQuat> {
        const WAYS: [&str; 5] = ["quat", "axisangle", "euler", "xyaxes", "zaxis"];
        let element = attributes.element;
        // What the element says itself goes before what its class says in another way.
        let own = WAYS.iter().find(|way| element.get(way).is_some());
        let Some(way) = own.or_else(|| WAYS.iter().find(|way| attributes.get(way).is_some())) else {
            return Ok(DQuat::IDENTITY);
        };
        let zero = || element.error(format!("`{way}` has no direction"));
        match *way {
            "quat" => {
                let [w, x, y, z] = attributes.numbers("quat")?.unwrap_or([1.0, 0.0, 0.0, 0.0]);
                let quat = DQuat::from_xyzw(x, y, z, w);
                if quat.length_squared() > 0.0 { Ok(quat.normalize()) } else { Err(zero()) }
            }
            "axisangle" => {
                let [x, y, z, angle] = attributes.numbers("axisangle")?.unwrap_or([0.0, 0.0, 1.0, 0.0]);
                let axis = DVec3::new(x, y, z).try_normalize().ok_or_else(zero)?;
                Ok(rotation(axis, self.angle(angle)))
            }
            "euler" => {
                let angles = attributes.numbers::<3>("euler")?.unwrap_or_default();
                let mut turn = DQuat::IDENTITY;
                for (letter, angle) in self.compiler.euler_sequence.chars().zip(angles) {
                    let axis = match letter.to_ascii_lowercase() {
                        'x' => DVec3::X,
                        'y' => DVec3::Y,
                        _ => DVec3::Z,
                    };
                    let step = rotation(axis, self.angle(angle));
                    // Lower case turns with the frame, upper case about the parent's axes.
                    turn = if letter.is_ascii_lowercase() { turn * step } else { step * turn };
                }
                Ok(turn)
            }
            "xyaxes" => {
                let [a, b, c, d, e, f] = attributes.numbers("xyaxes")?.unwrap_or([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
                let x = DVec3::new(a, b, c).try_normalize().ok_or_else(zero)?;
                let y = DVec3::new(d, e, f);
                let y = (y - x * x.dot(y)).try_normalize().ok_or_else(zero)?;
                Ok(DQuat::from_mat3(&DMat3::from_cols(x, y, x.cross(y))).normalize())
            }
            _ => {
                let z = attributes.vector("zaxis")?.and_then(DVec3::try_normalize).ok_or_else(zero)?;
                Ok(from_z(z))
            }
        }
    }
}

/// The smallest rotation that takes z to a unit vector.
pub(super) fn from_z(direction: DVec3) -> DQuat {
    // The half-angle quaternion (z × d, 1 + z·d), which only fails when d = −z.
    let w = 1.0 + direction.z;
    if w < 1.0e-12 {
        return DQuat::from_xyzw(1.0, 0.0, 0.0, 0.0);
    }
    DQuat::from_xyzw(-direction.y, direction.x, 0.0, w).normalize()
}

impl Compiler {
    fn read(root: &Element, notes: &mut Notes) -> Result<Self> {
        let mut out = Self {
            degrees: true,
            euler_sequence: "xyz".to_owned(),
            auto_limits: true,
            mesh_folder: String::new(),
            texture_folder: String::new(),
            strip_path: false,
            inertia_from_geom: FromGeom::IfMissing,
            inertia_groups: [0, 5],
            balance_inertia: false,
            least_mass: 0.0,
            least_inertia: 0.0,
            total_mass: None,
        };
        for element in root.children("compiler") {
            let own = element.own();
            for (name, value) in &element.attributes {
                match name.as_str() {
                    "angle" => {
                        out.degrees = match value.as_str() {
                            "degree" => true,
                            "radian" => false,
                            _ => return Err(element.error(format!("`angle` is `{value}`, not degree or radian"))),
                        };
                    }
                    "eulerseq" => {
                        if value.len() != 3 || !value.chars().all(|c| "xyzXYZ".contains(c)) {
                            return Err(element.error(format!("`eulerseq` is `{value}`, not three of x, y, z")));
                        }
                        out.euler_sequence = value.clone();
                    }
                    "coordinate" if value == "global" => {
                        return Err(element.error("global coordinates are not read (nor by MuJoCo since 2.3.4)"));
                    }
                    "autolimits" => out.auto_limits = boolean(element, name)?,
                    "meshdir" => out.mesh_folder = value.clone(),
                    "texturedir" => out.texture_folder = value.clone(),
                    "assetdir" => {
                        out.mesh_folder = element.get("meshdir").unwrap_or(value).to_owned();
                        out.texture_folder = element.get("texturedir").unwrap_or(value).to_owned();
                    }
                    "strippath" => out.strip_path = boolean(element, name)?,
                    "inertiafromgeom" => {
                        out.inertia_from_geom = match value.as_str() {
                            "auto" => FromGeom::IfMissing,
                            _ if boolean(element, name)? => FromGeom::Always,
                            _ => FromGeom::Never,
                        };
                    }
                    "inertiagrouprange" => {
                        out.inertia_groups = own.range(name)?.unwrap_or([0.0, 5.0]).map(|x| x as i64);
                    }
                    "balanceinertia" => out.balance_inertia = boolean(element, name)?,
                    "boundmass" => out.least_mass = own.non_negative(name)?.unwrap_or(0.0),
                    "boundinertia" => out.least_inertia = own.non_negative(name)?.unwrap_or(0.0),
                    "settotalmass" => out.total_mass = own.number(name)?.filter(|&mass| mass > 0.0),
                    // These change nothing that is read here.
                    "coordinate" | "discardvisual" | "fusestatic" | "usethread" | "saveinertial" | "convexhull"
                    | "alignfree" | "conflict" => {}
                    _ => notes.at(element, format!("<compiler {name}> is not read")),
                }
            }
        }
        Ok(out)
    }
}

/// A `true` or `false` attribute.
pub(super) fn boolean(element: &Element, attribute: &str) -> Result<bool> {
    match element.get(attribute) {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        other => Err(element.error(format!("`{attribute}` is `{}`, not true or false", other.unwrap_or_default()))),
    }
}

/// Puts included files in the place of the `<include>` elements.
fn include(
    element: &mut Element,
    assets: &Assets,
    main: &str,
    open: &mut Vec<String>,
    files: &mut Vec<String>,
) -> Result<()> {
    let mut children = Vec::with_capacity(element.children.len());
    for mut child in std::mem::take(&mut element.children) {
        if child.tag != "include" {
            include(&mut child, assets, main, open, files)?;
            children.push(child);
            continue;
        }
        let file = child.required("file")?;
        // Paths are relative to the main file; files that were moved as a whole are relative to the including one.
        let here = open.last().map_or(main, String::as_str);
        let name = assets.resolve(main, file).and_then(|name| match assets.exists(&name) {
            true => Ok(name),
            false => assets.resolve(here, file),
        });
        let name = name.map_err(|error| child.error(error.to_string()))?;
        if open.contains(&name) || open.len() > DEEPEST_INCLUDE {
            return Err(child.error(format!("`{name}` includes itself: {}", open.join(" → "))));
        }
        let mut included = Element::load(&name, assets).map_err(|error| child.error(error.to_string()))?;
        if !files.contains(&name) {
            files.push(name.clone());
        }
        open.push(name);
        include(&mut included, assets, main, open, files)?;
        open.pop();
        children.extend(included.children);
    }
    element.children = children;
    Ok(())
}

/// Reads a `<default>` and those inside it; a class starts as a copy of the one around it.
fn read_class(
    element: &Element,
    default_name: &str,
    parent: Option<&str>,
    classes: &mut BTreeMap<String, Class>,
) -> Result<()> {
    let name = element.get("class").unwrap_or(default_name).to_owned();
    if parent.is_some() && element.get("class").is_none() {
        return Err(element.error("a class inside another needs a name"));
    }
    let mut class = match parent {
        Some(parent) => classes.get(parent).cloned().unwrap_or_default(),
        // The outermost class is the main one whatever its name, and later blocks add to it.
        None => classes.get("main").cloned().unwrap_or_default(),
    };
    for child in element.children.iter().filter(|child| child.tag != "default") {
        let tag = match child.tag.as_str() {
            "motor" | "position" | "velocity" | "general" | "intvelocity" | "damper" | "cylinder" | "muscle" => {
                "general"
            }
            tag => tag,
        };
        class.entry(tag.to_owned()).or_default().extend(child.attributes.iter().cloned());
    }
    if parent.is_none() {
        classes.insert("main".to_owned(), class.clone());
    }
    classes.insert(name.clone(), class);
    for child in element.children("default") {
        read_class(child, "", Some(&name), classes)?;
    }
    Ok(())
}
