//! The physical world: rapier3d behind the [`World`](crate::world::World) trait.
//!
//! A reset builds rapier's sets from a scene (`build`, `joints`, `robots`); a control step lets
//! the events happen (`effects`), hands the action to servos and forces (`actions`, `servo`), takes
//! `physics_rate / control_rate` physics steps (`step`) and reads the state back (`contacts`).
//! [`SceneRenderer`] draws bodies wherever they are, here or in a record.
//!
//! **Integration.** rapier's semi-implicit Euler with soft-constraint substeps (`solver_iterations` of
//! them in each physics step), in f32: positions have an error of first order in the step. Free bodies
//! turn with gyroscopic torque. Joints that form trees, and robots, are in reduced coordinates; the
//! rest are constraints.
//!
//! **What we set differently from rapier's defaults**, and why:
//! - nothing sleeps: a sleeping body's contact forces are those of the step in which it fell asleep;
//! - pairs are never recycled: their points and gaps would be stale by up to 5 cm;
//! - contact springs keep the stiffness they have per step at 60 Hz: a tower of six 0.2 m blocks at
//!   250 Hz sinks 0.5 mm instead of 9 mm;
//! - a pair's friction is the geometric mean, its restitution the larger;
//! - the damping of 0.1 N·m·s/rad that rapier gives every rotation of a multibody is taken away.
//!
//! **rapier's limits that remain** (each seen in a test or in its source):
//! - One friction force per manifold between free bodies: its distribution over the points is ours
//!   (`contacts`), and friction during an impact is that of the last substep. rapier's per-point model
//!   was measured 13 % short of µ·m·g for a wide sliding box. Contacts of multibodies use the per-point
//!   model, without the coupling between tangents.
//! - A bounce happens at a step, not between two: the apex is off by up to v·dt.
//! - A multibody's free root is integrated about its origin with the velocity of its centre of mass,
//!   which is right only if they coincide. A robot's base gets its origin there; a scene joint whose
//!   parent is a free body with its centre of mass elsewhere becomes a constraint; a subtree that an
//!   event breaks off a robot keeps the error.
//! - Impulses of reduced joints are not written back: efforts are the servo's law at the states
//!   before and after the step (`servo`), wrenches a momentum balance (`watch`).
//! - A multibody misses all forces in the first solver substep after a reset (a quarter of the first
//!   physics step at 4 iterations); the effort recorded for that step is too large by as much.
//! - Body speeds are capped at 400 m/s, overlap is pushed out at 3 m/s at most.
//! - Loops in a robot (an MJCF `connect` or `weld`) cannot be closed in reduced coordinates.
//! - Continuous collision detection is off: what moves further than its own thickness in a physics step
//!   passes through thin things (0.1 m at 25 m/s and 250 Hz). Raise `physics_rate` for fast, thin bodies.
//! - Rolling and torsional friction of a single point do not exist: a ball on a plane spins on.

mod actions;
pub(crate) mod anatomy;
mod batch;
mod build;
pub mod camera;
mod contacts;
mod controllers;
mod drawing;
mod effects;
pub mod geometry;
mod hooks;
mod joints;
mod robots;
mod servo;
pub mod settle;
mod shapes;
mod sight;
mod sim;
mod snapshot;
mod step;
pub(crate) mod tamper;
mod watch;
mod world;

pub use batch::WorldBatch;
pub use drawing::{SceneRenderer, Shot};
pub use settle::settle;
pub use watch::{BodyInertia, Link, Substep, Wrench};
pub use world::PhysicsWorld;
