//! The tree of bodies: poses, joints, inertias.

use glamx::DPose3;
use glamx::glam::{DMat3, DVec3};

use super::super::inertia::Inertia;
use super::super::xml::{Element, Notes};
use super::super::{LinkCollider, LinkVisual, Motion, RobotJoint};
use super::document::{Document, FromGeom};
use super::geoms::Library;
use crate::error::Result;

/// A body; the world is the first.
pub(super) struct Body<'a> {
    pub(super) element: &'a Element,
    pub(super) name: String,
    /// Index of the parent; `None` for the world.
    pub(super) parent: Option<usize>,
    /// Parent from body, at the reference positions of the joints.
    pub(super) pose: DPose3,
    pub(super) degrees: Vec<Degree<'a>>,
    /// It floats freely in the world.
    pub(super) free: bool,
    /// Name of its free joint in the file, if that has one.
    pub(super) free_joint: Option<String>,
    pub(super) inertia: Inertia,
    pub(super) colliders: Vec<LinkCollider>,
    pub(super) visuals: Vec<LinkVisual>,
    pub(super) sites: Vec<(String, DPose3)>,
}

/// A degree of freedom as written; `joint.axis` and `joint.anchor` are set when references are folded.
#[derive(Clone)]
pub(super) struct Degree<'a> {
    pub(super) element: &'a Element,
    pub(super) joint: RobotJoint,
    pub(super) axis: DVec3,
    pub(super) anchor: DVec3,
    pub(super) reference: f64,
}

/// What a body's children inherit from the elements around them.
#[derive(Clone, Copy)]
struct Scope<'a> {
    body: usize,
    /// Body from the `<frame>` that encloses the children.
    frame: DPose3,
    child_class: Option<&'a str>,
}

/// All bodies of the file, parents before children, in MuJoCo's order (depth first).
pub(super) fn read<'a>(root: &'a Element, document: &mut Document<'_>, notes: &mut Notes) -> Result<Vec<Body<'a>>> {
    let library = Library::read(root, document, notes);
    let world = Body {
        element: root.child("worldbody").unwrap_or(root),
        name: "world".to_owned(),
        parent: None,
        pose: DPose3::IDENTITY,
        degrees: Vec::new(),
        free: false,
        free_joint: None,
        inertia: Inertia::ZERO,
        colliders: Vec::new(),
        visuals: Vec::new(),
        sites: Vec::new(),
    };
    let mut reader = Reader { document, library, notes, bodies: vec![world], explicit: vec![true], shapes: vec![None] };
    for world in root.children("worldbody") {
        let child_class = world.get("childclass");
        reader.children(world, Scope { body: 0, frame: DPose3::IDENTITY, child_class });
    }
    reader.notes.refuse()?;
    reader.settle_masses();
    reader.notes.refuse()?;
    let (bodies, files) = (reader.bodies, reader.library.files);
    for file in files {
        document.note_file(&file);
    }
    if bodies.len() == 1 && bodies[0].colliders.is_empty() && bodies[0].visuals.is_empty() {
        return Err(root.error("has no body"));
    }
    Ok(bodies)
}

struct Reader<'r, 'a, 'd> {
    document: &'r Document<'d>,
    library: Library,
    notes: &'r mut Notes,
    bodies: Vec<Body<'a>>,
    /// By body: its `<inertial>` counts.
    explicit: Vec<bool>,
    /// By body: mass properties of its geoms.
    shapes: Vec<Option<Inertia>>,
}

impl<'a> Reader<'_, 'a, '_> {
    fn children(&mut self, element: &'a Element, scope: Scope<'a>) {
        for child in &element.children {
            let read = self.child(child, scope);
            self.notes.keep(read);
        }
    }

    fn child(&mut self, child: &'a Element, scope: Scope<'a>) -> Result<()> {
        match child.tag.as_str() {
            "body" => self.body(child, scope)?,
            "frame" => {
                let pose = self.notes.keep(self.document.pose(&child.own())).unwrap_or(DPose3::IDENTITY);
                let child_class = child.get("childclass").or(scope.child_class);
                self.children(child, Scope { frame: scope.frame * pose, child_class, ..scope });
            }
            "geom" => self.geom(child, scope)?,
            "site" => {
                let pose = scope.frame * self.document.pose(&self.document.attributes(child, scope.child_class)?)?;
                if let Some(name) = child.get("name") {
                    self.bodies[scope.body].sites.push((name.to_owned(), pose));
                }
            }
            "joint" => self.joint(child, scope)?,
            "freejoint" => self.free_joint(child, scope)?,
            "inertial" => self.inertial(child, scope)?,
            "camera" | "light" => self.notes.at(child, format!("<{}> is not read (the scene has its own)", child.tag)),
            tag => self.notes.at(child, format!("<{tag}> in a body is not read")),
        }
        Ok(())
    }

    fn body(&mut self, element: &'a Element, scope: Scope<'a>) -> Result<()> {
        let index = self.bodies.len();
        let name = element.get("name").map_or_else(|| format!("body{index}"), str::to_owned);
        if self.bodies.iter().any(|body| body.name == name) {
            self.notes.mistake(element.error("another body has this name"));
        }
        if element.get("mocap") == Some("true") {
            self.notes.at(element, "a mocap body stands still");
        }
        let pose = self.notes.keep(self.document.pose(&element.own())).unwrap_or(DPose3::IDENTITY);
        let pose = scope.frame * pose;
        self.bodies.push(Body {
            element,
            name,
            parent: Some(scope.body),
            pose,
            degrees: Vec::new(),
            free: false,
            free_joint: None,
            inertia: Inertia::ZERO,
            colliders: Vec::new(),
            visuals: Vec::new(),
            sites: Vec::new(),
        });
        self.explicit.push(false);
        self.shapes.push(None);
        let child_class = element.get("childclass").or(scope.child_class);
        self.children(element, Scope { body: index, frame: DPose3::IDENTITY, child_class });
        Ok(())
    }

    fn geom(&mut self, element: &'a Element, scope: Scope<'a>) -> Result<()> {
        let attributes = self.document.attributes(element, scope.child_class)?;
        let Some(geom) = self.library.geom(self.document, &attributes, self.notes)? else { return Ok(()) };
        let pose = scope.frame * geom.pose;
        let groups = self.document.compiler.inertia_groups;
        if scope.body != 0
            && (groups[0]..=groups[1]).contains(&geom.group)
            && let Some(solid) = geom.solid
        {
            let solid = solid.placed(pose);
            let sum = &mut self.shapes[scope.body];
            *sum = Some(sum.map_or(solid, |sum| sum.plus(solid)));
        }
        let body = &mut self.bodies[scope.body];
        let pose = super::to_pose(pose);
        body.colliders.extend(geom.colliders.into_iter().map(|c| LinkCollider { local: pose * c.local, ..c }));
        body.visuals.extend(geom.visuals.into_iter().map(|v| LinkVisual { local: pose, ..v }));
        self.library.drawn.push((scope.body, geom.visual_only, geom.group, self.bodies[scope.body].visuals.len()));
        Ok(())
    }

    fn inertial(&mut self, element: &'a Element, scope: Scope<'a>) -> Result<()> {
        if self.document.compiler.inertia_from_geom == FromGeom::Always {
            return Ok(());
        }
        let own = element.own();
        let mass = own.number("mass")?.ok_or_else(|| element.error("has no attribute `mass`"))?;
        if mass < 0.0 {
            return Err(element.error(format!("`mass` is negative: {mass} kg")));
        }
        let tensor = match (own.vector("diaginertia")?, own.numbers::<6>("fullinertia")?) {
            (_, Some([xx, yy, zz, xy, xz, yz])) => {
                DMat3::from_cols_array_2d(&[[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            }
            (Some(diagonal), None) => DMat3::from_diagonal(diagonal),
            (None, None) => DMat3::ZERO,
        };
        let pose = scope.frame * self.document.pose(&own)?;
        self.bodies[scope.body].inertia = Inertia { mass, centre: DVec3::ZERO, tensor }.placed(pose);
        self.explicit[scope.body] = true;
        Ok(())
    }

    fn free_joint(&mut self, element: &'a Element, scope: Scope<'a>) -> Result<()> {
        let body = &self.bodies[scope.body];
        if body.parent != Some(0) {
            return Err(element.error("only a body of the world can be free"));
        }
        self.bodies[scope.body].free = true;
        self.bodies[scope.body].free_joint = element.get("name").map(str::to_owned);
        Ok(())
    }

    fn joint(&mut self, element: &'a Element, scope: Scope<'a>) -> Result<()> {
        if scope.body == 0 {
            return Err(element.error("the world cannot have a joint"));
        }
        let attributes = self.document.attributes(element, scope.child_class)?;
        let kind = attributes.get("type").unwrap_or("hinge");
        let motion = match kind {
            "hinge" | "ball" => Motion::Revolute,
            "slide" => Motion::Prismatic,
            "free" => return self.free_joint(element, scope),
            other => return Err(element.error(format!("`type` is `{other}`, which is no joint type"))),
        };
        let count = self.bodies[scope.body].degrees.len();
        let name = element.get("name").map_or_else(
            || {
                format!(
                    "{}_joint{}",
                    self.bodies[scope.body].name,
                    if count == 0 { String::new() } else { (count + 1).to_string() }
                )
            },
            str::to_owned,
        );
        if self.bodies.iter().flat_map(|body| &body.degrees).any(|degree| degree.joint.name == name) {
            return Err(element.error("another joint has this name"));
        }
        let angular = motion == Motion::Revolute;
        let in_unit = |x: f64| if angular { self.document.angle(x) } else { x };
        let axis = attributes.vector("axis")?.unwrap_or(DVec3::Z);
        let axis = axis.try_normalize().ok_or_else(|| element.error("`axis` has no length"))?;
        let axis = scope.frame.transform_vector(axis);
        let anchor = scope.frame.transform_point(attributes.vector("pos")?.unwrap_or(DVec3::ZERO));
        let mut joint = RobotJoint::free(name.clone(), motion);
        let range = attributes.range("range")?;
        let limited = match attributes.get("limited").unwrap_or("auto") {
            "true" => true,
            "auto" => self.document.compiler.auto_limits && range.is_some(),
            _ => false,
        };
        let first = |list: Option<Vec<f64>>| list.and_then(|list| list.first().copied()).unwrap_or(0.0);
        joint.damping = first(attributes.list("damping")?) as f32;
        joint.friction = attributes.non_negative("frictionloss")?.unwrap_or(0.0) as f32;
        joint.armature = attributes.non_negative("armature")?.unwrap_or(0.0) as f32;
        let stiffness = first(attributes.list("stiffness")?);
        if stiffness > 0.0 {
            joint.spring = Some((stiffness as f32, in_unit(attributes.number("springref")?.unwrap_or(0.0)) as f32));
        }
        if let Some([low, high]) = attributes.range("actuatorfrcrange")?
            && attributes.get("actuatorfrclimited") != Some("false")
        {
            joint.max_effort = low.abs().max(high.abs()) as f32;
            if low != -high {
                self.notes.at(element, "<joint actuatorfrcrange> is read as symmetric: the larger bound counts");
            }
        }
        for name in ["damping", "stiffness"] {
            if attributes.list(name)?.is_some_and(|list| list.iter().skip(1).any(|&x| x != 0.0)) {
                self.notes.at(element, format!("<joint {name}> is a polynomial: only its first coefficient is kept"));
            }
        }
        if kind == "ball" {
            self.notes.at(
                element,
                format!(
                    "a ball joint is three hinges about x, y, z{}",
                    if limited { ", without its limit" } else { "" }
                ),
            );
            for (suffix, axis) in [("rx", DVec3::X), ("ry", DVec3::Y), ("rz", DVec3::Z)] {
                let joint = RobotJoint { name: format!("{name}_{suffix}"), ..joint.clone() };
                let axis = scope.frame.transform_vector(axis);
                self.bodies[scope.body].degrees.push(Degree { element, joint, axis, anchor, reference: 0.0 });
            }
            return Ok(());
        }
        if limited && let Some(range) = range {
            joint.limits = range.map(|x| in_unit(x) as f32);
        }
        let reference = in_unit(attributes.number("ref")?.unwrap_or(0.0));
        joint.rest = (reference as f32).clamp(joint.limits[0], joint.limits[1]);
        self.bodies[scope.body].degrees.push(Degree { element, joint, axis, anchor, reference });
        Ok(())
    }

    /// What each body weighs, after all compiler settings, and which of its geoms are drawn.
    fn settle_masses(&mut self) {
        let compiler = &self.document.compiler;
        let mut free = Vec::new();
        for (i, body) in self.bodies.iter_mut().enumerate().skip(1) {
            if !self.explicit[i] && compiler.inertia_from_geom != FromGeom::Never {
                body.inertia = self.shapes[i].unwrap_or(Inertia::ZERO);
            }
            body.inertia.mass = body.inertia.mass.max(compiler.least_mass);
            let (mut moments, axes) = body.inertia.principal();
            let unbalanced = moments.x + moments.y < moments.z && compiler.balance_inertia;
            if moments.x < compiler.least_inertia || unbalanced {
                moments = moments.max(DVec3::splat(compiler.least_inertia));
                if moments.x + moments.y < moments.z && compiler.balance_inertia {
                    moments = DVec3::splat((moments.x + moments.y + moments.z) / 3.0);
                }
                body.inertia.tensor = axes * DMat3::from_diagonal(moments) * axes.transpose();
            }
            if body.free && !body.degrees.is_empty() {
                self.notes.mistake(body.element.error("it is free and has other joints"));
            }
            free.push(body.free.then_some(i));
        }
        if let Some(total) = compiler.total_mass {
            let now: f64 = self.bodies.iter().map(|body| body.inertia.mass).sum();
            if now > 0.0 {
                for body in &mut self.bodies {
                    body.inertia = body.inertia.with_mass(body.inertia.mass * total / now);
                }
            }
        }
        self.free_bodies_beside_the_base();
        self.library.keep_drawn(&mut self.bodies);
    }

    /// Only a single moving body of the world can be a floating base; others get joints.
    fn free_bodies_beside_the_base(&mut self) {
        let movers =
            (1..self.bodies.len()).filter(|&i| self.bodies[i].parent == Some(0) && self.subtree_moves(i)).count();
        if movers < 2 {
            return;
        }
        for body in self.bodies.iter_mut().filter(|body| body.free) {
            self.notes.at(body.element, "a free body beside others is three slides and three hinges");
            body.free = false;
            for (suffix, motion, axis) in [
                ("x", Motion::Prismatic, DVec3::X),
                ("y", Motion::Prismatic, DVec3::Y),
                ("z", Motion::Prismatic, DVec3::Z),
                ("rx", Motion::Revolute, DVec3::X),
                ("ry", Motion::Revolute, DVec3::Y),
                ("rz", Motion::Revolute, DVec3::Z),
            ] {
                let joint = RobotJoint::free(format!("{}_{suffix}", body.name), motion);
                let element = body.element;
                body.degrees.push(Degree { element, joint, axis, anchor: DVec3::ZERO, reference: 0.0 });
            }
        }
    }

    fn subtree_moves(&self, top: usize) -> bool {
        (top..self.bodies.len()).any(|i| {
            let mut at = i;
            while let Some(parent) = self.bodies[at].parent.filter(|&parent| parent >= top) {
                at = parent;
            }
            at == top && (self.bodies[i].free || !self.bodies[i].degrees.is_empty())
        })
    }
}
