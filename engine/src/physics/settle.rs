//! Letting a scene come to rest before it starts.
//!
//! Free objects that start without a velocity fall under gravity while everything else (robots,
//! what joints hold, what is meant to move) stands still. What they come to is the scene's new
//! placement, unless one of them was misplaced. Robots are part of the world at home for that long.

use std::sync::Arc;

use rapier3d::prelude::{RigidBodyHandle, RigidBodyType};

use super::build::{Built, build};
use super::contacts;
use super::sim::Site;
use super::step::Scratch;
use crate::assets::Assets;
use crate::error::Result;
use crate::maths::{Vec3, acos};
use crate::scene::Scene;
use crate::state::{Contact, State};

/// A body counts as at rest below this speed, m/s: it moves less than 0.1 mm in a 100 Hz step.
pub const REST_SPEED: f32 = 0.01;
/// The same for its rate, rad/s.
pub const REST_RATE: f32 = 0.1;
/// Seconds for which everything must stay at rest.
pub const REST_SECS: f64 = 0.1;
/// A body has tipped when its z axis has turned by more than this, rad (20°).
pub const TIP_RAD: f64 = 0.349;
/// Overlap that counts as interpenetration, metres. rapier's own resting overlap is far below.
pub const OVERLAP_M: f32 = 0.002;

/// How a settling ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// Everything rests: the scene with its new poses.
    AtRest(Box<Scene>),
    /// A body was misplaced.
    Failed(Unsettled),
}

/// Why a scene did not settle. Names are bodies.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsettled {
    /// Two bodies overlap.
    #[error("`{a}` and `{b}` interpenetrate by {depth_m} m")]
    Interpenetrates {
        /// One.
        a: String,
        /// The other.
        b: String,
        /// How deep, metres.
        depth_m: f32,
    },
    /// A body fell over.
    #[error("`{body}` tips by {angle_rad} rad")]
    Tips {
        /// Which.
        body: String,
        /// Turn of its z axis, rad.
        angle_rad: f64,
    },
    /// A body went further than its own size, or below everything that is fixed.
    #[error("`{body}` leaves its place by {distance_m} m")]
    Leaves {
        /// Which.
        body: String,
        /// Distance, metres.
        distance_m: f32,
    },
    /// A body still moves when time is up.
    #[error("`{body}` still moves at {speed} m/s after {secs} s")]
    Moves {
        /// Which.
        body: String,
        /// m/s.
        speed: f32,
        /// Seconds it was given.
        secs: f64,
    },
}

/// Lets the free objects of a scene come to rest for at most `max_secs` seconds.
///
/// # Errors
/// A scene that cannot be built, or that diverges. A misplaced body is not an error but
/// [`Settled::Failed`], so that a sampler can count it and draw again.
pub fn settle(scene: &Scene, assets: &Arc<Assets>, max_secs: f64) -> Result<Settled> {
    let still = hold_still(scene);
    let mut built = build(&still, assets)?;
    bolt_robots(&mut built);
    let free: Vec<usize> = (0..scene.objects.len()).filter(|&body| is_free(&built, body)).collect();
    if free.is_empty() {
        return Ok(Settled::AtRest(Box::new(scene.clone())));
    }
    let (mut scratch, mut start) = (Scratch::default(), State::default());
    // On a copy: rapier's collision pipeline takes new bodies off the list of those to simulate.
    let mut look = build(&still, assets)?;
    bolt_robots(&mut look);
    look.sim.rapier.detect_collisions(&look.hooks, &());
    look.sim.read(&scratch, &mut start);
    if let Some(overlap) = deepest_overlap(&look, &start.contacts) {
        return Ok(Settled::Failed(overlap));
    }
    let rate = f64::from(scene.engine.physics_rate);
    let steps = libm::ceil(max_secs.max(0.0) * rate) as u64;
    let needed = libm::ceil(REST_SECS * rate) as u64;
    let mut rested = 0;
    for _ in 0..steps {
        built.sim.advance(&built.hooks, &built.catalog, &mut scratch)?;
        rested = if free.iter().all(|&body| speed_of(&built, body).is_none()) { rested + 1 } else { 0 };
        if rested >= needed {
            break;
        }
    }
    let mut end = State::default();
    built.sim.read(&scratch, &mut end);
    Ok(match verdict(&built, &free, &start, &end, (rested < needed).then_some(max_secs)) {
        Some(failure) => Settled::Failed(failure),
        None => Settled::AtRest(Box::new(placed(scene, &free, &end))),
    })
}

/// The scene with everything fixed that is not to settle, without what only matters once it runs.
fn hold_still(scene: &Scene) -> Scene {
    let mut still = scene.clone();
    let held: Vec<&String> = scene.joints.values().flat_map(|j| std::iter::once(&j.child).chain(&j.parent)).collect();
    for (name, object) in &mut still.objects {
        let moving = object.velocity != [0.0; 3] || object.angular_velocity != [0.0; 3];
        if object.kinematic || moving || held.contains(&name) {
            object.fixed = true;
            object.kinematic = false;
        }
        object.surface_velocity = None;
    }
    still.joints.clear();
    still.events.clear();
    still.action.clear();
    still
}

/// Makes every link of every robot part of the world, in its pose at home.
fn bolt_robots(built: &mut Built) {
    let sim = &mut built.sim;
    let links = sim.robots.iter().flat_map(|robot| robot.links.0..robot.links.0 + robot.links.1);
    let mut handles: Vec<RigidBodyHandle> = links.map(|body| sim.bodies[body].handle).collect();
    // The massless bodies between the joints of one link are no bodies of the catalog.
    handles.extend(sim.dofs.iter().filter_map(|dof| match dof.site {
        Site::Reduced(joint) => Some(RigidBodyHandle(joint.0)),
        Site::Constraint(_) => None,
    }));
    for handle in handles {
        sim.rapier.multibody_joints.remove_multibody_articulations(handle, true);
        if let Some(rigid) = sim.rapier.bodies.get_mut(handle) {
            rigid.set_body_type(RigidBodyType::Fixed, true);
        }
    }
}

fn is_free(built: &Built, body: usize) -> bool {
    built.sim.rapier.bodies.get(built.sim.bodies[body].handle).is_some_and(|rigid| rigid.is_dynamic())
}

/// Speed of a body that is not at rest.
fn speed_of(built: &Built, body: usize) -> Option<f32> {
    let rigid = built.sim.rapier.bodies.get(built.sim.bodies[body].handle)?;
    let speed = rigid.linvel().length();
    (speed > REST_SPEED || rigid.angvel().length() > REST_RATE).then_some(speed)
}

fn deepest_overlap(built: &Built, contacts: &[Contact]) -> Option<Unsettled> {
    let both_still = |c: &Contact| !is_free(built, c.a as usize) && !is_free(built, c.b as usize);
    let touching = contacts.iter().filter(|c| !both_still(c) && c.depth_m > OVERLAP_M);
    let deepest = touching.max_by(|x, y| x.depth_m.total_cmp(&y.depth_m))?;
    let name = |body: u32| built.catalog.bodies[body as usize].name.clone();
    Some(Unsettled::Interpenetrates { a: name(deepest.a), b: name(deepest.b), depth_m: deepest.depth_m })
}

fn verdict(built: &Built, free: &[usize], start: &State, end: &State, late: Option<f64>) -> Option<Unsettled> {
    let lowest = lowest_fixed(built);
    for &body in free {
        let info = &built.catalog.bodies[body];
        let (from, to) = (start.bodies[body].pose, end.bodies[body].pose);
        let moved = to.translation - from.translation;
        let aside = Vec3::new(moved.x, moved.y, 0.0).length();
        if aside > 2.0 * info.bounds.1.length() || to.translation.z < lowest {
            return Some(Unsettled::Leaves { body: info.name.clone(), distance_m: moved.length() });
        }
    }
    if let Some(secs) = late
        && let Some((body, speed)) = free.iter().find_map(|&body| speed_of(built, body).map(|speed| (body, speed)))
    {
        return Some(Unsettled::Moves { body: built.catalog.bodies[body].name.clone(), speed, secs });
    }
    for &body in free {
        let handle = built.sim.bodies[body].handle;
        let round = built.sim.rapier.bodies[handle]
            .colliders()
            .iter()
            .all(|&collider| built.sim.rapier.colliders.get(collider).is_some_and(|c| c.shape().as_ball().is_some()));
        let cosine = (start.bodies[body].pose.rotation * Vec3::Z).dot(end.bodies[body].pose.rotation * Vec3::Z);
        let angle_rad = acos(f64::from(cosine));
        if !round && angle_rad > TIP_RAD {
            return Some(Unsettled::Tips { body: built.catalog.bodies[body].name.clone(), angle_rad });
        }
    }
    let mut touching = Vec::new();
    contacts::collect(&built.sim.rapier, &mut touching);
    deepest_overlap(built, &touching)
}

/// Lowest point of what is fixed, metres; −∞ if nothing is.
fn lowest_fixed(built: &Built) -> f32 {
    let mut lowest = f32::INFINITY;
    for (body, info) in built.sim.bodies.iter().zip(&built.catalog.bodies) {
        if info.fixed
            && let Some(rigid) = built.sim.rapier.bodies.get(body.handle)
        {
            for (_, collider) in rigid.colliders().iter().filter_map(|&c| Some((c, built.sim.rapier.colliders.get(c)?)))
            {
                let low = if collider.shape().as_halfspace().is_some() {
                    collider.position().translation.z
                } else {
                    collider.compute_aabb().mins.z
                };
                lowest = lowest.min(low);
            }
        }
    }
    if lowest.is_finite() { lowest } else { f32::NEG_INFINITY }
}

fn placed(scene: &Scene, free: &[usize], end: &State) -> Scene {
    let mut out = scene.clone();
    for &body in free {
        if let Some((_, object)) = out.objects.get_index_mut(body) {
            let pose = end.bodies[body].pose;
            object.at = pose.translation.to_array().map(f64::from);
            object.rotation = pose.rotation.to_array().map(f64::from);
        }
    }
    out
}
