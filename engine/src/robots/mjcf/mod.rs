//! MJCF: MuJoCo's XML format.
//!
//! Follows <https://mujoco.readthedocs.io/en/stable/XMLreference.html>. Read are: `include`,
//! `compiler`, `default` classes, `frame`, bodies with any number of joints, free bodies, geoms of
//! every analytic type and meshes, sites (as frames), joint actuators and fixed tendons of joints,
//! `equality joint` (as mimic), `contact exclude`, materials, and the keyframe `home`. What is not is
//! listed in [`RobotModel::skipped`].
//!
//! The base (link 0) is the only moving body of the world, or the world itself if there are several
//! or if the moving body slides or turns against it. Geometry that is bolted to the world, planes
//! included, is the link [`RobotModel::world_link`].
//!
//! | here | there |
//! |---|---|
//! | joint positions | `qpos`; a joint's `ref` is folded into the link's pose, so 0 means 0 |
//! | `ball` joint | three hinges about x, y, z |
//! | `free` joint below or beside the base | three slides and three hinges |
//! | `contype`, `conaffinity` | [`LinkCollider::contype`], [`LinkCollider::conaffinity`] |
//! | geom drawn | group 0 to 2 and not transparent; bodies with purely visual geoms show only those |

mod actuators;
mod bodies;
mod document;
mod geoms;
mod relations;
mod unread;

use glamx::DPose3;

use super::finish::finish;
use super::shapes::{rotation, to_pose};
use super::xml::{Element, Notes};
use super::{Link, Motion, RobotFrame, RobotModel};
use crate::assets::Assets;
use crate::error::Result;
use crate::maths::Mat3;
use bodies::{Body, Degree};
use document::Document;

pub(super) fn load(reference: &str, assets: &Assets, notes: &mut Notes) -> Result<RobotModel> {
    let mut document = Document::load(reference, assets, notes)?;
    let root = std::mem::replace(&mut document.root, Element::empty());
    unread::list(&root, notes);
    let bodies = bodies::read(&root, &mut document, notes)?;
    let (order, base_is_world, has_world) = arrange(&bodies);
    let mut model = RobotModel {
        name: root.get("model").unwrap_or("robot").to_owned(),
        links: Vec::new(),
        joints: Vec::new(),
        fixed_base: base_is_world || !bodies[order[0]].free,
        world_link: None,
        frames: Vec::new(),
        excluded_pairs: Vec::new(),
        skipped: Vec::new(),
        files: Vec::new(),
    };
    // Joints keep the file's order, which is that of the bodies.
    let mut first_joint = vec![0; bodies.len()];
    let mut joint_places = Vec::new();
    let mut references = Vec::new();
    for (i, body) in bodies.iter().enumerate() {
        first_joint[i] = model.joints.len();
        let (_, degrees) = folded(body);
        for degree in &degrees {
            model.joints.push(degree.joint.clone());
            joint_places.push(degree.element);
            references.push(degree.reference);
        }
    }
    let mut link_of = vec![usize::MAX; bodies.len()];
    for (link, &body) in order.iter().enumerate() {
        link_of[body] = link;
    }
    let mut link_places = Vec::new();
    for &i in &order {
        let body = &bodies[i];
        let (pose, degrees) = folded(body);
        if i == 0 {
            model.world_link = Some(model.links.len());
        }
        let parent = body.parent.filter(|&parent| has_world && !(parent == 0 && i == order[0])).map(|p| link_of[p]);
        let parent = parent.or(body.parent.filter(|&p| p != 0).map(|p| link_of[p]));
        model.links.push(Link {
            name: body.name.clone(),
            parent,
            parent_from_link: to_pose(pose),
            joints: (first_joint[i]..first_joint[i] + degrees.len()).collect(),
            mass_kg: body.inertia.mass as f32,
            centre_of_mass: body.inertia.centre.as_vec3(),
            inertia: if i == 0 { Mat3::ZERO } else { body.inertia.tensor_f32() },
            colliders: body.colliders.clone(),
            visuals: body.visuals.clone(),
        });
        link_places.push(body.element);
        for (name, local) in &body.sites {
            let local = to_pose(*local);
            model.frames.push(RobotFrame { name: name.clone(), link: model.links.len() - 1, local });
        }
    }
    let free_joints = bodies.iter().filter_map(|body| body.free_joint.clone()).collect();
    let written = relations::Written { references, free_joints };
    relations::read(&root, &document, &mut model, &written, notes);
    notes.refuse()?;
    let mut model = finish(model, &link_places, &joint_places, notes)?;
    model.skipped = notes.take_lines();
    model.files = document.files;
    Ok(model)
}

/// The order of the links as indices of bodies (0 is the world), whether the base is the world, and
/// whether the world is a link at all.
fn arrange(bodies: &[Body<'_>]) -> (Vec<usize>, bool, bool) {
    // Whether anything moves in the subtree of each body.
    let mut moves: Vec<bool> = bodies.iter().map(|body| body.free || !body.degrees.is_empty()).collect();
    for i in (1..bodies.len()).rev() {
        if moves[i]
            && let Some(parent) = bodies[i].parent
        {
            moves[parent] = true;
        }
    }
    let tops = || (1..bodies.len()).filter(|&i| bodies[i].parent == Some(0));
    let movers: Vec<usize> = tops().filter(|&i| moves[i]).collect();
    let candidates = if movers.is_empty() { tops().collect() } else { movers };
    let base = match candidates[..] {
        [only] if bodies[only].degrees.is_empty() => only,
        _ => return ((0..bodies.len()).collect(), true, true),
    };
    let top_of = |mut i: usize| {
        while let Some(parent) = bodies[i].parent.filter(|&parent| parent != 0) {
            i = parent;
        }
        i
    };
    let (mut order, rest): (Vec<usize>, Vec<usize>) = (1..bodies.len()).partition(|&i| top_of(i) == base);
    let has_world = !rest.is_empty() || !bodies[0].colliders.is_empty() || !bodies[0].visuals.is_empty();
    if has_world {
        order.push(0);
        order.extend(rest);
    }
    (order, false, has_world)
}

/// The pose and joints of a body with the joints' reference positions folded away.
///
/// MuJoCo moves a joint by `q − ref`. Written with `D_k = J_k(−ref_k)`, the body stands at
/// `P · Π J_k(q_k) D_k`. All `D_k` move to the front through the joints before them,
/// `J · D = D · (D⁻¹ J D)`, which only changes where those joints' axes are:
/// `P · Π D_k · Π J'_k(q_k)` with `J'_k` seen from the frame moved by `D_{k+1} … D_n`.
fn folded<'a>(body: &Body<'a>) -> (DPose3, Vec<Degree<'a>>) {
    let mut degrees = body.degrees.clone();
    let mut after = DPose3::IDENTITY;
    for degree in degrees.iter_mut().rev() {
        let (axis, anchor) = (degree.axis, degree.anchor);
        let moved = match degree.joint.motion {
            Motion::Prismatic => DPose3::from_translation(axis * -degree.reference),
            Motion::Revolute => {
                let turn = rotation(axis, -degree.reference);
                DPose3::from_parts(anchor - turn * anchor, turn)
            }
        };
        let back = after.inverse();
        degree.joint.axis = back.transform_vector(axis).as_vec3().normalize();
        degree.joint.anchor = back.transform_point(anchor).as_vec3();
        after = moved * after;
    }
    (body.pose * after, degrees)
}
