//! The physical world: rapier3d behind the [`World`](crate::world::World) trait.
