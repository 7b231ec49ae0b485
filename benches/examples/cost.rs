//! Draws one case of the renderer's bench again and again, for profilers that count instructions:
//! `cost CASE TIMES` with CASE one of `plain64`, `all64`, `plain128`, `shadows128`,
//! `antialias128`, `all128`, `flows128`.

use std::hint::black_box;

use worldloom_benches::still_life;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::render::{FlowInput, RenderOptions, Renderer, flow};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let times: usize = arguments.next().ok_or("usage: cost CASE TIMES")?.parse()?;
    let three = Channels { normal: false, flow: false, ..Channels::ALL };
    let plain = RenderOptions { shadows: false, antialias: false };
    let (size, options, channels, flows) = match case.as_str() {
        "plain64" => (64, plain, three, false),
        "plain128" => (128, plain, three, false),
        "shadows128" => (128, RenderOptions { shadows: true, ..plain }, three, false),
        "antialias128" => (128, RenderOptions { antialias: true, ..plain }, three, false),
        "all64" => (64, RenderOptions::default(), Channels::ALL, false),
        "all128" => (128, RenderOptions::default(), Channels::ALL, false),
        "flows128" => (128, RenderOptions::default(), Channels::ALL, true),
        _ => return Err("no such case".into()),
    };
    let visuals = still_life::visuals();
    let model = still_life::model();
    let views = [still_life::view(size, size, 0.0), still_life::view(size, size, 0.01)];
    let instants = [still_life::bodies(&visuals, 0.0), still_life::bodies(&visuals, 0.02)];
    let mut pictures = [GBuffer::default(), GBuffer::default()];
    let mut renderer = Renderer::with_options(options);
    for now in (0..2).cycle().take(times) {
        renderer.render(&model, black_box(&instants[now]), &views[now], channels, &mut pictures[now]);
        for (a, b) in [(now, 1 - now), (1 - now, now)] {
            if flows {
                let input =
                    FlowInput { from: &views[a], to: &views[b], from_pixels: &pictures[a], to_pixels: &pictures[b] };
                black_box(flow(&input, &instants[a], &instants[b]));
            }
        }
    }
    Ok(())
}
