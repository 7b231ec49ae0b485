//! LeRobot's statistics: min, max, mean, std, count and five quantiles of every feature.
//!
//! Numbers: exact over an episode (quantiles by linear interpolation, numpy's default). Pictures:
//! per channel, scaled to [0, 1], from a 256-bin histogram of at most [`PICTURE_PIXELS`] pixels of
//! every frame; their count is of frames. Over episodes they are merged as LeRobot's own
//! `aggregate_stats` does: means, variances and quantiles weighted by count (so a dataset's
//! quantiles are means of its episodes'), in episode order, in memory that does not grow.
//!
//! Pooled variance (Chan, Golub, LeVeque 1979, eq. 2.1b):
//! `M₂ = M₂ᵃ + M₂ᵇ + δ² nᵃ nᵇ / (nᵃ + nᵇ)`, δ the difference of the means.

use serde_json::{Value, json};

/// Quantiles that LeRobot keeps.
pub(crate) const QUANTILES: [(&str, f64); 5] =
    [("q01", 0.01), ("q10", 0.10), ("q50", 0.50), ("q90", 0.90), ("q99", 0.99)];

/// Names of [`Stats::parts`], in order.
pub(crate) const PARTS: [&str; 9] = ["min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99"];

/// Largest number of pixels of a frame that count in the statistics of pictures.
pub const PICTURE_PIXELS: usize = 4096;

/// Statistics of a feature, by channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stats {
    pub(crate) count: u64,
    pub(crate) min: Vec<f64>,
    pub(crate) max: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    pub(crate) std: Vec<f64>,
    pub(crate) quantiles: [Vec<f64>; 5],
}

impl Stats {
    /// Of `values`, `[rows, channels]`.
    pub(crate) fn of_rows(values: &[f64], channels: usize) -> Self {
        let rows = values.len() / channels.max(1);
        let mut stats = Self::empty(rows as u64);
        let mut column = Vec::with_capacity(rows);
        for channel in 0..channels {
            column.clear();
            column.extend(values.iter().skip(channel).step_by(channels));
            let mean = column.iter().sum::<f64>() / rows as f64;
            let variance = column.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / rows as f64;
            column.sort_unstable_by(f64::total_cmp);
            stats.min.push(column[0]);
            stats.max.push(column[rows - 1]);
            stats.mean.push(mean);
            stats.std.push(variance.sqrt());
            for (quantile, (_, q)) in stats.quantiles.iter_mut().zip(QUANTILES) {
                let place = q * (rows - 1) as f64;
                let (below, part) = (place.floor() as usize, place - place.floor());
                let above = (below + 1).min(rows - 1);
                quantile.push(column[below] + (column[above] - column[below]) * part);
            }
        }
        stats
    }

    fn empty(count: u64) -> Self {
        let none = Vec::new;
        Self {
            count,
            min: none(),
            max: none(),
            mean: none(),
            std: none(),
            quantiles: [none(), none(), none(), none(), none()],
        }
    }

    /// All parts by LeRobot's names, without the count.
    pub(crate) fn parts(&self) -> [(&'static str, &Vec<f64>); 9] {
        let [q01, q10, q50, q90, q99] = &self.quantiles;
        let values = [&self.min, &self.max, &self.mean, &self.std, q01, q10, q50, q90, q99];
        std::array::from_fn(|i| (PARTS[i], values[i]))
    }

    /// As 27 numbers, part by part (pictures have three channels).
    pub(crate) fn flatten(&self) -> Vec<f64> {
        self.parts().iter().flat_map(|(_, values)| values.iter().copied()).collect()
    }

    /// Reads what [`Stats::flatten`] wrote.
    pub(crate) fn unflatten(count: u64, flat: &[f64]) -> Option<Self> {
        if flat.len() != 27 {
            return None;
        }
        let part = |i: usize| flat[3 * i..3 * i + 3].to_vec();
        let quantiles = [part(4), part(5), part(6), part(7), part(8)];
        Some(Self { count, min: part(0), max: part(1), mean: part(2), std: part(3), quantiles })
    }

    /// As in `stats.json`; pictures have shape `(C, 1, 1)`.
    pub(crate) fn json(&self, picture: bool) -> Value {
        let mut object = serde_json::Map::new();
        for (name, values) in self.parts() {
            let value = if picture { values.iter().map(|v| json!([[v]])).collect() } else { json!(values) };
            object.insert(name.to_owned(), value);
        }
        object.insert("count".to_owned(), json!([self.count]));
        Value::Object(object)
    }
}

/// Merges the statistics of episodes as they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    count: f64,
    total: u64,
    parts: Option<Pooled>,
}

#[derive(Clone, Debug)]
struct Pooled {
    min: Vec<f64>,
    max: Vec<f64>,
    mean: Vec<f64>,
    m2: Vec<f64>,
    quantiles: [Vec<f64>; 5],
}

impl Pool {
    pub(crate) fn add(&mut self, stats: &Stats) {
        let n = stats.count as f64;
        let Some(pooled) = &mut self.parts else {
            self.parts = Some(Pooled {
                min: stats.min.clone(),
                max: stats.max.clone(),
                mean: stats.mean.clone(),
                m2: stats.std.iter().map(|s| s * s * n).collect(),
                quantiles: stats.quantiles.clone(),
            });
            (self.count, self.total) = (n, stats.count);
            return;
        };
        let all = self.count + n;
        for c in 0..stats.mean.len() {
            pooled.min[c] = pooled.min[c].min(stats.min[c]);
            pooled.max[c] = pooled.max[c].max(stats.max[c]);
            let delta = stats.mean[c] - pooled.mean[c];
            pooled.m2[c] += stats.std[c] * stats.std[c] * n + delta * delta * self.count * n / all;
            pooled.mean[c] += delta * n / all;
            for (pooled, new) in pooled.quantiles.iter_mut().zip(&stats.quantiles) {
                pooled[c] += (new[c] - pooled[c]) * n / all;
            }
        }
        self.count = all;
        self.total += stats.count;
    }

    pub(crate) fn stats(&self) -> Option<Stats> {
        self.parts.as_ref().map(|pooled| Stats {
            count: self.total,
            min: pooled.min.clone(),
            max: pooled.max.clone(),
            mean: pooled.mean.clone(),
            std: pooled.m2.iter().map(|m2| (m2 / self.count).max(0.0).sqrt()).collect(),
            quantiles: pooled.quantiles.clone(),
        })
    }
}

/// Gathers the statistics of an episode's pictures.
pub(crate) struct PictureStats {
    bins: Box<[[u64; 256]; 3]>,
    frames: u64,
}

impl PictureStats {
    pub(crate) fn new() -> Self {
        Self { bins: Box::new([[0; 256]; 3]), frames: 0 }
    }

    pub(crate) fn add(&mut self, rgb: &[u8], width: usize, height: usize) {
        let mut step = 1;
        while width.div_ceil(step) * height.div_ceil(step) > PICTURE_PIXELS {
            step += 1;
        }
        for row in rgb.chunks_exact((width * 3).max(1)).step_by(step) {
            for pixel in row.chunks_exact(3).step_by(step) {
                for (bins, value) in self.bins.iter_mut().zip(pixel) {
                    bins[usize::from(*value)] += 1;
                }
            }
        }
        self.frames += 1;
    }

    /// `None` if there was no picture.
    pub(crate) fn stats(&self) -> Option<Stats> {
        let mut stats = Stats::empty(self.frames);
        for bins in self.bins.iter() {
            let total: u64 = bins.iter().sum();
            if total == 0 {
                return None;
            }
            let n = total as f64;
            let seen = |(i, count): (usize, &u64)| (*count > 0).then_some(i as f64 / 255.0);
            let moment = |f: &dyn Fn(f64) -> f64| -> f64 {
                bins.iter().enumerate().map(|(i, count)| f(i as f64 / 255.0) * *count as f64).sum::<f64>() / n
            };
            let mean = moment(&|v| v);
            let variance = moment(&|v| (v - mean) * (v - mean));
            stats.min.push(bins.iter().enumerate().find_map(seen).unwrap_or(0.0));
            stats.max.push(bins.iter().enumerate().rev().find_map(seen).unwrap_or(0.0));
            stats.mean.push(mean);
            stats.std.push(variance.sqrt());
            for (quantile, (_, q)) in stats.quantiles.iter_mut().zip(QUANTILES) {
                let place = (q * (total - 1) as f64) as u64;
                let mut below = 0;
                let value = bins.iter().position(|count| {
                    below += count;
                    below > place
                });
                quantile.push(value.unwrap_or(255) as f64 / 255.0);
            }
        }
        Some(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of sums of a few hundred doubles.
    const TOLERANCE: f64 = 1e-12;

    fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= TOLERANCE * (1.0 + a.abs()))
    }

    #[test]
    fn statistics_of_rows_are_numpys() {
        // numpy: a = arange(10)**2 / 7 beside -arange(10); a.std(0), quantile(a, q, 0)
        let values: Vec<f64> = (0..10).flat_map(|i| [f64::from(i * i) / 7.0, -f64::from(i)]).collect();
        let stats = Stats::of_rows(&values, 2);
        assert!(near(&stats.mean, &[28.5 / 7.0, -4.5]), "{stats:?}");
        assert!(near(&stats.std, &[(721.05f64).sqrt() / 7.0, (8.25f64).sqrt()]), "{stats:?}");
        assert!(near(&stats.quantiles[0], &[0.09 / 7.0, -8.91]), "{stats:?}");
        assert!(near(&stats.quantiles[2], &[20.5 / 7.0, -4.5]), "{stats:?}");
        assert!(near(&stats.max, &[81.0 / 7.0, 0.0]), "{stats:?}");
    }

    #[test]
    fn pooled_mean_and_std_equal_those_of_all_rows_together() {
        let rows: Vec<f64> = (0..97).map(|i| f64::from((i * 37) % 101) / 3.0).collect();
        let mut pool = Pool::default();
        for part in [&rows[..10], &rows[10..11], &rows[11..]] {
            pool.add(&Stats::of_rows(part, 1));
        }
        let (pooled, whole) = (pool.stats().unwrap(), Stats::of_rows(&rows, 1));
        assert_eq!(pooled.count, 97);
        for (a, b) in [(&pooled.mean, &whole.mean), (&pooled.std, &whole.std), (&pooled.min, &whole.min)] {
            assert!(near(a, b), "pooled {a:?}, together {b:?}");
        }
    }

    #[test]
    fn picture_statistics_are_those_of_the_pixels() {
        let mut gathered = PictureStats::new();
        let rgb: Vec<u8> = (0..16u8).flat_map(|i| [i, 255 - i, 128]).collect();
        gathered.add(&rgb, 4, 4);
        let stats = gathered.stats().unwrap();
        assert_eq!(stats.count, 1);
        assert!(near(&stats.mean, &[7.5 / 255.0, 247.5 / 255.0, 128.0 / 255.0]), "{stats:?}");
        assert!(near(&stats.min, &[0.0, 240.0 / 255.0, 128.0 / 255.0]), "{stats:?}");
        assert_eq!(Stats::unflatten(1, &stats.flatten()).unwrap(), stats);
        assert!(PictureStats::new().stats().is_none());
    }
}
