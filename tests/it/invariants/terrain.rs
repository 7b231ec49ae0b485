//! Heightfields: rows run along y and columns along x, and what is drawn is what is touched.

use serde_json::{Value, json};

use crate::rig::{advance, assert_near, body, camera, index, picture, scene, start, steps};
use worldloom_engine::world::World;

/// A terrain of 4 m (x) by 3 m (y) with heights from a function.
fn terrain(height: impl Fn(f64, f64) -> f64) -> Value {
    let (rows, columns) = (7, 9);
    let place = |i: usize, n: usize, size: f64| size * (i as f64 / (n - 1) as f64 - 0.5);
    let heights: Vec<Vec<f64>> = (0..rows)
        .map(|row| (0..columns).map(|column| height(place(column, columns, 4.0), place(row, rows, 3.0))).collect())
        .collect();
    json!({"heightfield": {"size": [4.0, 3.0], "heights": heights}, "at": [0.0, 0.0, 0.0], "friction": 1.0})
}

#[test]
fn a_ball_rolls_down_a_heightfield_along_its_slope() {
    for slope in [[0.2, 0.0], [-0.2, 0.0], [0.0, 0.2], [0.0, -0.2]] {
        let [sx, sy]: [f64; 2] = slope;
        let ball = json!({"sphere": 0.1, "at": [0.0, 0.0, 0.1 * (1.0f64 + 0.04).sqrt()], "friction": 1.0});
        let mut world =
            start(&scene(9.81, json!({"objects": {"ground": terrain(|x, y| sx * x + sy * y), "ball": ball}})));
        let secs = 0.8;
        advance(&mut world, secs);
        let at = body(&world, "ball").pose.translation;
        // A rolling ball has 5/7 of the acceleration of a sliding one; across, by the cosine.
        let angle = 0.2f64.atan();
        let run = 0.5 * 5.0 / 7.0 * 9.81 * angle.sin() * angle.cos() * secs * secs;
        let downhill = -f64::from(at.x) * sx.signum() * f64::from(u8::from(sx != 0.0))
            - f64::from(at.y) * sy.signum() * f64::from(u8::from(sy != 0.0));
        let across = if sx == 0.0 { at.x } else { at.y };
        // The ball touches in a facet at a time and starts within a hair of the surface: 5 %.
        assert_near(&format!("way down the slope {slope:?}"), run, downhill, 0.05 * run);
        assert_near(&format!("way across the slope {slope:?}"), 0.0, f64::from(across), 0.01);
    }
}

/// Contact points lie within the solver's overlap of the surface, and half a pixel of 8 mm at a
/// slope of up to 1 is 4 mm.
const SURFACE_M: f64 = 0.008;

/// Largest distance in depth between the drawn `shown` and the points at which balls touch `touched`, m.
fn gap(shown: Value, touched: Value) -> f64 {
    let side = 512;
    let mut seen = start(&scene(
        9.81,
        json!({"objects": {"ground": shown}, "cameras": {"top": camera([0.3, -0.2, 5.0], [0.2, 0.1, 0.0], [side, side], 0.7)}}),
    ));
    let (view, pixels) = (seen.view(0), picture(&mut seen, 0));
    let mut objects = json!({"ground": touched});
    for i in 0..20 {
        let at = [f64::from(i % 5) * 0.6 - 1.2, f64::from(i / 5) * 0.6 - 0.9, 0.8];
        objects[format!("ball{i:02}")] = json!({"sphere": 0.06, "at": at, "restitution": 0.3});
    }
    let mut world = start(&scene(9.81, json!({"objects": objects})));
    let ground = index(&world, "ground") as u32;
    let (mut worst, mut touches) = (0.0f64, 0);
    for _ in 0..40 {
        steps(&mut world, 1);
        for contact in world.state().contacts.iter().filter(|c| [c.a, c.b].contains(&ground)) {
            let [x, y] = [contact.point.x, contact.point.y];
            let in_camera = view.world_from_camera.inverse() * contact.point;
            let Some((u, v, depth)) = view.project(in_camera) else { continue };
            if x.abs() > 1.9 || y.abs() > 1.4 || u < 0.0 || v < 0.0 || u >= side as f32 || v >= side as f32 {
                continue;
            }
            let drawn = pixels.depth_m[v as usize * side as usize + u as usize];
            worst = worst.max(f64::from((drawn - depth).abs()));
            touches += 1;
        }
    }
    assert!(touches > 40, "expected many touches, found {touches}");
    worst
}

#[test]
fn the_drawn_heightfield_is_the_touched_one() {
    let bumps = |x: f64, y: f64| 0.25 * (1.7 * x + 0.6).sin() * (1.1 * y - 0.4).cos() + 0.05 * x - 0.1 * y;
    let worst = gap(terrain(bumps), terrain(bumps));
    assert!(worst < SURFACE_M, "expected drawn and touched within {SURFACE_M} m, found {worst} m");
    // Negative controls: the same terrain mirrored either way, or transposed, is another one.
    type Other<'a> = (&'a str, &'a dyn Fn(f64, f64) -> f64);
    let others: [Other<'_>; 2] = [("x", &|x, y| bumps(-x, y)), ("y", &|x, y| bumps(x, -y))];
    for (axis, other) in others {
        let worst = gap(terrain(bumps), terrain(other));
        assert!(worst > 5.0 * SURFACE_M, "mirrored along {axis}: expected a difference, found {worst} m");
    }
}
