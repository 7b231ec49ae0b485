//! Pictures in a line of text: PNG, then base64.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use indexmap::IndexMap;

use crate::policy::PolicyInput;

/// What each camera sees, by its name.
pub(super) fn by_camera<'a>(input: &PolicyInput<'a>) -> Result<IndexMap<&'a str, String>, String> {
    let cameras = &input.catalog.observation.cameras;
    if input.pictures.len() != cameras.len() {
        return Err(format!("wants pictures of {} cameras, but {} are drawn", cameras.len(), input.pictures.len()));
    }
    let mut out = IndexMap::new();
    for (camera, picture) in cameras.iter().zip(input.pictures) {
        let pixels = &picture.pixels;
        let expected = 3 * pixels.width as usize * pixels.height as usize;
        if pixels.colour.is_empty() || pixels.colour.len() != expected {
            return Err(format!("wants pictures, but the colour of camera `{}` is not drawn", camera.name));
        }
        let mut png = Vec::new();
        // It goes through a pipe once: speed before size.
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Sub)
            .write_image(&pixels.colour, pixels.width, pixels.height, ExtendedColorType::Rgb8)
            .map_err(|error| format!("the picture of camera `{}` cannot be encoded: {error}", camera.name))?;
        out.insert(camera.name.as_str(), base64(&png));
    }
    Ok(out)
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded, "{plain}");
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}
