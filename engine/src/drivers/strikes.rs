//! `force` and `cue`: drivers of scenes without a robot, over the channels `force(body).x, .y, .z`.

use super::Drive;
use super::seat::Seat;
use crate::error::{Error, Result};
use crate::expr::{body_named, near, unknown_body};
use crate::maths;
use crate::policy::PolicyInput;
use crate::state::Catalog;

/// Positions among the seat's channels of the force on a body.
fn force_levers(body: &str, seat: &Seat) -> Result<[usize; 3]> {
    let find = |axis: &str| {
        let name = format!("force({body}).{axis}");
        seat.levers.iter().position(|lever| lever.name == name)
    };
    match (find("x"), find("y"), find("z")) {
        (Some(x), Some(y), Some(z)) => Ok([x, y, z]),
        _ => Err(Error::Scene {
            field: seat.field.clone(),
            problem: format!("there is no channel for a force on `{body}`"),
            hint: format!(
                "list `force({body})` in `action`; {}",
                near::suggestion(&format!("force({body}).x"), seat.levers.iter().map(|lever| lever.name.as_str()))
            ),
        }),
    }
}

/// `force`: constant between two times, zero else.
pub(super) struct Force {
    levers: [usize; 3],
    value_n: [f64; 3],
    from_step: u64,
    until_step: Option<u64>,
}

/// Control steps until a time, to the nearest.
fn steps(secs: f64, seat: &Seat) -> u64 {
    (secs / seat.dt_secs).round().max(0.0) as u64
}

impl Force {
    pub fn new(
        on: &str,
        value_n: [f64; 3],
        from_secs: f64,
        duration_secs: Option<f64>,
        seat: &Seat,
        catalog: &Catalog,
    ) -> Result<Self> {
        body_named(catalog, on).ok_or_else(|| unknown_body(catalog, on, &format!("{}.on", seat.field)))?;
        Ok(Self {
            levers: force_levers(on, seat)?,
            value_n,
            from_step: steps(from_secs, seat),
            until_step: duration_secs.map(|secs| steps(from_secs + secs, seat)),
        })
    }
}

impl Drive for Force {
    fn drive(&mut self, _seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        let step = input.state.step;
        if step >= self.from_step && self.until_step.is_none_or(|until| step < until) {
            for (lever, value) in self.levers.iter().zip(self.value_n) {
                // Several drivers may push the same body.
                values[*lever] += value as f32;
            }
        }
        Ok(())
    }
}

/// `cue`: `F = m·(v_wanted − v)/dt` in the horizontal plane over one control step.
pub(super) struct Cue {
    levers: [usize; 3],
    ball: usize,
    speed: f64,
    angle_rad: f64,
    towards: Option<usize>,
    at_step: u64,
}

impl Cue {
    pub fn new(
        ball: &str,
        speed: f64,
        angle_rad: f64,
        towards: Option<&str>,
        at_secs: f64,
        seat: &Seat,
        catalog: &Catalog,
    ) -> Result<Self> {
        let body = |name: &str, key: &str| {
            body_named(catalog, name).ok_or_else(|| unknown_body(catalog, name, &format!("{}.{key}", seat.field)))
        };
        let index = body(ball, "ball")?;
        if catalog.bodies[index].mass_kg <= 0.0 {
            return Err(seat.fail(format!("`{ball}` has no mass, so a cue cannot move it")));
        }
        Ok(Self {
            levers: force_levers(ball, seat)?,
            ball: index,
            speed,
            angle_rad,
            towards: towards.map(|name| body(name, "towards")).transpose()?,
            at_step: steps(at_secs, seat),
        })
    }
}

impl Drive for Cue {
    fn drive(&mut self, seat: &Seat, input: &PolicyInput<'_>, values: &mut [f32]) -> Result<()> {
        if input.state.step != self.at_step {
            return Ok(());
        }
        let ball = &input.state.bodies[self.ball];
        let angle_rad = self.towards.map_or(self.angle_rad, |target| {
            let line = input.state.bodies[target].pose.translation - ball.pose.translation;
            maths::atan2(f64::from(line.y), f64::from(line.x))
        });
        let wanted = [self.speed * maths::cos(angle_rad), self.speed * maths::sin(angle_rad)];
        let force_per_speed = f64::from(input.catalog.bodies[self.ball].mass_kg) / seat.dt_secs;
        for ((lever, wanted), now) in self.levers.iter().zip(wanted).zip(ball.velocity.to_array()) {
            values[*lever] += (force_per_speed * (wanted - f64::from(now))) as f32;
        }
        Ok(())
    }
}
