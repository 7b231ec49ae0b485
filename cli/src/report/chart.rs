//! Signals as inline SVG: small multiples with a shared time axis and a cursor that follows the video.

use std::fmt::Write as _;

use super::html::escape;
use crate::terminal::three_figures;

/// Width and height of a chart's drawing area and the margins around it, in SVG units.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 96.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 16.0;
/// Points drawn of a line: more cannot be seen at this width.
const MOST_POINTS: usize = 300;
/// Lines of one chart: more cannot be told apart.
pub const MOST_LINES: usize = 8;

/// One line of a chart.
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// A value per frame.
    pub values: Vec<f32>,
}

/// A chart with its legend, as an HTML figure. `duration_secs` labels the end of the time axis.
pub fn chart(title: &str, lines: &[Line], duration_secs: f64) -> String {
    let finite = lines.iter().flat_map(|line| line.values.iter().copied()).filter(|value| value.is_finite());
    let (mut low, mut high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        (low, high) = (0.0, 1.0);
    }
    if high - low < 1e-6 * high.abs().max(1.0) {
        // A constant is drawn in the middle.
        let half = 0.5 * low.abs().max(1.0);
        (low, high) = (low - half, high + half);
    }
    let (low, high) = (f64::from(low), f64::from(high));
    let y_of = |value: f64| TOP + HEIGHT * (1.0 - (value - low) / (high - low));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
        LEFT + WIDTH + 6.0,
        TOP + HEIGHT + BOTTOM,
        escape(title)
    );
    for value in [low, 0.5 * (low + high), high] {
        let y = y_of(value);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}h{WIDTH}\"/><text class=\"tick\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 5.0,
            y + 3.5,
            // The middle of a symmetric range is 0, not its rounding error.
            three_figures(if value.abs() < 1e-3 * (high - low) { 0.0 } else { value })
        );
    }
    let base = TOP + HEIGHT + 13.0;
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{LEFT}\" y=\"{base}\">0</text><text class=\"tick\" x=\"{}\" y=\"{base}\" text-anchor=\"end\">{} s</text>",
        LEFT + WIDTH,
        three_figures(duration_secs)
    );
    for (i, line) in lines.iter().take(MOST_LINES).enumerate() {
        let _ = write!(svg, "<path class=\"line c{i}\" d=\"{}\"/>", path(&line.values, y_of));
    }
    let _ = write!(
        svg,
        "<path class=\"cursor\" data-left=\"{LEFT}\" data-width=\"{WIDTH}\" d=\"M{LEFT} {TOP}v{HEIGHT}\"/></svg>"
    );
    let mut legend = String::new();
    for (i, line) in lines.iter().take(MOST_LINES).enumerate() {
        let _ = write!(legend, "<span><i class=\"c{i}\"></i>{}</span>", escape(&line.name));
    }
    if lines.len() > MOST_LINES {
        let _ = write!(legend, "<span>and {} more</span>", lines.len() - MOST_LINES);
    }
    format!(
        "<figure class=\"chart\"><figcaption>{}</figcaption>{svg}<div class=\"legend\">{legend}</div></figure>",
        escape(title)
    )
}

fn path(values: &[f32], y_of: impl Fn(f64) -> f64) -> String {
    let stride = values.len().div_ceil(MOST_POINTS).max(1);
    let last = values.len().saturating_sub(1).max(1) as f64;
    let mut d = String::new();
    let mut pen_up = true;
    let mut indices: Vec<usize> = (0..values.len()).step_by(stride).collect();
    if let Some(end) = values.len().checked_sub(1)
        && indices.last() != Some(&end)
    {
        indices.push(end);
    }
    for i in indices {
        let value = f64::from(values[i]);
        if !value.is_finite() {
            pen_up = true;
            continue;
        }
        let _ = write!(d, "{}{:.1} {:.1}", if pen_up { 'M' } else { 'L' }, LEFT + WIDTH * i as f64 / last, y_of(value));
        pen_up = false;
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_spans_its_values_and_escapes_names() {
        let lines = [Line { name: "a<b".into(), values: vec![0.0, 1.0, f32::NAN, 2.0] }];
        let html = chart("pos & vel", &lines, 4.0);
        assert!(html.contains("pos &amp; vel") && html.contains("a&lt;b"), "{html}");
        assert!(html.contains("M44.0 104.0"), "the lowest value is at the bottom left: {html}");
        assert!(html.contains("M444.0 8.0"), "the highest value is at the top right, after a gap: {html}");
        assert!(!html.contains("NaN"), "{html}");
    }

    #[test]
    fn a_constant_has_a_finite_axis() {
        let html = chart("flat", &[Line { name: "c".into(), values: vec![3.0; 5] }], 1.0);
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
    }
}
