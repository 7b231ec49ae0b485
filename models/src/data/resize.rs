//! Pictures at the model's size.

/// `[h, w, 3]` → `[3, height, width]`: the mean of the area that each new pixel covers.
///
/// Sums are in f64 and rounded once, so the result has the same bits everywhere.
pub fn shrink(rgb: &[u8], from: (usize, usize), to: (usize, usize), out: &mut [u8]) {
    let ((h, w), (height, width)) = (from, to);
    debug_assert_eq!(rgb.len(), h * w * 3);
    debug_assert_eq!(out.len(), height * width * 3);
    if (h, w) == (height, width) {
        for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
            for (out, pixel) in plane.iter_mut().zip(rgb.chunks_exact(3)) {
                *out = pixel[channel];
            }
        }
        return;
    }
    let (rows, columns) = (cover(h, height), cover(w, width));
    for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            for (x, out) in row.iter_mut().enumerate() {
                let (mut sum, mut area) = (0.0, 0.0);
                for &(i, part_y) in &rows[y] {
                    for &(j, part_x) in &columns[x] {
                        sum += part_y * part_x * f64::from(rgb[(i * w + j) * 3 + channel]);
                        area += part_y * part_x;
                    }
                }
                *out = (sum / area + 0.5) as u8;
            }
        }
    }
}

/// By new pixel: the old ones under it, and how much of each.
fn cover(from: usize, to: usize) -> Vec<Vec<(usize, f64)>> {
    let ratio = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let (start, end) = (i as f64 * ratio, (i + 1) as f64 * ratio);
            let parts = (start.floor() as usize..(end.ceil() as usize).min(from)).map(|j| {
                let part = end.min((j + 1) as f64) - start.max(j as f64);
                (j, part)
            });
            parts.filter(|(_, part)| *part > 0.0).collect()
        })
        .collect()
}

/// The old index under the centre of new index `i`.
pub fn nearest(i: usize, from: usize, to: usize) -> usize {
    ((2 * i + 1) * from / (2 * to)).min(from - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_averages_four_pixels_and_rounds() {
        let rgb: Vec<u8> = (0..16).flat_map(|i| [i * 10, 255 - i, 7]).collect();
        let mut out = [0; 12];
        shrink(&rgb, (4, 4), (2, 2), &mut out);
        assert_eq!(out[0], 25, "(0 + 10 + 40 + 50) / 4");
        assert_eq!(out[3], 125, "(100 + 110 + 140 + 150) / 4");
        assert_eq!(out[8..], [7; 4]);
    }

    #[test]
    fn odd_ratios_keep_the_mean_and_the_same_size_keeps_the_bytes() {
        let rgb: Vec<u8> = (0..5 * 7 * 3).map(|i| (i * 37 % 251) as u8).collect();
        let mut out = vec![0; 3 * 4 * 3];
        shrink(&rgb, (5, 7), (3, 4), &mut out);
        for channel in 0..3 {
            let old = rgb.iter().skip(channel).step_by(3).map(|v| f64::from(*v)).sum::<f64>() / 35.0;
            let new = out[channel * 12..][..12].iter().map(|v| f64::from(*v)).sum::<f64>() / 12.0;
            assert!((old - new).abs() < 0.5, "channel {channel}: mean {old} became {new}");
        }
        let mut same = vec![0; rgb.len()];
        shrink(&rgb, (5, 7), (5, 7), &mut same);
        assert_eq!(same[0], rgb[0]);
        assert_eq!(same[35], rgb[1]);
    }

    #[test]
    fn enlarging_repeats_pixels() {
        let mut out = [0; 12];
        shrink(&[10, 20, 30], (1, 1), (2, 2), &mut out);
        assert_eq!(out, [10, 10, 10, 10, 20, 20, 20, 20, 30, 30, 30, 30]);
        assert_eq!((0..4).map(|i| nearest(i, 8, 4)).collect::<Vec<_>>(), [1, 3, 5, 7]);
        assert_eq!((0..4).map(|i| nearest(i, 2, 4)).collect::<Vec<_>>(), [0, 0, 1, 1]);
    }
}
