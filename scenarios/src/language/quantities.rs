//! What numbers measure.

use worldloom_engine::expr::units::Dimension;

use crate::table::Quantity;

/// Version of the language.
pub static VERSION: Quantity = Quantity::any("the version", Dimension::NONE).within(1.0, 1.0).whole();
/// A pure number.
pub static NUMBER: Quantity = Quantity::any("a number", Dimension::NONE);
/// Anything: a length, an angle, a pure number, ….
pub static ANY: Quantity = Quantity::any("a number", Dimension::NONE).of_any_unit();
/// Like [`ANY`], zero or above.
pub static NOT_NEGATIVE: Quantity = Quantity::any("a number", Dimension::NONE).of_any_unit().not_negative();
/// Like [`ANY`], above zero.
pub static POSITIVE: Quantity = Quantity::any("a number", Dimension::NONE).of_any_unit().positive();
/// From 0 to 1.
pub static UNIT: Quantity = Quantity::any("a number from 0 to 1", Dimension::NONE).within(0.0, 1.0);
/// A factor above zero.
pub static FACTOR: Quantity = Quantity::any("a factor", Dimension::NONE).positive();
/// A strength from zero up.
pub static STRENGTH: Quantity = Quantity::any("a strength", Dimension::NONE).not_negative();
/// A position or a distance with sign. A world is not larger than 10 km: positions are 32-bit floats in physics.
pub static LENGTH: Quantity = Quantity::any("a length", Dimension::LENGTH).within(-1.0e4, 1.0e4);
/// A distance from zero up.
pub static DISTANCE: Quantity = Quantity::any("a distance", Dimension::LENGTH).within(0.0, 1.0e4);
/// The size of a thing.
pub static SIZE: Quantity = Quantity { high: 1.0e4, ..Quantity::any("a size", Dimension::LENGTH).positive() };
/// An angle.
pub static ANGLE: Quantity = Quantity::any("an angle", Dimension::ANGLE);
/// An angle from zero to half a turn.
pub static SPREAD: Quantity = Quantity::any("an angle", Dimension::ANGLE).within(0.0, std::f64::consts::PI);
/// A field of view: a pinhole sees less than half a turn.
pub static FOV: Quantity = Quantity::any("an angle", Dimension::ANGLE).within(0.001, 3.1);
/// A mass. Physics computes in 32-bit floats, where the inertia of more overflows.
pub static MASS: Quantity = Quantity { high: 1.0e12, ..Quantity::any("a mass", Dimension::MASS).positive() };
/// A density: a thousand times any metal's at most, for the same reason.
pub static DENSITY: Quantity = Quantity { high: 1.0e7, ..Quantity::any("a density", Dimension::DENSITY).positive() };
/// A duration.
pub static DURATION: Quantity = Quantity::any("a time", Dimension::TIME).positive();
/// An instant or a delay.
pub static TIME: Quantity = Quantity::any("a time", Dimension::TIME).not_negative();
/// The longest episode: a day.
pub static LENGTH_OF_EPISODE: Quantity =
    Quantity { high: 86_400.0, ..Quantity::any("a time", Dimension::TIME).positive() };
/// A rate in whole hertz: a dataset's fps is an integer.
pub static RATE: Quantity = Quantity::any("a rate", Dimension::FREQUENCY).within(1.0, 1.0e5).whole();
/// A frequency.
pub static FREQUENCY: Quantity = Quantity::any("a frequency", Dimension::FREQUENCY).not_negative();
/// A velocity component: at most what crosses a whole world in a second.
pub static VELOCITY: Quantity = Quantity::any("a velocity", Dimension::VELOCITY).within(-1.0e4, 1.0e4);
/// A speed from zero up.
pub static SPEED: Quantity = Quantity::any("a speed", Dimension::VELOCITY).within(0.0, 1.0e4);
/// An angular velocity component.
pub static ANGULAR_VELOCITY: Quantity = Quantity::any("an angular velocity", Dimension::ANGULAR_VELOCITY);
/// An acceleration component: a thousand times free fall on Earth at most.
pub static ACCELERATION: Quantity = Quantity::any("an acceleration", Dimension::ACCELERATION).within(-1.0e4, 1.0e4);
/// A force component.
pub static FORCE: Quantity = Quantity::any("a force", Dimension::FORCE);
/// An impulse component.
pub static IMPULSE: Quantity = Quantity::any("an impulse", Dimension::IMPULSE);
/// A decay rate.
pub static DECAY: Quantity = Quantity::any("a decay rate", Dimension::FREQUENCY).not_negative();
/// A friction coefficient.
pub static FRICTION: Quantity = Quantity::any("a friction coefficient", Dimension::NONE).not_negative();
/// Pixels along an edge.
pub static PIXELS: Quantity = Quantity::any("a number of pixels", Dimension::NONE).within(1.0, 8192.0).whole();
/// Most pixels of a picture. A frame holds 40 bytes a pixel with all labels: with more, a worker would not fit into memory.
pub const MOST_PIXELS: f64 = 16.0 * 1024.0 * 1024.0;
/// How many.
pub static COUNT: Quantity = Quantity::any("a number of copies", Dimension::NONE).within(1.0, 10_000.0).whole();
/// How often.
pub static TIMES: Quantity = Quantity::any("a number of times", Dimension::NONE).within(1.0, 1.0e6).whole();
/// Octaves of noise.
pub static OCTAVES: Quantity = Quantity::any("a number of octaves", Dimension::NONE).within(1.0, 12.0).whole();
/// Cells of a grid along an edge.
pub static GRID: Quantity = Quantity::any("a number of cells", Dimension::NONE).within(1.0, 1024.0).whole();
/// Steps of stairs.
pub static STEPS: Quantity = Quantity::any("a number of steps", Dimension::NONE).within(1.0, 256.0).whole();
/// Solver iterations.
pub static ITERATIONS: Quantity = Quantity::any("a number of iterations", Dimension::NONE).within(1.0, 1000.0).whole();
/// A seed of a pattern.
pub static SEED: Quantity = Quantity::any("a seed", Dimension::NONE).within(0.0, 4_294_967_295.0).whole();
/// A mass as the argument of a distribution.
pub static ANY_MASS: Quantity = Quantity::any("a mass", Dimension::MASS);
/// A time as the argument of a distribution.
pub static ANY_TIME: Quantity = Quantity::any("a time", Dimension::TIME);
/// A frequency as the argument of a distribution.
pub static ANY_FREQUENCY: Quantity = Quantity::any("a frequency", Dimension::FREQUENCY);
/// A density as the argument of a distribution.
pub static ANY_DENSITY: Quantity = Quantity::any("a density", Dimension::DENSITY);
