//! Frames a second of the renderer on one core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use worldloom_benches::still_life;
use worldloom_engine::gbuffer::{Channels, GBuffer};
use worldloom_engine::render::{FlowInput, RenderOptions, Renderer, flow};

/// What is comparable with a renderer that has shadows and multisampling off.
const PLAIN: RenderOptions = RenderOptions { shadows: false, antialias: false };
const THREE: Channels = Channels { colour: true, depth: true, normal: false, instance: true, flow: false };

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("g-buffer of 21 primitives");
    group.throughput(Throughput::Elements(1)).sample_size(40);
    let (model, visuals) = (still_life::model(), still_life::visuals());
    let bodies = still_life::bodies(&visuals, 0.0);
    for (name, size, options, channels) in [
        ("64², colour depth instance, no shadows, no AA", 64, PLAIN, THREE),
        ("64², all but flow", 64, RenderOptions::default(), Channels { flow: false, ..Channels::ALL }),
        ("128², all but flow", 128, RenderOptions::default(), Channels { flow: false, ..Channels::ALL }),
    ] {
        let mut renderer = Renderer::with_options(options);
        let mut out = GBuffer::default();
        let view = still_life::view(size, size, 0.0);
        group.bench_function(name, |b| {
            b.iter(|| {
                renderer.render(&model, black_box(&bodies), &view, channels, &mut out);
                black_box(&out);
            });
        });
    }
    group.bench_function("128², everything with both flows", |b| {
        let mut renderer = Renderer::default();
        let views = [still_life::view(128, 128, 0.0), still_life::view(128, 128, 0.01)];
        let instants = [still_life::bodies(&visuals, 0.0), still_life::bodies(&visuals, 0.02)];
        let mut pictures = [GBuffer::default(), GBuffer::default()];
        let mut now = 0;
        b.iter(|| {
            let before = 1 - now;
            renderer.render(&model, black_box(&instants[now]), &views[now], Channels::ALL, &mut pictures[now]);
            for (a, b) in [(now, before), (before, now)] {
                let input =
                    FlowInput { from: &views[a], to: &views[b], from_pixels: &pictures[a], to_pixels: &pictures[b] };
                black_box(flow(&input, &instants[a], &instants[b]));
            }
            now = before;
        });
    });
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
