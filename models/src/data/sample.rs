//! A world and an episode for tests.

use super::{Camera, Channel, Clip, GPixel, WorldSpec};

/// A world of 4 × 4 pixels with two actions and a parameter.
pub(crate) fn spec(frame_skip: usize) -> WorldSpec {
    let channel = |name: &str| Channel { name: name.to_owned(), mean: 0.0, std: 1.0 };
    WorldSpec {
        cameras: vec![Camera { name: "a".to_owned(), key: "a".to_owned(), width: 4, height: 4 }],
        width: 4,
        height: 4,
        fps: 30.0,
        frame_skip,
        action: vec![channel("x"), channel("y")],
        parameters: vec![channel("size")],
        reward: channel("reward"),
        source: "test".to_owned(),
    }
}

/// An episode in which no two frames are alike: one pixel in `still` is at rest at a time.
pub(crate) fn clip(frames: usize, still: u32) -> Clip {
    let hash = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u32;
    let flow = |i: usize| if hash(i).is_multiple_of(still) { [0, 0] } else { [90, 0] };
    Clip {
        episode: 3,
        frames,
        pictures: (0..frames * 48).map(|i| hash(i) as u8).collect(),
        action: (0..frames * 2).map(|i| i as f32).collect(),
        reward: (0..frames).map(|i| i as f32 * 0.5).collect(),
        done: (0..frames).map(|i| i + 1 == frames).collect(),
        parameters: vec![0.7],
        gbuffer: (0..frames * 16).map(|i| GPixel::of_flow((hash(i) % 3) as u16, flow(i))).collect(),
        flow: true,
        ..Clip::default()
    }
}
