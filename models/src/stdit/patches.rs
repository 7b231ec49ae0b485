//! Pictures as tokens and back.

use candle_core::Tensor;

use crate::error::Result;

/// `[B, T, C, H, W]` → `[B, T, N, C·p·p]`: tokens row by row, each with its channels' pixels row by row.
pub fn patchify(pictures: &Tensor, patch: usize) -> Result<Tensor> {
    let (b, t, c, h, w) = pictures.dims5()?;
    let (rows, columns) = (h / patch, w / patch);
    Ok(pictures.reshape(&[b * t, c, rows, patch, columns, patch])?.permute([0, 2, 4, 1, 3, 5])?.reshape((
        b,
        t,
        rows * columns,
        c * patch * patch,
    ))?)
}

/// The inverse of [`patchify`] for pictures of `height` × `width`.
pub fn unpatchify(tokens: &Tensor, patch: usize, height: usize, width: usize) -> Result<Tensor> {
    let (b, t, _, numbers) = tokens.dims4()?;
    let (rows, columns, c) = (height / patch, width / patch, numbers / (patch * patch));
    Ok(tokens
        .reshape(&[b * t, rows, columns, c, patch, patch])?
        .permute([0, 3, 1, 4, 2, 5])?
        .reshape((b, t, c, height, width))?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn a_token_holds_the_pixels_of_its_square_and_goes_back() {
        let (h, w) = (4, 6);
        let count = 2 * 3 * 3 * h * w;
        let pictures = Tensor::arange(0f32, count as f32, &Device::Cpu).unwrap().reshape((2, 3, 3, h, w)).unwrap();
        let tokens = patchify(&pictures, 2).unwrap();
        assert_eq!(tokens.dims(), [2, 3, 6, 12]);
        // Second row, third column of squares of the last frame: rows 2 and 3, columns 4 and 5 of each channel.
        let token: Vec<f32> = tokens.get(1).unwrap().get(2).unwrap().get(5).unwrap().to_vec1().unwrap();
        let first = ((3 + 2) * 3 * h * w) as f32;
        let pixel = |c: usize, y: usize, x: usize| first + (c * h * w + y * w + x) as f32;
        let expected: Vec<f32> =
            (0..3).flat_map(|c| [pixel(c, 2, 4), pixel(c, 2, 5), pixel(c, 3, 4), pixel(c, 3, 5)]).collect();
        assert_eq!(token, expected);
        let back = unpatchify(&tokens, 2, h, w).unwrap();
        let difference = (back - pictures).unwrap().abs().unwrap().sum_all().unwrap();
        assert_eq!(difference.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap(), 0.0);
    }
}
