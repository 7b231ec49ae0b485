//! Heights of terrain that is described, not listed: noise and stairs.

use worldloom_engine::stream::Stream;

use crate::tree::Plain;

/// Replaces `noise` or `stairs` of a heightfield by `heights`.
pub fn grow(field: &Plain, stream: &mut Stream) -> Result<Plain, String> {
    let size = field.get("size").cloned().unwrap_or(Plain::Null);
    let [width, depth]: [f64; 2] =
        size.numbers().and_then(|n| n.try_into().ok()).ok_or_else(|| "`size` must be 2 numbers".to_owned())?;
    let number = |of: &Plain, key: &str| of.get(key).and_then(Plain::number).unwrap_or_default();
    let heights = if let Some(noise) = field.get("noise") {
        let hills = Hills {
            feature: number(noise, "size"),
            octaves: number(noise, "octaves") as u32,
            amplitude: number(noise, "amplitude"),
            flat: number(noise, "flat"),
            salt: stream.bits(),
        };
        let cells = noise.get("cells").and_then(Plain::numbers).unwrap_or_default();
        let [columns, rows] = cells[..] else { return Err("`cells` must be 2 numbers".to_owned()) };
        grid(columns as usize + 1, rows as usize + 1, [width, depth], |x, y| hills.height(x, y))
    } else if let Some(stairs) = field.get("stairs") {
        let (steps, rise, run) = (number(stairs, "steps"), number(stairs, "rise"), number(stairs, "run"));
        grid(number(stairs, "cells") as usize + 1, 2, [width, depth], |x, _| {
            if x <= 0.0 { 0.0 } else { rise * libm::ceil(x / run).min(steps) }
        })
    } else {
        return Ok(field.clone());
    };
    Ok(Plain::Map(vec![("size".to_owned(), size), ("heights".to_owned(), heights)]))
}

/// `[rows along y][columns along x]` of a function over a rectangle around the origin.
fn grid(columns: usize, rows: usize, [width, depth]: [f64; 2], height: impl Fn(f64, f64) -> f64) -> Plain {
    let place = |i: usize, n: usize, extent: f64| extent * (i as f64 / (n - 1) as f64 - 0.5);
    let row = |j: usize| {
        let y = place(j, rows, depth);
        Plain::List((0..columns).map(|i| Plain::Number(height(place(i, columns, width), y))).collect())
    };
    Plain::List((0..rows).map(row).collect())
}

/// Fractal value noise: smooth interpolation between random values on lattices of halving size.
struct Hills {
    feature: f64,
    octaves: u32,
    amplitude: f64,
    flat: f64,
    salt: u64,
}

impl Hills {
    fn height(&self, x: f64, y: f64) -> f64 {
        let (mut sum, mut total, mut weight, mut scale) = (0.0, 0.0, 1.0, 1.0 / self.feature);
        for octave in 0..self.octaves {
            sum += weight * self.smooth(x * scale, y * scale, u64::from(octave));
            total += weight;
            weight *= 0.5;
            scale *= 2.0;
        }
        self.amplitude * sum / total * self.fade(x, y)
    }

    /// 0 within the flat radius, 1 from one feature size outside of it.
    fn fade(&self, x: f64, y: f64) -> f64 {
        if self.flat <= 0.0 {
            return 1.0;
        }
        let out = (libm::sqrt(x * x + y * y) - self.flat) / self.feature;
        smoothstep(out.clamp(0.0, 1.0))
    }

    fn smooth(&self, x: f64, y: f64, octave: u64) -> f64 {
        let (x0, y0) = (libm::floor(x), libm::floor(y));
        let (u, v) = (smoothstep(x - x0), smoothstep(y - y0));
        let at = |dx: f64, dy: f64| self.lattice((x0 + dx) as i64, (y0 + dy) as i64, octave);
        let low = at(0.0, 0.0) + u * (at(1.0, 0.0) - at(0.0, 0.0));
        let high = at(0.0, 1.0) + u * (at(1.0, 1.0) - at(0.0, 1.0));
        low + v * (high - low)
    }

    /// A value in [−1, 1) for a lattice point: SplitMix64's finaliser over its coordinates.
    fn lattice(&self, x: i64, y: i64, octave: u64) -> f64 {
        let mut h =
            self.salt ^ (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (y as u64).rotate_left(32) ^ (octave << 58);
        for multiplier in [0xbf58_476d_1ce4_e5b9u64, 0x94d0_49bb_1331_11eb] {
            h = (h ^ (h >> 30)).wrapping_mul(multiplier);
            h ^= h >> 29;
        }
        (h >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0
    }
}

fn smoothstep(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
fn extremes(heights: &Plain) -> (f64, f64) {
    let all = heights.list().unwrap_or_default().iter().filter_map(Plain::numbers).flatten();
    all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), h| (low.min(h), high.max(h)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, Plain)]) -> Plain {
        Plain::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn noise(seed: u64, flat: f64) -> Plain {
        let number = Plain::Number;
        let settings = [("amplitude", 0.2), ("size", 1.0), ("octaves", 3.0), ("flat", flat)];
        let mut settings = settings.map(|(key, value)| (key, number(value))).to_vec();
        settings.push(("cells", Plain::List(vec![number(32.0), number(32.0)])));
        let noise = map(&settings);
        let size = Plain::List(vec![number(8.0), number(8.0)]);
        let mut stream = Stream::new(seed, "terrain", 0, 0);
        let grown = grow(&map(&[("size", size), ("noise", noise)]), &mut stream).expect("legal");
        grown.get("heights").expect("there").clone()
    }

    #[test]
    fn hills_stay_within_their_amplitude_and_differ_by_seed() {
        let (low, high) = extremes(&noise(1, 0.0));
        assert!(low >= -0.2 && high <= 0.2, "{low} to {high}");
        assert!(high - low > 0.1, "hardly any hills: {low} to {high}");
        assert_eq!(noise(1, 0.0), noise(1, 0.0));
        assert_ne!(noise(1, 0.0), noise(2, 0.0));
    }

    #[test]
    fn the_flat_part_is_flat() {
        let heights = noise(3, 1.5);
        let rows = heights.list().expect("rows");
        assert_eq!(rows[16].numbers().expect("numbers")[16], 0.0);
        assert!(extremes(&heights).1 > 0.0);
    }
}
