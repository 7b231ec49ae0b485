//! The physical world: rapier3d behind the [`World`](crate::world::World) trait.

mod actions;
mod batch;
mod build;
pub mod camera;
mod contacts;
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
mod watch;
mod world;

pub use batch::WorldBatch;
pub use settle::settle;
pub use watch::{BodyInertia, Link, Substep, Wrench};
pub use world::PhysicsWorld;
