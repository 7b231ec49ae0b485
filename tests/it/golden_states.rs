//! Digests of states as constants: the same in every build profile, on every machine, in every version
//! that does not mean to change them. A change of physics or events shows here first.

use worldloom_engine::digest::Digest;
use worldloom_engine::frame::Frame;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::world::World;

use crate::determinism::{assets, busy_scene};

/// Contacts, stacks, joints, a robot, a motor, and events that push, spawn, break and fail, over 3 s.
const BUSY: &str = "6638baaa01ada0ea556bd7e0a2c605f611776ac2d7899efa0c7c5a43ba64a860";

fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A zigzag in exact arithmetic, since sines differ between machines.
fn exact_action(dim: usize, step: usize) -> Vec<f32> {
    (0..dim).map(|i| ((step * (i + 3)) % 33) as f32 / 16.0 - 1.0).collect()
}

fn busy(offset: f64) -> String {
    let mut world = PhysicsWorld::new(assets());
    world.reset(&busy_scene(offset)).expect("the scene builds");
    let mut digest = Digest::default();
    for step in 0..150 {
        let action = exact_action(world.catalog().action.dim(), step);
        let done = world.step(&action).expect("a step");
        let frame = Frame {
            state: world.state().clone(),
            observation: world.observation().to_vec(),
            action,
            reward: done.reward,
            ..Frame::default()
        };
        assert!(!frame.state.contacts.is_empty() || step < 20, "step {step} has no contact");
        digest.add_frame(&frame);
    }
    assert!(world.fired().len() >= 4, "only {} events fired", world.fired().len());
    hex(digest.value())
}

#[test]
fn states_of_a_busy_scene_have_the_committed_digest() {
    assert_eq!(busy(0.0), BUSY, "expected the right one");
    // Negative control: a hundredth of a millimetre shows.
    assert_ne!(busy(1e-5), BUSY, "another start gives the same digest");
}
