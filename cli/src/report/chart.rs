//! Signals as inline SVG: small multiples with a shared time axis and a cursor that follows the video.

use std::fmt::Write as _;

use super::html::escape;
use crate::terminal::three_figures;

/// Width and height of a chart's drawing area and the margins around it, in SVG units.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 96.0;
const LEFT: f64 = 56.0;
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

/// The time axis that the charts of an episode share.
pub struct TimeAxis {
    /// Time of the last frame.
    pub end_secs: f64,
    /// Frames.
    pub frames: u64,
    /// Frame and name of each event.
    pub events: Vec<(u64, String)>,
}

/// A chart with its legend, as an HTML figure. Events are ticks across it, with their names as tooltips.
pub fn chart(title: &str, lines: &[Line], time: &TimeAxis) -> String {
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
    // The middle of a symmetric range is 0, not its rounding error.
    let round = |value: f64| if value.abs() < 1e-3 * (high - low) { 0.0 } else { value };
    let values = [low, 0.5 * (low + high), high];
    for (value, label) in values.iter().copied().zip(tick_labels(values.map(round))) {
        let y = y_of(value);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}h{WIDTH}\"/><text class=\"tick\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 5.0,
            y + 3.5,
            label
        );
    }
    let base = TOP + HEIGHT + 13.0;
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{LEFT}\" y=\"{base}\">0</text><text class=\"tick\" x=\"{}\" y=\"{base}\" text-anchor=\"end\">{} s</text>",
        LEFT + WIDTH,
        three_figures(time.end_secs)
    );
    for (frame, name) in &time.events {
        let x = LEFT + WIDTH * *frame as f64 / time.frames.saturating_sub(1).max(1) as f64;
        let name = escape(name);
        let _ = write!(svg, "<path class=\"event\" d=\"M{x:.1} {TOP}v{HEIGHT}\"><title>{name}</title></path>");
    }
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

/// Labels of the axis with as many decimals as tell them apart, as far as 32 bits do.
fn tick_labels(values: [f64; 3]) -> [String; 3] {
    let differ = |labels: &[String; 3]| labels[0] != labels[1] && labels[1] != labels[2];
    let labels = values.map(three_figures);
    if differ(&labels) {
        return labels;
    }
    let finer = (3..=7).map(|decimals| values.map(|value| format!("{value:.decimals$}")));
    finer.into_iter().find(differ).unwrap_or(labels)
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

    fn time(frames: u64) -> TimeAxis {
        TimeAxis { end_secs: 4.0, frames, events: vec![(frames - 1, "gust".into())] }
    }

    #[test]
    fn labels_of_an_axis_differ_where_its_values_do() {
        let labels = tick_labels([-0.99994, -0.99992, -0.9999]);
        assert_eq!(labels, ["-0.99994", "-0.99992", "-0.99990"]);
        assert_eq!(tick_labels([-1.0, 0.0, 1.0]), ["-1.00", "0.00", "1.00"]);
    }

    #[test]
    fn an_event_is_a_tick_at_its_frame() {
        let html = chart("c", &[Line { name: "c".into(), values: vec![0.0, 1.0, 2.0] }], &time(3));
        assert!(html.contains("d=\"M456.0 8v96\"><title>gust</title>"), "the last frame is at the right: {html}");
    }

    #[test]
    fn a_chart_spans_its_values_and_escapes_names() {
        let lines = [Line { name: "a<b".into(), values: vec![0.0, 1.0, f32::NAN, 2.0] }];
        let html = chart("pos & vel", &lines, &time(4));
        assert!(html.contains("pos &amp; vel") && html.contains("a&lt;b"), "{html}");
        assert!(html.contains("M56.0 104.0"), "the lowest value is at the bottom left: {html}");
        assert!(html.contains("M456.0 8.0"), "the highest value is at the top right, after a gap: {html}");
        assert!(!html.contains("NaN"), "{html}");
    }

    #[test]
    fn a_constant_has_a_finite_axis() {
        let html = chart("flat", &[Line { name: "c".into(), values: vec![3.0; 5] }], &time(5));
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
    }
}
