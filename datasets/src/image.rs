//! PNG bytes, fast: the Up filter and fdeflate's one-pass compressor.
//!
//! Labels are smooth or constant down most columns, so that the Up filter turns them into runs of
//! zeros, which fdeflate skips eight bytes at a time. Measured on rendered labels this is several
//! times faster than the adaptive filters, for files of about the same size.

use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Filter, Transformations};

use crate::error::{Error, Result};

/// Sample layout of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One 16-bit channel, big-endian.
    Gray16,
    /// Three 8-bit channels.
    Rgb8,
    /// Three 16-bit channels, big-endian.
    Rgb16,
}

impl Layout {
    fn bytes_per_pixel(self) -> usize {
        match self {
            Self::Gray16 => 2,
            Self::Rgb8 => 3,
            Self::Rgb16 => 6,
        }
    }

    fn png(self) -> (ColorType, BitDepth) {
        match self {
            Self::Gray16 => (ColorType::Grayscale, BitDepth::Sixteen),
            Self::Rgb8 => (ColorType::Rgb, BitDepth::Eight),
            Self::Rgb16 => (ColorType::Rgb, BitDepth::Sixteen),
        }
    }
}

/// PNG bytes of `samples`, `[H, W, C]`.
pub(crate) fn encode(width: u32, height: u32, layout: Layout, samples: &[u8]) -> Result<Vec<u8>> {
    let expected = width as usize * height as usize * layout.bytes_per_pixel();
    if samples.len() != expected {
        return Err(Error::invalid(
            "picture",
            format!("{} bytes for {width}×{height} {layout:?}, expected {expected}", samples.len()),
        ));
    }
    let mut bytes = Vec::with_capacity(expected / 4 + 256);
    let (colour, depth) = layout.png();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Up);
    let write = |mut encoder: png::Writer<_>| {
        encoder.write_image_data(samples)?;
        encoder.finish()
    };
    encoder
        .write_header()
        .and_then(write)
        .map_err(|source| Error::invalid("picture", format!("PNG encoding failed: {source}")))?;
    Ok(bytes)
}

/// A decoded PNG with its samples as stored.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `[H, W, C]`, big-endian if 16-bit.
    pub(crate) samples: Vec<u8>,
}

fn decode(bytes: &[u8], transform: Transformations) -> Result<(Decoded, ColorType, BitDepth), String> {
    /// No picture of a dataset needs more; a forged header must not take the machine down.
    const LARGEST: usize = 1 << 30;
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: LARGEST });
    decoder.set_transformations(transform);
    let mut reader = decoder.read_info().map_err(|source| source.to_string())?;
    let size = reader.output_buffer_size().filter(|size| *size <= LARGEST).ok_or("picture is too large")?;
    let mut samples = vec![0; size];
    let info = reader.next_frame(&mut samples).map_err(|source| source.to_string())?;
    samples.truncate(info.buffer_size());
    Ok((Decoded { width: info.width, height: info.height, samples }, info.color_type, info.bit_depth))
}

/// Samples of a PNG that must have this layout.
pub(crate) fn decode_as(bytes: &[u8], layout: Layout) -> Result<Decoded, String> {
    let (decoded, colour, depth) = decode(bytes, Transformations::IDENTITY)?;
    if (colour, depth) != layout.png() {
        return Err(format!("PNG is {colour:?} {depth:?}, expected {layout:?}"));
    }
    Ok(decoded)
}

/// Any PNG as `[H, W, 3]` 8-bit colour (alpha is dropped).
pub(crate) fn decode_rgb(bytes: &[u8]) -> Result<Decoded, String> {
    let (mut decoded, colour, _) = decode(bytes, Transformations::EXPAND | Transformations::STRIP_16)?;
    let channels = colour.samples();
    if colour != ColorType::Rgb {
        let grey = channels < 3;
        decoded.samples = decoded
            .samples
            .chunks_exact(channels)
            .flat_map(|pixel| if grey { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] })
            .collect();
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn png_bytes_give_back_every_sample() {
        for (layout, pixel) in [(Layout::Gray16, 2), (Layout::Rgb8, 3), (Layout::Rgb16, 6)] {
            let samples: Vec<u8> = (0..7 * 5 * pixel).map(|i| (i * 37 % 251) as u8).collect();
            let decoded = decode_as(&encode(7, 5, layout, &samples).unwrap(), layout).unwrap();
            assert_eq!((decoded.width, decoded.height), (7, 5));
            assert_eq!(decoded.samples, samples, "{layout:?}");
        }
    }

    #[test]
    fn a_cut_png_is_an_error_at_every_length() {
        let bytes = encode(16, 16, Layout::Rgb8, &[9; 16 * 16 * 3]).unwrap();
        // The last 12 bytes are IEND, which a decoder may do without.
        for length in 0..bytes.len() - 12 {
            assert!(decode_as(&bytes[..length], Layout::Rgb8).is_err(), "{length} of {} bytes", bytes.len());
        }
    }
}
