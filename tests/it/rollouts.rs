//! How episodes end: what is not finite ends them, by name, and every end shows in the last frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::frame::{EpisodeEnd, Frame, Outcome};
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::policy::{Policy, PolicyInput};
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::state::Catalog;
use worldloom_engine::stream::Stream;
use worldloom_engine::world::World;

/// Control steps of the scene below.
const STEPS: u64 = 8;

/// A ball under gravity, pushed by the action, at 20 control steps a second; `more` replaces or adds fields.
fn scene(more: Value) -> Arc<Scene> {
    let mut scene = json!({
        "worldloom": 1,
        "name": "ball",
        "engine": {"physics_rate": 100, "control_rate": 20, "duration": STEPS as f64 / 20.0,
                   "gravity": [0.0, 0.0, -9.81], "solver_iterations": 4},
        "objects": {"ball": {"sphere": 0.1, "at": [0.0, 0.0, 1.0], "mass": 1.0}},
        "action": ["force(ball)"],
        "observation": ["pos(ball)"],
    });
    let (Value::Object(fields), Value::Object(more)) = (&mut scene, more) else { panic!("two maps") };
    fields.extend(more);
    Arc::new(serde_json::from_value(scene).expect("a valid scene"))
}

/// Pushes with `value` along y at one step, and not at all at the others.
struct Once {
    at: u64,
    value: f32,
}

impl Policy for Once {
    fn reset(&mut self, _: &Scene, _: &Catalog, _: Stream) -> worldloom_engine::Result<()> {
        Ok(())
    }

    fn act(&mut self, input: &PolicyInput<'_>, action: &mut [f32]) -> worldloom_engine::Result<()> {
        action.fill(0.0);
        if input.state.step == self.at {
            action[1] = self.value;
        }
        Ok(())
    }
}

fn roll(scene: &Arc<Scene>, policy: &mut dyn Policy) -> (Vec<Frame>, EpisodeEnd) {
    let mut world = PhysicsWorld::new(Arc::new(Assets::new(BTreeMap::new(), Vec::new())));
    world.reset(scene).expect("the scene builds");
    let mut rollout = Rollout::new(&mut world, policy, Channels::ALL).expect("the first instant");
    let mut frames = Vec::new();
    while let Some(frame) = rollout.next_frame().expect("an end is no error") {
        assert!(rollout.end().is_none_or(|end| end.frames == frames.len() as u64 + 1), "an end before the last frame");
        frames.push(frame);
    }
    let end = rollout.end().expect("an end");
    assert_eq!(end.frames, frames.len() as u64);
    (frames, end)
}

/// Only the last of the frames may say that the episode is over, and it must.
#[track_caller]
fn assert_only_the_last_is_done(frames: &[Frame]) {
    let done: Vec<usize> = (0..frames.len()).filter(|&i| frames[i].terminated || frames[i].truncated).collect();
    assert_eq!(done, [frames.len() - 1], "frames that say that the episode is over");
}

#[track_caller]
fn assert_diverged(end: &EpisodeEnd, physics_step: u64, words: &[&str]) {
    let Outcome::Diverged { step, what } = &end.outcome else { panic!("expected diverged, found {:?}", end.outcome) };
    assert_eq!(*step, physics_step, "{what}");
    for word in words {
        assert!(what.contains(word), "expected `{word}` in `{what}`");
    }
}

#[test]
fn an_action_that_is_not_finite_ends_the_episode_and_names_the_channel() {
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let (frames, end) = roll(&scene(json!({})), &mut Once { at: 3, value });
        // Five physics steps in a control step.
        assert_diverged(&end, 15, &["action", "force(ball)", "y", word]);
        assert_eq!(frames.len(), 3, "the frames before the bad action are kept");
        assert_only_the_last_is_done(&frames);
        assert!(frames[2].terminated && !frames[2].truncated, "a divergence terminates");
    }
    // Negative control: a finite one does not.
    let (frames, end) = roll(&scene(json!({})), &mut Once { at: 3, value: 2.0 });
    assert_eq!((frames.len() as u64, end.outcome), (STEPS, Outcome::Truncated));
    assert_only_the_last_is_done(&frames);
    assert!(frames[7].truncated && !frames[7].terminated, "the duration truncates");
    assert_eq!(frames[3].action, [0.0, 2.0, 0.0]);
}

#[test]
fn a_world_refuses_an_action_that_is_not_finite() {
    let mut world = PhysicsWorld::new(Arc::new(Assets::new(BTreeMap::new(), Vec::new())));
    world.reset(&scene(json!({}))).expect("the scene builds");
    assert!(world.step(&[0.0; 3]).is_ok());
    let before = world.state().clone();
    let error = world.step(&[0.0, 0.0, f32::NAN]).expect_err("NaN is no force");
    assert!(error.to_string().contains("action") && error.to_string().contains("NaN"), "{error}");
    assert_eq!(*world.state(), before, "a refused action leaves the state as it was");
}

#[test]
fn a_reward_or_observation_that_is_not_finite_ends_the_episode() {
    let still = || Once { at: u64::MAX, value: 0.0 };
    // Infinite at the second control step, after ten physics steps.
    for (field, value) in [("reward", json!("1 / (t - 0.1)")), ("observation", json!(["pos(ball)", "1 / (t - 0.1)"]))] {
        let (frames, end) = roll(&scene(json!({field: value})), &mut still());
        assert_diverged(&end, 10, &[field, "inf"]);
        assert_eq!(frames.len(), 1, "{field}");
        assert_only_the_last_is_done(&frames);
    }
    let (frames, end) = roll(&scene(json!({"observation": ["1 / t"]})), &mut still());
    assert_diverged(&end, 0, &["observation", "inf"]);
    assert!(frames.is_empty(), "the first observation is not finite, so there is no frame");
}

#[test]
fn a_frame_carries_the_events_that_fire_at_its_instant() {
    let events = json!([
        {"name": "kick", "at": 0.1, "do": {"apply_impulse": {"to": "ball", "value": [0.0, 1.0, 0.0]}}},
        {"every": 0.15, "do": {"apply_impulse": {"to": "ball", "value": [0.0, 0.0, 0.1]}}},
    ]);
    let (frames, _) = roll(&scene(json!({"events": events})), &mut Once { at: u64::MAX, value: 0.0 });
    let fired: Vec<(usize, &str, f64)> = frames
        .iter()
        .enumerate()
        .flat_map(|(i, frame)| frame.events.iter().map(move |event| (i, event.name.as_str(), event.time_secs)))
        .collect();
    let expected = [(2, "kick", 2.0 / 20.0), (3, "event1", 3.0 / 20.0), (6, "event1", 6.0 / 20.0)];
    assert_eq!(fired, expected, "frame, name and time of each event");
}
