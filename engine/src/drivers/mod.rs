//! Scripted policies ([`crate::scene::Driver`]).
//!
//! [`scripted`] seats each robot's driver on that robot's channels of the action, then each of the
//! scene's own drivers on the channels that no robot's driver holds, in the file's order. Every
//! driver draws from a stream of its own, named by its robot (a scene's own driver: by its kind, and which
//! of that kind it is), so that adding one does not disturb another.
//!
//! | file | drivers |
//! |---|---|
//! | `signals.rs` | `random`, `sine`, `velocity`, `feedback`: channel by channel |
//! | `waypoints.rs`, `replay.rs` | given courses |
//! | `push.rs`, `pick.rs` | arms: closed-loop experts over the inverse kinematics of `arm.rs` |
//! | `wheels.rs`, `trot.rs` | mobile robots |
//! | `strikes.rs` | `force`, `cue`: scenes without a robot |
//! | `process/` | another program over a pipe |
//!
//! The experts look at the true state ([`PolicyInput::state`]), as demonstrators may; what they do is
//! recorded beside what a policy would have seen.

mod arm;
mod extent;
mod pick;
mod process;
mod push;
mod replay;
mod seat;
mod signals;
mod strikes;
mod trot;
mod waypoints;
mod wheels;

use std::sync::Arc;

use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::policy::{Policy, PolicyInput};
use crate::problems::Problems;
use crate::robots::RobotModel;
use crate::scene::{Driver, Scene};
use crate::state::Catalog;
use crate::stream::Stream;

pub use process::Programs;
use seat::Seat;

/// The policy that a scene's own drivers make: each robot's driver on its channels, then the scene's drivers.
/// `robots` are the models of the scene's robots, in order. Channels that no driver drives stay neutral.
///
/// Another scene may be given to its `reset`, as long as the robots are the same.
pub fn scripted(
    scene: &Scene,
    catalog: &Catalog,
    robots: &[Arc<RobotModel>],
    assets: &Assets,
) -> Result<Box<dyn Policy>> {
    scripted_with(scene, catalog, robots, assets, &Programs::default())
}

/// [`scripted`], with the programs of earlier policies: those of `process` drivers that run already go on.
pub fn scripted_with(
    scene: &Scene,
    catalog: &Catalog,
    robots: &[Arc<RobotModel>],
    assets: &Assets,
    programs: &Programs,
) -> Result<Box<dyn Policy>> {
    let mut policy = Scripted {
        robots: robots.to_vec(),
        assets: assets.clone(),
        programs: programs.clone(),
        parts: Vec::new(),
        values: Vec::new(),
    };
    // Mistakes in the scene are found now rather than at the first reset.
    policy.seat(scene, catalog, Stream::new(0, "unused", 0, 0))?;
    Ok(Box::new(policy))
}

/// Every problem of a scene's drivers. What another problem may cause (the number of channels) is not judged.
pub(crate) fn check(
    scene: &Scene,
    catalog: &Catalog,
    robots: &[Arc<RobotModel>],
    assets: &Assets,
    problems: &mut Problems,
) {
    let mut policy = Scripted {
        robots: robots.to_vec(),
        assets: assets.clone(),
        programs: Programs::default(),
        parts: Vec::new(),
        values: Vec::new(),
    };
    let seats = Seat::each(scene, catalog, robots);
    for (field, driver, seat) in seats {
        let robot = field.strip_suffix(".driver");
        let unsure = match robot {
            Some(robot) => problems.touch(robot),
            None => problems.touch("robots") || problems.touch("joints"),
        } || problems.touch("action")
            || (matches!(driver, Driver::Feedback { .. }) && problems.touch("observation"));
        let inner = format!("{field}.{}", driver.kind());
        let lost = robot.and_then(|robot| robot.strip_prefix("robots.")).is_some_and(|name| problems.doubts(name));
        let stream = Stream::new(0, "unused", 0, 0);
        let built = seat.and_then(|seat| policy.build(driver, scene, catalog, &seat, stream).map(|_| ()));
        match built {
            Ok(()) => {}
            Err(Error::Scene { .. }) if unsure => {}
            Err(_) if lost => {}
            Err(error) => problems.push(&format!("{inner}.file"), error),
        }
    }
}

/// What a driver does, once seated.
trait Drive: Send {
    /// Sets the seat's channels, which come preset to neutral.
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()>;
}

struct Scripted {
    robots: Vec<Arc<RobotModel>>,
    assets: Assets,
    programs: Programs,
    parts: Vec<(Seat, Box<dyn Drive>)>,
    values: Vec<f32>,
}

impl Scripted {
    fn seat(&mut self, scene: &Scene, catalog: &Catalog, mut stream: Stream) -> Result<()> {
        self.parts.clear();
        let seats = Seat::all(scene, catalog, &self.robots)?;
        let seed = stream.bits();
        let mut kinds: Vec<&str> = Vec::new();
        for (driver, seat) in seats {
            // By name rather than by place in the file, so that another driver before it changes nothing.
            let own = match &seat.robot {
                Some(robot) => Stream::new(seed, &format!("robot {}", robot.name), 0, 0),
                None => {
                    let twins = kinds.iter().filter(|kind| **kind == driver.kind()).count();
                    kinds.push(driver.kind());
                    Stream::new(seed, driver.kind(), twins as u64, 0)
                }
            };
            let drive = self.build(driver, scene, catalog, &seat, own)?;
            self.parts.push((seat, drive));
        }
        Ok(())
    }

    fn build(
        &mut self,
        driver: &Driver,
        scene: &Scene,
        catalog: &Catalog,
        seat: &Seat,
        stream: Stream,
    ) -> Result<Box<dyn Drive>> {
        Ok(match driver {
            Driver::Random { scale, smooth } => Box::new(signals::Random::new(*scale, *smooth, seat, stream)?),
            Driver::Sine { amplitude, frequency, phase_step } => {
                Box::new(signals::Sine::new(*amplitude, *frequency, *phase_step, seat))
            }
            Driver::Velocity(values) => Box::new(signals::Constant::new(values, seat)?),
            Driver::Feedback { gains, target, noise } => {
                Box::new(signals::Feedback::new(gains, target, *noise, seat, catalog, stream)?)
            }
            Driver::Waypoints { joints, points, frame, each, repeat } => {
                Box::new(waypoints::Waypoints::new(joints, points, frame.as_deref(), *each, *repeat, seat, catalog)?)
            }
            Driver::Replay { file } => Box::new(replay::Replay::new(file, seat, &self.assets)?),
            Driver::Force { on, value, from, duration } => {
                Box::new(strikes::Force::new(on, *value, *from, *duration, seat, catalog)?)
            }
            Driver::Cue { ball, speed, angle, towards, at } => {
                Box::new(strikes::Cue::new(ball, *speed, *angle, towards.as_deref(), *at, seat, catalog)?)
            }
            Driver::PushTo { object, goal, noise, speed } => {
                Box::new(push::PushTo::new(object, *goal, *noise, *speed, seat, catalog, stream)?)
            }
            Driver::PickPlace { object, goal, noise, speed } => {
                Box::new(pick::PickPlace::new(object, *goal, *noise, *speed, scene, seat, catalog, stream)?)
            }
            Driver::DriveTo { goal, avoid, noise, speed } => {
                Box::new(wheels::DriveTo::new(*goal, avoid, *noise, *speed, seat, catalog, stream)?)
            }
            Driver::Trot { frequency, stride, lift, noise } => {
                Box::new(trot::Trot::new(*frequency, *stride, *lift, *noise, seat, stream)?)
            }
            Driver::Process { command, timeout, pictures } => Box::new(process::Remote::new(
                command,
                *timeout,
                *pictures,
                scene,
                catalog,
                seat,
                stream,
                &self.programs,
            )?),
        })
    }
}

impl Policy for Scripted {
    fn reset(&mut self, scene: &Scene, catalog: &Catalog, stream: Stream) -> Result<()> {
        self.seat(scene, catalog, stream)
    }

    fn act(&mut self, input: &PolicyInput<'_>, action: &mut [f32]) -> Result<()> {
        for (seat, drive) in &mut self.parts {
            self.values.clear();
            self.values.extend(seat.levers.iter().map(|lever| action[lever.channel]));
            drive.drive(seat, input, &mut self.values)?;
            for (lever, value) in seat.levers.iter().zip(&self.values) {
                action[lever.channel] = *value;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
