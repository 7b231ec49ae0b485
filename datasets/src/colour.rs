//! sRGB to Y'CbCr and back, in integers, so that every machine gives the encoder the same bytes.
//!
//! The matrix is BT.601, limited range, and every stream says so: it is what FFmpeg's scaler, and
//! so OpenCV, imageio and every reader that ignores the tags, assumes, while those who read them
//! get the same colours. Chroma is the mean of 2×2 pixels.
//!
//! `Y = 16 + 219 (0.299 R + 0.587 G + 0.114 B)`, `Cb = 128 + 224 (B − Y')/1.772`,
//! `Cr = 128 + 224 (R − Y')/1.402`, R, G, B in [0, 1] (ITU-R BT.601-7, §2.5), in 16.16 fixed point.
//! Decoding knows BT.601 and BT.709 in both ranges.

/// Rows of 8-bit samples `stride` apart.
pub(crate) struct Plane<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) stride: usize,
}

/// Luma of `[H, W, 3]` pixels into rows `stride` apart.
pub(crate) fn luma(rgb: &[u8], width: usize, out: &mut [u8], stride: usize) {
    for (pixels, row) in rgb.chunks_exact(width * 3).zip(out.chunks_mut(stride)) {
        for (pixel, y) in pixels.chunks_exact(3).zip(row) {
            let [r, g, b] = [i32::from(pixel[0]), i32::from(pixel[1]), i32::from(pixel[2])];
            *y = (16 + ((16829 * r + 33039 * g + 6416 * b + 32768) >> 16)) as u8;
        }
    }
}

/// Chroma of `[H, W, 3]` pixels, W and H even, into two planes of half the size.
pub(crate) fn chroma(rgb: &[u8], width: usize, cb: &mut [u8], cr: &mut [u8], strides: [usize; 2]) {
    let rows = rgb.chunks_exact(width * 6).zip(cb.chunks_mut(strides[0]).zip(cr.chunks_mut(strides[1])));
    for (pair, (cb_row, cr_row)) in rows {
        let (top, bottom) = pair.split_at(width * 3);
        let quads = top.chunks_exact(6).zip(bottom.chunks_exact(6));
        for ((t, b), (cb, cr)) in quads.zip(cb_row.iter_mut().zip(cr_row)) {
            let sum = |c: usize| i32::from(t[c]) + i32::from(t[c + 3]) + i32::from(b[c]) + i32::from(b[c + 3]);
            let [r, g, b] = [sum(0), sum(1), sum(2)];
            *cb = (128 + ((-9714 * r - 19070 * g + 28784 * b + 131_072) >> 18)) as u8;
            *cr = (128 + ((28784 * r - 24103 * g - 4681 * b + 131_072) >> 18)) as u8;
        }
    }
}

/// Which matrix and range a stream says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) bt709: bool,
    pub(crate) full_range: bool,
}

/// Planar Y'CbCr to `[H, W, 3]`. `shift` is the log₂ of the chroma subsampling, across and down.
pub(crate) fn to_rgb(planes: [Plane<'_>; 3], width: usize, height: usize, shift: [u32; 2], matrix: Matrix) -> Vec<u8> {
    // Gains in 16.16: luma, Cr to R, Cb to G, Cr to G, Cb to B.
    let [gain, rv, gu, gv, bu] = match (matrix.bt709, matrix.full_range) {
        (false, false) => [76309, 104_597, 25675, 53279, 132_201],
        (false, true) => [65536, 91881, 22553, 46802, 116_130],
        (true, false) => [76309, 117_489, 13975, 34925, 138_438],
        (true, true) => [65536, 103_206, 12276, 30679, 121_609],
    };
    let black = if matrix.full_range { 0 } else { 16 };
    let [luma, cb, cr] = planes;
    let mut rgb = vec![0; width * height * 3];
    for (y, row) in rgb.chunks_exact_mut(width.max(1) * 3).enumerate() {
        let luma = &luma.bytes[y * luma.stride..];
        let (cb, cr) = (&cb.bytes[(y >> shift[1]) * cb.stride..], &cr.bytes[(y >> shift[1]) * cr.stride..]);
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let l = (i32::from(luma[x]) - black) * gain + 32768;
            let (u, v) = (i32::from(cb[x >> shift[0]]) - 128, i32::from(cr[x >> shift[0]]) - 128);
            let clamp = |value: i32| (value >> 16).clamp(0, 255) as u8;
            pixel[0] = clamp(l + rv * v);
            pixel[1] = clamp(l - gu * u - gv * v);
            pixel[2] = clamp(l + bu * u);
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(rgb: [u8; 3]) -> [u8; 3] {
        let pixels = rgb.repeat(4);
        let (mut y, mut cb, mut cr) = ([0; 4], [0; 1], [0; 1]);
        luma(&pixels, 2, &mut y, 2);
        chroma(&pixels, 2, &mut cb, &mut cr, [1, 1]);
        let planes = [&y[..], &cb, &cr].map(|bytes| Plane { bytes, stride: bytes.len().div_ceil(2) });
        let back = to_rgb(planes, 2, 2, [1, 1], Matrix { bt709: false, full_range: false });
        [back[0], back[1], back[2]]
    }

    #[test]
    fn black_white_and_grey_are_exact() {
        for (grey, luma_code) in [(0u8, 16u8), (255, 235)] {
            let mut y = [0];
            luma(&[grey; 3], 1, &mut y, 1);
            assert_eq!(y[0], luma_code);
            assert_eq!(round_trip([grey; 3]), [grey; 3]);
        }
        for grey in 0..=255 {
            let back = round_trip([grey; 3]);
            assert!(back.iter().all(|c| c.abs_diff(grey) <= 1), "{grey} came back as {back:?}");
        }
    }

    #[test]
    fn colours_come_back_within_the_quantisation_of_limited_range() {
        // A step of Cb is 2.03 levels of blue, and a step of luma 1.16: half of each, rounded.
        const MOST: u8 = 3;
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(15) {
                for b in (0..=255).step_by(15) {
                    let back = round_trip([r, g, b]);
                    let error = [r, g, b].iter().zip(back).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                    assert!(error <= MOST, "{:?} came back as {back:?}", [r, g, b]);
                }
            }
        }
    }
}
