//! The checks that every robot passes whatever it was read from, and the lumping of welded links.

use super::inertia::Inertia;
use super::kinematics::to_double;
use super::xml::{Element, Notes};
use super::{Link, Mimic, RigidPart, RobotModel};
use crate::error::Result;
use crate::maths::{Mat3, Pose};

/// Mass given to a moving link that has neither mass nor shape (a chain of bare joints), kg.
const DUMMY_MASS_KG: f32 = 1.0e-3;
/// Radius of gyration of such a link, metres.
const DUMMY_GYRATION_M: f32 = 0.02;

/// Checks the model. `links` and `joints` say where each of them stands in the file.
pub(super) fn finish(
    mut model: RobotModel,
    links: &[&Element],
    joints: &[&Element],
    notes: &mut Notes,
) -> Result<RobotModel> {
    for (joint, place) in model.joints.iter().zip(joints) {
        let [low, high] = joint.limits;
        if low.is_nan() || high.is_nan() || low > high {
            notes.mistake(place.error(format!("its limits are inverted: {low} is above {high}")));
        }
        if joint.axis.length_squared() < 0.5 {
            notes.mistake(place.error("its axis has no length"));
        }
    }
    let resolved = resolve_mimics(&mut model, joints);
    notes.keep(resolved);
    for joint in &mut model.joints {
        joint.actuated &= joint.mimic.is_none();
    }
    for (link, place) in model.links.iter().zip(links) {
        let checked = check_mass(link, place, notes);
        notes.keep(checked);
    }
    notes.refuse()?;
    // What moves must weigh something, or no finite force could be told from an infinite one.
    for part in rigid_parts(&model) {
        let root = &model.links[part.root];
        let moves = !root.joints.is_empty() || (!model.fixed_base && part.root == 0);
        if !moves || part.mass_kg > 0.0 {
            continue;
        }
        let bare = part.members.iter().all(|&(i, _)| !says_zero_mass(links[i]));
        if !bare || root.joints.is_empty() {
            notes.mistake(links[part.root].error("it moves, but has no mass"));
            continue;
        }
        notes.at(
            links[part.root],
            format!("link `{}` moves but has neither mass nor shape: {DUMMY_MASS_KG} kg assumed", root.name),
        );
        let link = &mut model.links[part.root];
        link.mass_kg = DUMMY_MASS_KG;
        link.inertia =
            Mat3::from_diagonal(crate::maths::Vec3::splat(DUMMY_MASS_KG * DUMMY_GYRATION_M * DUMMY_GYRATION_M));
    }
    notes.refuse()?;
    Ok(model)
}

/// True if the element itself says `mass 0` (URDF `<inertial><mass value="0"/>`, MJCF `<inertial mass="0">`).
fn says_zero_mass(link: &Element) -> bool {
    link.child("inertial").is_some()
}

fn check_mass(link: &Link, place: &Element, notes: &mut Notes) -> Result<()> {
    if !(link.mass_kg.is_finite() && link.mass_kg >= 0.0) {
        return Err(place.error(format!("its mass is {} kg", link.mass_kg)));
    }
    if !link.inertia.is_finite() || !link.centre_of_mass.is_finite() {
        return Err(place.error("its inertia or centre of mass is not finite"));
    }
    let (moments, _) = super::inertia::eigen(link.inertia.as_dmat3());
    let largest = moments.z.max(0.0);
    // Single precision leaves a relative error of 1e-7 of the largest moment.
    if moments.x < -1.0e-6 * largest || (link.mass_kg > 0.0 && moments.x <= 0.0) {
        return Err(place.error(format!("its inertia is not positive: principal moments {moments}")));
    }
    if moments.x + moments.y < moments.z * (1.0 - 1.0e-3) {
        notes.at(place, format!("link `{}` has an inertia that no solid can have: {moments} kg·m² (kept)", link.name));
    }
    Ok(())
}

/// Makes every mimic follow a joint that leads itself.
fn resolve_mimics(model: &mut RobotModel, places: &[&Element]) -> Result<()> {
    for (i, place) in places.iter().enumerate() {
        let Some(mut mimic) = model.joints[i].mimic else { continue };
        let mut hops = 0;
        while let Some(next) = model.joints[mimic.joint].mimic {
            hops += 1;
            if hops > model.joints.len() || next.joint == i {
                return Err(place.error("its mimic follows itself through other joints"));
            }
            mimic = Mimic {
                joint: next.joint,
                multiplier: mimic.multiplier * next.multiplier,
                offset: mimic.multiplier * next.offset + mimic.offset,
            };
        }
        if mimic.joint == i {
            return Err(place.error("it mimics itself"));
        }
        model.joints[i].mimic = Some(mimic);
    }
    Ok(())
}

pub(super) fn rigid_parts(model: &RobotModel) -> Vec<RigidPart> {
    let mut parts: Vec<(RigidPart, Inertia)> = Vec::new();
    // Part of each link, and the link's pose in it.
    let mut place: Vec<(usize, Pose)> = Vec::with_capacity(model.links.len());
    for (i, link) in model.links.iter().enumerate() {
        let welded = link.parent.filter(|_| link.joints.is_empty());
        let (part, pose) = match welded {
            Some(parent) => {
                let (part, root_from_parent) = place[parent];
                (part, root_from_parent * link.parent_from_link)
            }
            None => {
                let part = RigidPart {
                    root: i,
                    members: Vec::new(),
                    mass_kg: 0.0,
                    centre_of_mass: crate::maths::Vec3::ZERO,
                    inertia: Mat3::ZERO,
                };
                parts.push((part, Inertia::ZERO));
                (parts.len() - 1, Pose::IDENTITY)
            }
        };
        place.push((part, pose));
        let own = Inertia {
            mass: f64::from(link.mass_kg),
            centre: link.centre_of_mass.as_dvec3(),
            tensor: link.inertia.as_dmat3(),
        };
        let (part, sum) = &mut parts[part];
        part.members.push((i, pose));
        *sum = if sum.mass == 0.0 { own.placed(to_double(pose)) } else { sum.plus(own.placed(to_double(pose))) };
    }
    parts
        .into_iter()
        .map(|(part, sum)| RigidPart {
            mass_kg: sum.mass as f32,
            centre_of_mass: sum.centre.as_vec3(),
            inertia: sum.tensor_f32(),
            ..part
        })
        .collect()
}
