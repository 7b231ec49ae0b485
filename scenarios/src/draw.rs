//! Drawing from distributions, each with its log-density.
//!
//! | distribution | draw | log-density (natural) |
//! |---|---|---|
//! | uniform, in_region | inverse | −ln of the size of its support |
//! | log_uniform | exp of a uniform | −ln x − ln ln(high/low) |
//! | int, choice | uniform over n | −ln n |
//! | normal | Box–Muller; with bounds by inverting its distribution function | −½z² − ln(σ√2π) − ln(mass between the bounds) |
//! | lognormal | exp of a normal | normal's at ln x, − ln x |
//! | gamma, beta | Marsaglia and Tsang (2000), beta as a ratio of gammas | the usual, with ln Γ |
//! | exponential | inverse | −ln mean − x/mean |
//! | poisson | counting exponential gaps | k ln λ − λ − ln k! |
//! | weighted | inverse | ln of the part of the weight |
//! | grid | the episode's number | none |
//!
//! All transcendental functions are portable ([`worldloom_engine::maths`] and libm's erfc and lgamma).

use std::f64::consts::{PI, SQRT_2};

use worldloom_engine::maths;
use worldloom_engine::scene::ParamValue;
use worldloom_engine::stream::Stream;

use crate::tree::Plain;

/// A value and its log-density.
pub type Drawn = (ParamValue, Option<f64>);

/// Largest mean of a Poisson variable: counting gaps takes that many draws.
const MOST_POISSON: f64 = 10_000.0;

/// Draws from the distribution `kind` with its arguments; `episode` is the place in a sweep (see [`grid`]).
pub fn draw(kind: &str, args: &Plain, stream: &mut Stream) -> Result<Drawn, String> {
    if let Some(n) = vector_length(kind, args) {
        return vector(kind, args, n, stream);
    }
    let number = |(x, log_prob): (f64, f64)| (ParamValue::Number(x), Some(log_prob));
    match kind {
        "uniform" => uniform(pair(args)?, stream).map(number),
        "log_uniform" => log_uniform(pair(args)?, stream).map(number),
        "int" => int(pair(args)?, stream).map(number),
        "normal" => normal(&Normal::read(args)?, stream).map(number),
        "lognormal" => lognormal(arg(args, "median")?, arg(args, "sigma")?, stream).map(number),
        "beta" => beta(args, stream).map(number),
        "gamma" => gamma(arg(args, "shape")?, arg(args, "scale")?, stream).map(number),
        "exponential" => {
            let mean = positive(arg(args, "mean")?, "mean")?;
            let x = -mean * maths::ln(1.0 - stream.unit());
            Ok(number((x, -maths::ln(mean) - x / mean)))
        }
        "poisson" => poisson(arg(args, "mean")?, stream).map(number),
        "choice" => choice(args, stream),
        "weighted" => weighted(args, stream),
        "in_region" => region(args, stream),
        other => Err(format!("unknown distribution `{other}`")),
    }
}

/// Value of a `grid` at a place in the sweep.
pub fn grid(args: &Plain, place: u64) -> Result<ParamValue, String> {
    let items = args.list().filter(|items| !items.is_empty()).ok_or("a grid needs at least one value")?;
    items[(place % items.len() as u64) as usize]
        .param()
        .ok_or_else(|| "a grid is over numbers, words or vectors".to_owned())
}

/// Lowest and highest value that a distribution over numbers can give, if it says.
pub fn support(kind: &str, args: &Plain) -> Option<(f64, f64)> {
    let all = |items: &[Plain]| {
        let numbers: Option<Vec<f64>> = items.iter().map(Plain::number).collect();
        numbers.map(|n| n.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(*x), b.max(*x))))
    };
    match kind {
        "uniform" | "log_uniform" | "int" | "choice" | "grid" => all(args.list()?),
        "weighted" => {
            let values: Vec<Plain> = args.list()?.iter().filter_map(|item| item.get("value").cloned()).collect();
            all(&values)
        }
        "beta" => Some((arg(args, "low").ok()?, arg(args, "high").ok()?)),
        "normal" => {
            let bound = |key: &str, otherwise: f64| args.get(key).and_then(Plain::number).unwrap_or(otherwise);
            args.get("mean")?.number()?;
            // Unbounded tails are checked draw by draw: a far tail must not forbid a mass of 1 ± 0.01 kg.
            Some((bound("min", f64::NAN), bound("max", f64::NAN)))
        }
        "lognormal" | "gamma" | "exponential" | "poisson" => Some((f64::NAN, f64::NAN)),
        _ => None,
    }
}

/// Number of components, if the arguments are vectors.
fn vector_length(kind: &str, args: &Plain) -> Option<usize> {
    let probe = match kind {
        "uniform" | "log_uniform" | "int" => args.list()?.first()?,
        "normal" => args.get("mean")?,
        _ => return None,
    };
    probe.list().map(<[Plain]>::len)
}

/// Each component by itself.
fn vector(kind: &str, args: &Plain, n: usize, stream: &mut Stream) -> Result<Drawn, String> {
    let component = |value: &Plain, i: usize| match value {
        Plain::List(items) if items.len() == n => Ok(items[i].clone()),
        Plain::List(items) => Err(format!("vectors of {n} and of {} do not go together", items.len())),
        scalar => Ok(scalar.clone()),
    };
    let (mut values, mut total) = (Vec::with_capacity(n), 0.0);
    for i in 0..n {
        let args = match args {
            Plain::List(items) => Plain::List(items.iter().map(|item| component(item, i)).collect::<Result<_, _>>()?),
            Plain::Map(entries) => Plain::Map(
                entries
                    .iter()
                    .map(|(key, item)| Ok((key.clone(), component(item, i)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        };
        match draw(kind, &args, stream)? {
            (ParamValue::Number(x), Some(log_prob)) => {
                values.push(x);
                total += log_prob;
            }
            _ => return Err(format!("`{kind}` has no components")),
        }
    }
    Ok((ParamValue::Vector(values), Some(total)))
}

fn arg(args: &Plain, key: &str) -> Result<f64, String> {
    args.get(key).and_then(Plain::number).ok_or_else(|| format!("`{key}` must be a number"))
}

fn positive(x: f64, what: &str) -> Result<f64, String> {
    if x > 0.0 && x.is_finite() { Ok(x) } else { Err(format!("`{what}` must be above zero, not {x}")) }
}

fn pair(args: &Plain) -> Result<(f64, f64), String> {
    match args.numbers().as_deref() {
        Some([low, high]) if low <= high => Ok((*low, *high)),
        Some([low, high]) => Err(format!("the bounds are inverted: {low} is above {high}")),
        _ => Err("must be `[low, high]`".to_owned()),
    }
}

fn uniform((low, high): (f64, f64), stream: &mut Stream) -> Result<(f64, f64), String> {
    // A range without width is a certainty, as in a parameter that is held.
    let log_prob = if low == high { 0.0 } else { -maths::ln(high - low) };
    // Rounding may carry the last step of the grid onto `high` and beyond.
    Ok((stream.uniform(low, high).min(high), log_prob))
}

fn log_uniform((low, high): (f64, f64), stream: &mut Stream) -> Result<(f64, f64), String> {
    let low = positive(low, "low")?;
    if low == high {
        stream.unit();
        return Ok((low, 0.0));
    }
    let width = maths::ln(high / low);
    let x = (low * maths::exp(width * stream.unit())).clamp(low, high);
    Ok((x, -maths::ln(x) - maths::ln(width)))
}

fn int((low, high): (f64, f64), stream: &mut Stream) -> Result<(f64, f64), String> {
    if low != low.round() || high != high.round() || high - low >= 9.0e15 {
        return Err("the bounds of `int` must be whole numbers".to_owned());
    }
    let n = (high - low) as u64 + 1;
    Ok((low + stream.below(n) as f64, -maths::ln(n as f64)))
}

struct Normal {
    mean: f64,
    sd: f64,
    low: f64,
    high: f64,
}

impl Normal {
    fn read(args: &Plain) -> Result<Self, String> {
        let bound = |key: &str, otherwise: f64| args.get(key).and_then(Plain::number).unwrap_or(otherwise);
        let (low, high) = (bound("min", f64::NEG_INFINITY), bound("max", f64::INFINITY));
        let sd = arg(args, "sd")?;
        if !(sd >= 0.0 && sd.is_finite()) {
            return Err(format!("`sd` must not be negative, not {sd}"));
        }
        if low > high {
            return Err(format!("the bounds are inverted: `min` {low} is above `max` {high}"));
        }
        Ok(Self { mean: arg(args, "mean")?, sd, low, high })
    }
}

/// Standard normal distribution function, accurate in its lower tail.
fn cumulative(z: f64) -> f64 {
    0.5 * libm::erfc(-z / SQRT_2)
}

fn normal(of: &Normal, stream: &mut Stream) -> Result<(f64, f64), String> {
    if of.sd == 0.0 {
        let inside = of.mean >= of.low && of.mean <= of.high;
        return if inside {
            Ok((of.mean, 0.0))
        } else {
            Err("the mean of a normal with `sd` 0 is out of its bounds".to_owned())
        };
    }
    let log_density = |z: f64| -0.5 * z * z - maths::ln(of.sd * libm::sqrt(2.0 * PI));
    if of.low == f64::NEG_INFINITY && of.high == f64::INFINITY {
        let z = stream.normal();
        return Ok((of.mean + of.sd * z, log_density(z)));
    }
    let (a, b) = ((of.low - of.mean) / of.sd, (of.high - of.mean) / of.sd);
    // Mirrored if the bounds lie in the upper tail, where 1 − Φ would lose all its digits.
    let (a, b, mirror) = if a > 0.0 { (-b, -a, -1.0) } else { (a, b, 1.0) };
    let (from, to) = (cumulative(a), cumulative(b));
    let mass = to - from;
    if mass.is_nan() || mass < 1e-280 {
        return Err(format!("the bounds {} to {} leave nothing of the normal", of.low, of.high));
    }
    let z = mirror * quantile(from + mass * stream.unit(), a, b);
    let x = (of.mean + of.sd * z).clamp(of.low, of.high);
    Ok((x, log_density((x - of.mean) / of.sd) - maths::ln(mass)))
}

/// The z in [a, b] with `cumulative(z) = p`, by bisection: as exact as the distribution function, and as portable.
fn quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (a.max(-40.0), b.min(40.0));
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if cumulative(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

fn lognormal(median: f64, sigma: f64, stream: &mut Stream) -> Result<(f64, f64), String> {
    let median = positive(median, "median")?;
    let (z, log_prob) = normal(&Normal { mean: 0.0, sd: sigma, low: f64::NEG_INFINITY, high: f64::INFINITY }, stream)?;
    let x = median * maths::exp(z);
    Ok((x, if sigma == 0.0 { 0.0 } else { log_prob - maths::ln(x) }))
}

/// Gamma with scale 1, by Marsaglia and Tsang, "A simple method for generating gamma variables" (2000).
fn standard_gamma(shape: f64, stream: &mut Stream) -> f64 {
    if shape < 1.0 {
        let lifted = standard_gamma(shape + 1.0, stream);
        return lifted * maths::pow(1.0 - stream.unit(), 1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    loop {
        let z = stream.normal();
        let v = 1.0 + c * z;
        if v <= 0.0 {
            continue;
        }
        let v = v * v * v;
        if maths::ln(1.0 - stream.unit()) < 0.5 * z * z + d - d * v + d * maths::ln(v) {
            return d * v;
        }
    }
}

fn gamma(shape: f64, scale: f64, stream: &mut Stream) -> Result<(f64, f64), String> {
    let (shape, scale) = (positive(shape, "shape")?, positive(scale, "scale")?);
    let g = standard_gamma(shape, stream).max(f64::MIN_POSITIVE);
    Ok((g * scale, (shape - 1.0) * maths::ln(g) - g - libm::lgamma(shape) - maths::ln(scale)))
}

fn beta(args: &Plain, stream: &mut Stream) -> Result<(f64, f64), String> {
    let (a, b) = (positive(arg(args, "a")?, "a")?, positive(arg(args, "b")?, "b")?);
    let (low, high) = (arg(args, "low")?, arg(args, "high")?);
    if low >= high {
        return Err(format!("the bounds are inverted: {low} is not below {high}"));
    }
    let (x, y) = (standard_gamma(a, stream), standard_gamma(b, stream));
    // Away from the ends, where the density of a U-shaped beta is infinite.
    let u = (x / (x + y)).clamp(1e-300, 1.0 - f64::EPSILON / 2.0);
    let log_prob = (a - 1.0) * maths::ln(u) + (b - 1.0) * libm::log1p(-u) + libm::lgamma(a + b)
        - libm::lgamma(a)
        - libm::lgamma(b)
        - maths::ln(high - low);
    Ok(((low + (high - low) * u).clamp(low, high), log_prob))
}

fn poisson(mean: f64, stream: &mut Stream) -> Result<(f64, f64), String> {
    let mean = positive(mean, "mean")?;
    if mean > MOST_POISSON {
        return Err(format!("the mean of a poisson must be at most {MOST_POISSON}, not {mean}"));
    }
    let (mut time, mut k) = (0.0, 0.0);
    loop {
        time -= maths::ln(1.0 - stream.unit());
        if time > mean {
            return Ok((k, k * maths::ln(mean) - mean - libm::lgamma(k + 1.0)));
        }
        k += 1.0;
    }
}

fn choice(args: &Plain, stream: &mut Stream) -> Result<Drawn, String> {
    let items = args.list().filter(|items| !items.is_empty()).ok_or("a choice needs at least one value")?;
    let value = items[stream.below(items.len() as u64) as usize].param();
    let log_prob = -maths::ln(items.len() as f64);
    Ok((value.ok_or("a choice is over numbers, words or vectors")?, Some(log_prob)))
}

fn weighted(args: &Plain, stream: &mut Stream) -> Result<Drawn, String> {
    let items = args.list().unwrap_or_default();
    let weights: Vec<f64> = items.iter().map(|item| arg(item, "weight")).collect::<Result<_, _>>()?;
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return Err("the weights must sum to something above zero".to_owned());
    }
    let mut left = stream.unit() * total;
    let mut chosen = weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
    for (i, weight) in weights.iter().enumerate() {
        if left < *weight {
            chosen = i;
            break;
        }
        left -= weight;
    }
    let value =
        items[chosen].get("value").and_then(Plain::param).ok_or("a choice is over numbers, words or vectors")?;
    Ok((value, Some(maths::ln(weights[chosen] / total))))
}

/// A point `[x, y, z]`, uniform over a region.
pub fn region(args: &Plain, stream: &mut Stream) -> Result<Drawn, String> {
    let centre = args.get("centre").and_then(Plain::numbers).unwrap_or_else(|| vec![0.0; 2]);
    let mut at = [centre[0], centre[1], centre.get(2).copied().unwrap_or(0.0)];
    let mut log_prob = 0.0;
    if let Some(shape) = args.get("box") {
        let (middle, edges) = edges_of(shape)?;
        for (i, edge) in edges.iter().enumerate() {
            at[i] += middle[i] + edge * (stream.unit() - 0.5);
            log_prob -= if *edge > 0.0 { maths::ln(*edge) } else { 0.0 };
        }
    } else {
        let (inner, outer) = match (args.get("disc").and_then(Plain::number), args.get("ring").and_then(Plain::numbers))
        {
            (Some(radius), _) => (0.0, radius),
            (None, Some(radii)) if radii.len() == 2 => (radii[0], radii[1]),
            _ => return Err("a region is a box, a disc or a ring".to_owned()),
        };
        if inner >= outer {
            return Err(format!("the radii of a ring are inverted: {inner} is not below {outer}"));
        }
        let area = outer * outer - inner * inner;
        let radius = libm::sqrt(inner * inner + area * stream.unit());
        let angle = 2.0 * PI * stream.unit();
        at[0] += radius * maths::cos(angle);
        at[1] += radius * maths::sin(angle);
        log_prob = -maths::ln(PI * area);
    }
    Ok((ParamValue::Vector(at.to_vec()), Some(log_prob)))
}

/// Middle and edge lengths of a box, written as edges or as two corners.
fn edges_of(shape: &Plain) -> Result<(Vec<f64>, Vec<f64>), String> {
    if let Some(edges) = shape.numbers() {
        return Ok((vec![0.0; edges.len()], edges));
    }
    let corners: Option<Vec<Vec<f64>>> = shape.list().unwrap_or_default().iter().map(Plain::numbers).collect();
    let Some([low, high]) = corners.as_deref() else {
        return Err("a box is its edge lengths, or two corners".to_owned());
    };
    if low.len() != high.len() || low.iter().zip(high).any(|(low, high)| low > high) {
        return Err(format!("the corners of a box are inverted: {low:?} is not below {high:?}"));
    }
    let pairs = || low.iter().zip(high);
    Ok((pairs().map(|(low, high)| 0.5 * (low + high)).collect(), pairs().map(|(low, high)| high - low).collect()))
}
