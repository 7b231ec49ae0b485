//! Arms in physics. How often the experts succeed is measured with the library's robots in the end-to-end tests.

use super::*;

const ARM: &str = include_str!("arm.urdf");

/// The arm at the origin of a table's top at z = 0, hand down, over the point (0.45, 0).
fn table(object: &str, at: [f64; 2], driver: &str, success: &str, duration: f64) -> Arc<Scene> {
    let home = r#"{"lift": 0.1, "elbow": 1.9, "bend": 1.14}"#;
    scene(
        25,
        duration,
        &format!(
            r#""objects": {{"floor": {{"plane": 5, "at": [0, 0, 0], "fixed": true, "friction": 0.5}},
              "item": {{{object}, "at": [{}, {}, 0.03], "mass": 0.2, "friction": 0.6}}}},
            "robots": {{"arm": {{"urdf": "arm.urdf", "at": [0, 0, 0], "friction": 1.0, "home": {home},
              "controllers": [{{"joints": ["pan", "lift", "elbow", "roll", "bend", "spin"]}}, {{"joints": ["grip"]}}],
              "driver": {driver}}}}},
            "action": ["arm.controllers"], "observation": ["joint(arm)", "pos(item)"], "success": "{success}""#,
            at[0], at[1]
        ),
    )
}

#[test]
fn waypoints_in_space_are_reached() {
    let points = [[0.4, 0.2, 0.3], [0.5, -0.2, 0.2]];
    let driver = r#"{"waypoints": {"points": [[0.4, 0.2, 0.3], [0.5, -0.2, 0.2]], "each": 1.5}}"#;
    let scene = table(r#""box": [0.05, 0.05, 0.06]"#, [0.6, 0.5], driver, "true", 3.5);
    let files = assets(&[("arm.urdf", ARM)]);
    let (states, ..) = episode(&scene, &files, 0).unwrap_or_else(|error| panic!("{error}"));
    let mut world = PhysicsWorld::new(files);
    world.reset(&scene).unwrap_or_else(|error| panic!("{error}"));
    let tip = world.catalog().frame("arm.tip").map(|index| world.catalog().frames[index].clone());
    let tip = tip.unwrap_or_else(|| panic!("there is no arm.tip"));
    // The servo lags by a few millimetres while it moves; each leg ends at rest.
    const LAG_M: f64 = 0.005;
    for (step, point) in [(40, points[0]), (87, points[1])] {
        let at = states[step].frame_pose(&tip).translation.to_array();
        let off = at.iter().zip(point).map(|(a, p)| (f64::from(*a) - p).powi(2)).sum::<f64>().sqrt();
        assert!(off < LAG_M, "expected {point:?}, found {at:?}");
    }
}
