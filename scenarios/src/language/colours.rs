//! Colours by name.

use worldloom_engine::expr::near;

/// The names that a colour may have: CSS's basic ones and a few more, with their values in 8-bit sRGB
/// (CSS Color Module Level 4, section 6.1).
pub const NAMED: [(&str, [u8; 3]); 24] = [
    ("black", [0, 0, 0]),
    ("white", [255, 255, 255]),
    ("gray", [128, 128, 128]),
    ("grey", [128, 128, 128]),
    ("silver", [192, 192, 192]),
    ("red", [255, 0, 0]),
    ("maroon", [128, 0, 0]),
    ("orange", [255, 165, 0]),
    ("gold", [255, 215, 0]),
    ("yellow", [255, 255, 0]),
    ("olive", [128, 128, 0]),
    ("brown", [165, 42, 42]),
    ("tan", [210, 180, 140]),
    ("lime", [0, 255, 0]),
    ("green", [0, 128, 0]),
    ("teal", [0, 128, 128]),
    ("cyan", [0, 255, 255]),
    ("aqua", [0, 255, 255]),
    ("blue", [0, 0, 255]),
    ("navy", [0, 0, 128]),
    ("purple", [128, 0, 128]),
    ("magenta", [255, 0, 255]),
    ("fuchsia", [255, 0, 255]),
    ("pink", [255, 192, 203]),
];

/// The value of a name.
fn named(name: &str) -> Option<[u8; 3]> {
    NAMED.iter().find(|(known, _)| *known == name).map(|(_, rgb)| *rgb)
}

/// The value of a name or of `#rrggbb`, in sRGB from 0 to 1.
pub fn parse(text: &str) -> Option<[f64; 3]> {
    let rgb = match text.strip_prefix('#') {
        None => named(text)?,
        Some(digits) if digits.len() == 6 => {
            let channel = |i: usize| digits.get(i..i + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            [channel(0)?, channel(2)?, channel(4)?]
        }
        Some(_) => return None,
    };
    Some(rgb.map(|c| f64::from(c) / 255.0))
}

/// What to write in place of an unknown name.
pub fn hint(name: &str) -> String {
    match near::near(&name.to_lowercase(), NAMED.iter().map(|(known, _)| *known)).first() {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the names are {}", NAMED.map(|(name, _)| name).join(", ")),
    }
}
