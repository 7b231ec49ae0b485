//! Mechanics against theory, each with a negative control: the same measurement on a world where
//! the law must fail, so that no test here passes on a world that stands still.

use std::sync::Arc;

use serde_json::{Value, json};
use worldloom_engine::assets::Assets;
use worldloom_engine::maths::Vec3;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::scene::Scene;
use worldloom_engine::state::BodyState;
use worldloom_engine::world::World;

/// m/s².
const G: f64 = 9.81;
/// Control steps a second in every test.
const CONTROL_RATE: f64 = 50.0;

/// A scene of these objects and joints at 250 physics steps a second.
fn scene(objects: Value, joints: Value) -> Value {
    json!({
        "worldloom": 1,
        "name": "law",
        "engine": {"physics_rate": 250, "control_rate": 50, "duration": 100.0,
                   "gravity": [0.0, 0.0, -G], "solver_iterations": 4},
        "objects": objects,
        "joints": joints,
    })
}

fn weightless(objects: Value, joints: Value) -> Value {
    let mut scene = scene(objects, joints);
    scene["engine"]["gravity"] = json!([0.0, 0.0, 0.0]);
    scene
}

fn start(scene: Value) -> PhysicsWorld {
    let scene: Scene = serde_json::from_value(scene).expect("a valid scene");
    let mut world = PhysicsWorld::new(Arc::new(Assets::default()));
    world.reset(&Arc::new(scene)).expect("the scene builds");
    world
}

fn advance(world: &mut PhysicsWorld, secs: f64) {
    for _ in 0..(secs * CONTROL_RATE).round() as usize {
        let action = vec![0.0; world.catalog().action.dim()];
        world.step(&action).expect("the state stays finite");
    }
}

fn body<'a>(world: &'a PhysicsWorld, name: &str) -> &'a BodyState {
    &world.state().bodies[world.catalog().body(name).expect("a body of the scene")]
}

fn joint(world: &PhysicsWorld, name: &str) -> f64 {
    f64::from(world.state().joints[world.catalog().joint(name).expect("a joint of the scene")].position)
}

/// Sum of the normal and of the friction forces that act on a body, N.
fn forces_on(world: &PhysicsWorld, name: &str) -> (Vec3, Vec3) {
    let index = world.catalog().body(name).expect("a body of the scene") as u32;
    let (mut normal, mut friction) = (Vec3::ZERO, Vec3::ZERO);
    for contact in &world.state().contacts {
        let sign = if contact.b == index { 1.0 } else { -1.0 };
        if contact.a == index || contact.b == index {
            normal += contact.normal * contact.normal_force_n * sign;
            friction += contact.friction_force_n * sign;
        }
    }
    (normal, friction)
}

#[track_caller]
fn assert_near(what: &str, expected: f64, measured: f64, tolerance: f64) {
    assert!((measured - expected).abs() <= tolerance, "{what}: expected {expected} ± {tolerance}, measured {measured}");
}

/// Contact forces are the solver's impulses over dt: at rest they balance the weight to f32's
/// precision over four points and the last residual of the solver.
const FORCE_TOLERANCE: f64 = 0.005;

#[test]
fn a_resting_box_is_held_by_its_weight_and_a_falling_one_by_nothing() {
    let mut world = start(scene(
        json!({
            "floor": {"plane": 5.0, "at": [0.0, 0.0, 0.0], "fixed": true},
            "resting": {"box": [0.4, 0.4, 0.4], "at": [0.0, 0.0, 0.2], "mass": 3.0},
            "falling": {"box": [0.4, 0.4, 0.4], "at": [2.0, 0.0, 50.0], "mass": 3.0},
        }),
        json!({}),
    ));
    advance(&mut world, 2.0);
    let weight = 3.0 * G;
    let (normal, friction) = forces_on(&world, "resting");
    assert_near("normal force", weight, f64::from(normal.z), FORCE_TOLERANCE * weight);
    assert_near("friction at rest", 0.0, f64::from(friction.length()), FORCE_TOLERANCE * weight);
    assert_near("force in free fall", 0.0, f64::from(forces_on(&world, "falling").0.length()), 0.0);
}

/// Semi-implicit steps of 4 ms at 2 m/s, and the box pitches a little as friction sets in.
const SLIDE_TOLERANCE: f64 = 0.01;

#[test]
fn a_sliding_box_feels_mu_m_g_and_stops_after_v2_over_2_mu_g() {
    let (mu, v, mass) = (0.3, 2.0, 2.0);
    let slide = |friction: f64| {
        let mut world = start(scene(
            json!({
                "floor": {"plane": 50.0, "at": [0.0, 0.0, 0.0], "fixed": true, "friction": friction},
                "box": {"box": [0.6, 0.6, 0.1], "at": [0.0, 0.0, 0.05], "mass": mass, "friction": friction,
                        "velocity": [v, 0.0, 0.0]},
            }),
            json!({}),
        ));
        advance(&mut world, 0.2);
        let friction_force = f64::from(forces_on(&world, "box").1.x);
        advance(&mut world, 2.8);
        (friction_force, f64::from(body(&world, "box").pose.translation.x))
    };
    let (force, distance) = slide(mu);
    assert_near("friction force while sliding", -mu * mass * G, force, SLIDE_TOLERANCE * mu * mass * G);
    let expected = v * v / (2.0 * mu * G);
    assert_near("sliding distance", expected, distance, SLIDE_TOLERANCE * expected);
    let (force, distance) = slide(0.0);
    assert_near("friction force on ice", 0.0, force, 1.0e-6);
    assert_near("distance on ice", v * 3.0, distance, 1.0e-3);
}

#[test]
fn friction_of_a_pair_is_the_geometric_mean_and_restitution_the_larger() {
    let mut world = start(scene(
        json!({
            "floor": {"plane": 50.0, "at": [0.0, 0.0, 0.0], "fixed": true, "friction": 0.9},
            "box": {"box": [0.6, 0.6, 0.1], "at": [0.0, 0.0, 0.05], "mass": 1.0, "friction": 0.1,
                    "velocity": [2.0, 0.0, 0.0]},
        }),
        json!({}),
    ));
    advance(&mut world, 0.2);
    let expected = -(0.9f64 * 0.1).sqrt() * G;
    let arithmetic = -0.5 * G;
    let measured = f64::from(forces_on(&world, "box").1.x);
    assert_near("friction", expected, measured, SLIDE_TOLERANCE * expected.abs());
    assert!((measured - arithmetic).abs() > 0.3 * arithmetic.abs(), "control: {measured} is the arithmetic mean's");
    assert_near("e = 0.8 on e = 0", 0.64, bounce_ratio(0.8), 0.02);
}

/// Ratio of the first apex to the drop height of a ball with restitution `e` on a floor without any.
fn bounce_ratio(e: f64) -> f64 {
    let (radius, height) = (0.1, 1.0);
    let mut world = start(scene(
        json!({
            "floor": {"plane": 5.0, "at": [0.0, 0.0, 0.0], "fixed": true},
            "ball": {"sphere": radius, "at": [0.0, 0.0, radius + height], "restitution": e, "friction": 0.0},
        }),
        json!({}),
    ));
    advance(&mut world, 0.46);
    let mut apex: f64 = 0.0;
    for _ in 0..((0.95 * CONTROL_RATE) as usize) {
        advance(&mut world, 1.0 / CONTROL_RATE);
        let now = body(&world, "ball");
        // The apex lies between two instants: extend the parabola.
        let (z, v) = (f64::from(now.pose.translation.z) - radius, f64::from(now.velocity.z));
        apex = apex.max(z + v * v / (2.0 * G));
    }
    apex / height
}

/// A bounce happens at a step of 4 ms: at 4.4 m/s the ball is up to 18 mm past the floor or short of it.
const BOUNCE_TOLERANCE: f64 = 0.02;

#[test]
fn ball_bounces_to_restitution_squared_of_its_height() {
    for e in [0.3, 0.6, 0.9, 1.0] {
        let ratio = bounce_ratio(e);
        assert_near(&format!("h'/h at e = {e}"), e * e, ratio, BOUNCE_TOLERANCE);
        if e < 0.95 {
            assert!((ratio - e).abs() > 2.0 * BOUNCE_TOLERANCE, "control: {ratio} is not e² but e at e = {e}");
        }
    }
}

#[test]
fn momentum_is_conserved_in_a_collision_and_not_against_a_wall() {
    let collide = |fixed: bool| {
        let mut world = start(weightless(
            json!({
                "a": {"sphere": 0.2, "at": [-1.0, 0.05, 0.0], "mass": 1.0, "velocity": [3.0, 0.0, 0.0], "restitution": 0.7},
                "b": {"box": [0.3, 0.4, 0.5], "at": [0.5, 0.0, 0.0], "mass": 2.5, "fixed": fixed,
                      "velocity": if fixed { [0.0; 3] } else { [-1.0, 0.2, 0.0] }},
            }),
            json!({}),
        ));
        let momentum = |world: &PhysicsWorld| {
            let of = |name: &str, mass: f32| body(world, name).velocity * mass;
            of("a", 1.0) + if fixed { Vec3::ZERO } else { of("b", 2.5) }
        };
        let before = momentum(&world);
        advance(&mut world, 1.0);
        assert!(body(&world, "a").velocity.x < 2.9, "they collide");
        f64::from((momentum(&world) - before).length())
    };
    assert_near("change of momentum", 0.0, collide(false), 1.0e-5);
    assert!(collide(true) > 3.0, "control: a wall takes momentum");
}

#[test]
fn a_resting_tower_stays_and_a_leaning_one_falls() {
    let tower = |shift: f64| {
        let mut objects = json!({"floor": {"plane": 5.0, "at": [0.0, 0.0, 0.0], "fixed": true}});
        for level in 0..6 {
            objects[format!("block{level}")] = json!({
                "box": [0.2, 0.2, 0.2], "at": [shift * f64::from(level), 0.0, 0.1 + 0.2 * f64::from(level)], "mass": 1.0,
            });
        }
        let mut world = start(scene(objects, json!({})));
        let before = body(&world, "block5").pose.translation;
        advance(&mut world, 5.0);
        f64::from((body(&world, "block5").pose.translation - before).length())
    };
    let moved = tower(0.0);
    assert!(moved < 2.0e-3, "the top block moved by {moved} m in 5 s");
    let fell = tower(0.09);
    assert!(fell > 0.3, "control: a tower that leans past its base moved by only {fell} m");
}

/// Period of a pendulum of length 0.5 m with a ball of 5 cm, released at an angle, from its zero crossings.
fn pendulum_period(amplitude: f64, physics_rate: u32) -> f64 {
    let (length, radius) = (0.5, 0.05);
    let mut scene = scene(
        json!({"bob": {"sphere": radius, "mass": 1.0,
            "at": [length * amplitude.sin(), 0.0, -length * amplitude.cos()]}}),
        json!({"pivot": {"revolute": [0.0, 1.0, 0.0], "child": "bob", "anchor": [0.0, 0.0, 0.0]}}),
    );
    scene["engine"]["physics_rate"] = json!(physics_rate);
    let mut world = start(scene);
    let mut crossings = Vec::new();
    let mut before = -amplitude;
    for step in 1..=400 {
        advance(&mut world, 1.0 / CONTROL_RATE);
        // The joint counts from the start, about y: hanging straight down is at +amplitude.
        let angle = joint(&world, "pivot") - amplitude;
        if before < 0.0 && angle >= 0.0 {
            crossings.push((f64::from(step) - angle / (angle - before)) / CONTROL_RATE);
        }
        before = angle;
    }
    let turns = (crossings.len() - 1) as f64;
    (crossings[crossings.len() - 1] - crossings[0]) / turns
}

#[test]
fn a_pendulum_swings_with_its_theoretical_period() {
    let inertia_over_mass = 0.5 * 0.5 + 0.4 * 0.05 * 0.05;
    let small = std::f64::consts::TAU * (inertia_over_mass / (G * 0.5)).sqrt();
    for amplitude in [0.1, 1.0f64] {
        // Next terms of the series: 173 θ⁶/737280, below 3e-4 at 1 rad.
        let theory = small * (1.0 + amplitude.powi(2) / 16.0 + 11.0 * amplitude.powi(4) / 3072.0);
        let measured = pendulum_period(amplitude, 1000);
        assert_near(&format!("period at {amplitude} rad"), theory, measured, 1.0e-3 * theory);
    }
    let uncorrected = (pendulum_period(1.0, 1000) - small).abs() / small;
    assert!(uncorrected > 0.05, "control: the small-angle period is off by only {uncorrected} at 1 rad");
}

/// Radians a second at which the axis of a free cylinder of 2 kg, spun at 10 rad/s about it and 1 rad/s
/// across, goes around its angular momentum: measured over a second, and by theory. The theory is given
/// with each moment of inertia in the denominator, L / I₁ (transverse) and L / I₃ (axial).
fn precession(radius: f64, height: f64) -> (f64, [f64; 2]) {
    let mass = 2.0;
    let across = mass * (3.0 * radius * radius + height * height) / 12.0;
    let along = 0.5 * mass * radius * radius;
    let mut world = start(weightless(
        json!({"top": {"cylinder": {"radius": radius, "height": height}, "at": [0.0, 0.0, 0.0], "mass": mass,
            "angular_velocity": [1.0, 0.0, 10.0]}}),
        json!({}),
    ));
    let momentum = Vec3::new(across as f32, 0.0, (10.0 * along) as f32);
    let axis = momentum.normalize();
    let (u, v) = (Vec3::Y.cross(axis).normalize(), Vec3::Y);
    let phase = |world: &PhysicsWorld| {
        let z = body(world, "top").pose.rotation * Vec3::Z;
        f64::from(z.dot(v)).atan2(f64::from(z.dot(u)))
    };
    let (mut turned, mut before) = (0.0, phase(&world));
    for _ in 0..CONTROL_RATE as usize {
        advance(&mut world, 1.0 / CONTROL_RATE);
        let now = phase(&world);
        turned += (now - before + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI;
        before = now;
    }
    (turned, [across, along].map(|inertia| f64::from(momentum.length()) / inertia))
}

#[test]
fn a_symmetric_top_precesses_at_l_over_i() {
    /// Of the rate: first-order integration at 250 Hz of 10 rad/s.
    const TOLERANCE: f64 = 0.02;
    let spin = (10.0f64 * 10.0 + 1.0).sqrt();
    // A disc (I₃ > I₁), a rod (I₃ < I₁), and between them a cylinder with I₃ = I₁.
    let mut rates = Vec::new();
    for (radius, height) in [(0.3, 0.1), (0.1, 0.6), (0.3, 0.3 * 3.0f64.sqrt())] {
        let (rate, [theory, swapped]) = precession(radius, height);
        assert_near("precession, rad/s", theory, rate, TOLERANCE * theory);
        let isotropic = (theory - swapped).abs() < 1e-3;
        // Controls: neither the other moment of inertia nor a body that merely spins on about its first axis
        // (no gyroscopic torque) gives this rate, unless both moments are the same, where they must.
        for (what, wrong) in [("L / I₃", swapped), ("the spin", spin)] {
            let off = (rate - wrong).abs() / theory;
            if isotropic {
                assert!(off < TOLERANCE, "control: I₃ = I₁, and {what} is {wrong}, measured {rate} rad/s");
            } else {
                assert!(off > 10.0 * TOLERANCE, "control: {what} is {wrong}, measured {rate} rad/s");
            }
        }
        rates.push(rate);
    }
    assert!(rates[0] > 1.5 * spin && rates[1] < 0.7 * spin, "control: disc and rod precess alike: {rates:?}");
}

#[test]
fn a_spin_about_the_middle_axis_flips_and_one_about_the_long_axis_does_not() {
    let flips = |axis: usize| {
        let mut rate = [0.01; 3];
        rate[axis] = 8.0;
        let mut world = start(weightless(
            json!({"book": {"box": [0.1, 0.3, 0.5], "at": [0.0, 0.0, 0.0], "mass": 1.0, "angular_velocity": rate}}),
            json!({}),
        ));
        let unit = [Vec3::X, Vec3::Y, Vec3::Z][axis];
        let mut lowest = 1.0f32;
        for _ in 0..400 {
            advance(&mut world, 1.0 / CONTROL_RATE);
            lowest = lowest.min((body(&world, "book").pose.rotation * unit).dot(unit));
        }
        lowest
    };
    let middle = flips(1);
    assert!(middle < -0.9, "the middle axis turned only to a cosine of {middle}");
    for axis in [0, 2] {
        let stable = flips(axis);
        assert!(stable > 0.95, "control: axis {axis} turned to a cosine of {stable}");
    }
}

#[test]
fn a_belt_carries_what_lies_on_it() {
    let ride = |speed: f64| {
        let mut world = start(scene(
            json!({
                "belt": {"box": [20.0, 1.0, 0.2], "at": [0.0, 0.0, 0.0], "fixed": true, "surface_velocity": [speed, 0.0, 0.0]},
                "parcel": {"box": [0.3, 0.3, 0.3], "at": [0.0, 0.0, 0.25], "mass": 2.0},
            }),
            json!({}),
        ));
        advance(&mut world, 2.0);
        f64::from(body(&world, "parcel").velocity.x)
    };
    for speed in [0.5, -1.0] {
        assert_near("speed on the belt", speed, ride(speed), 0.01);
    }
    assert_near("control: speed on a belt that stands", 0.0, ride(0.0), 1.0e-3);
}

/// Two bodies tied by a hinge, turning freely: everything inner must cancel, whatever the root's centre of mass.
#[test]
fn inner_joints_change_neither_momentum_nor_the_path_of_the_centre_of_mass() {
    let mut world = start(weightless(
        json!({
            "a": {"box": [0.4, 0.2, 0.2], "at": [-0.3, 0.0, 0.0], "mass": 2.0, "angular_velocity": [0.3, 2.0, 0.1]},
            "b": {"box": [0.4, 0.2, 0.2], "at": [0.3, 0.0, 0.0], "mass": 1.0},
        }),
        json!({"hinge": {"revolute": [0.0, 1.0, 0.0], "parent": "a", "child": "b", "anchor": [0.0, 0.0, 0.0]}}),
    ));
    let centre =
        |world: &PhysicsWorld| (body(world, "a").pose.translation * 2.0 + body(world, "b").pose.translation) / 3.0;
    let momentum = |world: &PhysicsWorld| body(world, "a").velocity * 2.0 + body(world, "b").velocity;
    advance(&mut world, 1.0 / CONTROL_RATE);
    let (from, with) = (centre(&world), momentum(&world));
    advance(&mut world, 2.0);
    let drift = f64::from((centre(&world) - from - with / 3.0 * 2.0).length());
    assert_near("drift of the centre of mass, m", 0.0, drift, 0.01);
    assert_near("change of momentum, N·s", 0.0, f64::from((momentum(&world) - with).length()), 0.02);
    assert!(joint(&world, "hinge").abs() > 0.5, "control: the hinge turned by only {} rad", joint(&world, "hinge"));
}

#[test]
fn the_error_of_a_free_fall_shrinks_with_the_step() {
    let error = |rate: u32| {
        let mut scene = scene(json!({"ball": {"sphere": 0.1, "at": [0.0, 0.0, 0.0]}}), json!({}));
        scene["engine"]["physics_rate"] = json!(rate);
        let mut world = start(scene);
        advance(&mut world, 1.0);
        (f64::from(body(&world, "ball").pose.translation.z) + 0.5 * G).abs()
    };
    let (coarse, fine) = (error(50), error(200));
    let slope = (coarse / fine).ln() / 4.0f64.ln();
    assert_near("order of convergence", 1.0, slope, 0.05);
    assert!(coarse > 0.01, "control: the coarse error, {coarse} m, is measurable");
}
