//! The renderer's labels are exact: checked against an independent f64 idea of rays and motions.

use std::sync::Arc;

use worldloom_engine::gbuffer::{FlowField, GBuffer, SKY};
use worldloom_engine::maths::{Quat, Vec3, rotation_about};
use worldloom_engine::render::{FlowInput, RenderOptions, flow};
use worldloom_engine::scene::{Light, Material, Texture};
use worldloom_engine::state::BodyState;
use worldloom_engine::stream::Stream;
use worldloom_engine::view::View;
use worldloom_engine::visual::{TriMesh, VisualShape};

use crate::stage::{
    P, Stage, along, deepest, dot, entry, gauge, local_ray, look_at, p, pixel_ray, present, rotate, rotate_back,
    straight,
};

/// Rays that pass a silhouette by less than this (metres, at a few metres' distance) may fall on either side: it is
/// about ten roundings of f32.
const SILHOUETTE_M: f64 = 1e-5;
/// Depth error over depth, for rays that dive at least [`DIVE_M`] into the body: a few roundings of f32.
const DEPTH_RELATIVE: f64 = 3e-6;
/// Nearer to the silhouette the error grows without bound, as depth itself does.
const DIVE_M: f64 = 2e-3;
/// Error of a normal's components where the surface is smooth.
const NORMAL: f64 = 2e-4;
/// Error of flow against the analytic motion, pixels.
const FLOW_PX: f64 = 2e-3;

fn primitives() -> Vec<VisualShape> {
    vec![
        VisualShape::Sphere(0.4),
        VisualShape::Box(Vec3::new(0.3, 0.5, 0.2)),
        VisualShape::Ellipsoid(Vec3::new(0.5, 0.3, 0.2)),
        VisualShape::Capsule(0.2, 0.35),
        VisualShape::Cylinder(0.3, 0.4),
        VisualShape::Cone(0.4, 0.35),
    ]
}

fn random_rotation(stream: &mut Stream) -> Quat {
    let mut unit = || stream.uniform(-1.0, 1.0) as f32;
    let axis = Vec3::new(unit(), unit(), unit() + 0.1);
    let axis = axis * (1.0 / axis.dot(axis).sqrt());
    rotation_about(axis, stream.uniform(0.0, 6.0))
}

#[test]
fn primitives_cover_the_pixel_centres_that_rays_do_with_their_depth_and_normal() {
    let mut stream = Stream::new(5, "render test", 0, 0);
    let (mut covered, mut normals) = (0, 0);
    for shape in primitives() {
        for _ in 0..3 {
            let mut stage = Stage::default();
            let mut place = |reach: f64| stream.uniform(-reach, reach) as f32;
            let at = Vec3::new(place(0.3), place(0.3), place(0.3));
            stage.add(shape.clone(), Material::default(), at, random_rotation(&mut stream));
            let view = look_at(Vec3::new(1.5, -2.0, 1.2), Vec3::ZERO, 64, 48, 0.7);
            let out = stage.draw(&view);
            for y in 0..view.height {
                for x in 0..view.width {
                    let pixel = (y * view.width + x) as usize;
                    let d = pixel_ray(&view, x, y);
                    let ray = local_ray(&view, &stage.bodies[0], d);
                    let (depth, t) = deepest(&shape, ray, 0.5, 6.0);
                    let seen = out.instance[pixel];
                    if depth > SILHOUETTE_M {
                        assert_eq!(seen, SKY, "{shape:?} at ({x}, {y}): the ray passes at {depth} m");
                        assert_eq!(out.depth_m[pixel], f32::INFINITY);
                        assert_eq!(out.normal[pixel], [0.0; 3]);
                    }
                    if depth > -SILHOUETTE_M {
                        continue;
                    }
                    covered += 1;
                    assert_eq!(seen, 1, "{shape:?} at ({x}, {y}): the ray dives {} m deep", -depth);
                    if depth > -DIVE_M {
                        continue;
                    }
                    let expected = entry(&shape, ray, 0.5, t);
                    let error = (f64::from(out.depth_m[pixel]) - expected).abs() / expected;
                    assert!(
                        error < DEPTH_RELATIVE,
                        "{shape:?} at ({x}, {y}): depth {} m, expected {expected} m",
                        out.depth_m[pixel]
                    );
                    if let Some(expected) = gradient(&shape, along(ray.0, expected, ray.1)) {
                        normals += 1;
                        let world = rotate(stage.bodies[0].pose.rotation, expected);
                        let expected = rotate_back(view.world_from_camera.rotation, world);
                        let found = out.normal[pixel].map(f64::from);
                        let error = (0..3).map(|i| (found[i] - expected[i]).abs()).fold(0.0, f64::max);
                        assert!(error < NORMAL, "{shape:?} at ({x}, {y}): normal {found:?}, expected {expected:?}");
                    }
                }
            }
        }
    }
    assert!(covered > 3000 && normals > 2000, "only {covered} pixels and {normals} normals were checked");
}

/// Direction of the gauge's gradient by differences; `None` on an edge, where two steps disagree.
fn gradient(shape: &VisualShape, at: P) -> Option<P> {
    let by = |step: f64| {
        let g = [0, 1, 2].map(|axis| {
            let mut ahead = [0.0; 3];
            ahead[axis] = step;
            gauge(shape, along(at, 1.0, ahead)) - gauge(shape, along(at, -1.0, ahead))
        });
        let length = dot(g, g).sqrt();
        g.map(|x| x / length)
    };
    let (fine, coarse) = (by(1e-6), by(1e-3));
    (dot(fine, coarse) > 1.0 - 1e-5).then_some(fine)
}

#[test]
fn the_floor_has_exact_depth_out_to_its_rim_and_is_not_seen_from_below() {
    let mut stage = Stage::default();
    stage.add(VisualShape::Plane(500.0), Material::default(), Vec3::ZERO, Quat::IDENTITY);
    let view = look_at(Vec3::new(0.0, 0.0, 1.5), Vec3::new(3.0, 1.0, 0.9), 96, 96, 1.2);
    let out = stage.draw(&view);
    let mut seen = [0; 2];
    for y in 0..view.height {
        for x in 0..view.width {
            let (o, d) = local_ray(&view, &stage.bodies[0], pixel_ray(&view, x, y));
            let t = -o[2] / d[2];
            let hit = along(o, t, d);
            let reach = hit[0].abs().max(hit[1].abs());
            let pixel = (y * view.width + x) as usize;
            if t > 0.0 && reach < 495.0 {
                seen[0] += 1;
                let found = f64::from(out.depth_m[pixel]);
                // One rounding of a direction of length 1 moves the meeting point by t²/height of it.
                let bound = 3e-6 * t + 3e-7 * t * t / o[2];
                assert!((found - t).abs() < bound, "({x}, {y}): depth {found} m, expected {t} ± {bound} m");
            } else if t < 0.0 || reach > 505.0 {
                seen[1] += 1;
                assert_eq!(out.instance[pixel], SKY, "({x}, {y}): the ray leaves the floor at {reach} m");
            }
        }
    }
    assert!(seen[0] > 3000 && seen[1] > 3000, "floor and sky pixels checked: {seen:?}");
    let below = look_at(Vec3::new(0.0, 0.0, -1.5), Vec3::new(3.0, 1.0, 0.9), 32, 32, 1.2);
    assert!(stage.draw(&below).instance.iter().all(|&id| id == SKY), "the floor hides what is above it from below");
}

#[test]
fn labels_do_not_depend_on_antialiasing_or_shadows_and_edges_are_blended_only_with_it() {
    let mut stage = Stage::default();
    for (i, shape) in primitives().into_iter().enumerate() {
        stage.add(shape, Material::default(), Vec3::new(i as f32 - 2.5, 0.0, 0.0), Quat::IDENTITY);
    }
    let view = look_at(Vec3::new(0.0, -6.0, 2.0), Vec3::ZERO, 120, 40, 0.5);
    let full = stage.draw(&view);
    let plain = stage.draw_with(&view, RenderOptions { shadows: false, antialias: false });
    assert_eq!(full.instance, plain.instance);
    assert_eq!(full.depth_m, plain.depth_m);
    assert_eq!(full.normal, plain.normal);
    let changed = full.colour.chunks(3).zip(plain.colour.chunks(3)).filter(|(a, b)| a != b).count();
    assert!(changed > 100, "anti-aliasing and shadows changed {changed} pixels");
}

/// Vertices of a square [−1, 1]² in z = 0 cut into n × n × 2 triangles.
fn quilt(n: u32) -> TriMesh {
    let mut mesh = TriMesh::default();
    for j in 0..=n {
        for i in 0..=n {
            mesh.positions.push(Vec3::new(2.0 * i as f32 / n as f32 - 1.0, 2.0 * j as f32 / n as f32 - 1.0, 0.0));
        }
    }
    for j in 0..n {
        for i in 0..n {
            let a = j * (n + 1) + i;
            mesh.triangles.push([a, a + 1, a + n + 2]);
            mesh.triangles.push([a, a + n + 2, a + n + 1]);
        }
    }
    mesh
}

/// Pixels of a quilt that fills the picture through which one sees the sky.
fn holes(mesh: TriMesh, rotation: Quat, offset: f32) -> usize {
    let mut stage = Stage::default();
    stage.add(VisualShape::Mesh(Arc::new(mesh)), Material::default(), Vec3::new(offset, offset, 2.0), rotation);
    // One unit is 64 pixels there: with offset ½ pixel, vertices fall on pixel centres.
    let out = stage.draw(&straight(64, 64, 128.0));
    out.instance.iter().filter(|&&id| id == SKY).count()
}

#[test]
fn triangles_that_share_edges_leave_no_hole_even_with_vertices_on_pixel_centres() {
    for n in [1, 7, 32, 64, 128] {
        for (turn, offset) in [(0.0, 0.0), (0.0, 0.5 / 64.0), (0.3, 0.01), (std::f64::consts::FRAC_PI_4, 0.5 / 64.0)] {
            let found = holes(quilt(n), rotation_about(Vec3::Z, turn), offset);
            assert_eq!(found, 0, "{n}² cells turned by {turn} and moved by {offset}: holes");
        }
    }
    // The test would see a hole: one triangle of the 7 × 7 cells taken out.
    let mut torn = quilt(7);
    torn.triangles.remove(48);
    let found = holes(torn, Quat::IDENTITY, 0.0);
    assert!((150..=185).contains(&found), "a missing triangle of 18.3²/2 = 167 pixels leaves {found} holes");
}

#[test]
fn a_mesh_of_a_box_has_the_labels_of_the_box() {
    let half = Vec3::new(0.5, 0.4, 0.3);
    let mut mesh = TriMesh::default();
    for corner in 0..8 {
        let sign = |bit: i32| if corner >> bit & 1 == 1 { 1.0 } else { -1.0 };
        mesh.positions.push(half * Vec3::new(sign(0), sign(1), sign(2)));
    }
    for quad in [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]] {
        mesh.triangles.push([quad[0], quad[1], quad[2]]);
        mesh.triangles.push([quad[0], quad[2], quad[3]]);
    }
    let pose = rotation_about(Vec3::new(0.6, 0.0, 0.8), 0.7);
    let view = look_at(Vec3::new(1.0, -2.5, 1.0), Vec3::ZERO, 80, 60, 0.6);
    let draw = |shape| {
        let mut stage = Stage::default();
        stage.add(shape, Material::default(), Vec3::ZERO, pose);
        stage.draw(&view)
    };
    let (exact, triangles) = (draw(VisualShape::Box(half)), draw(VisualShape::Mesh(Arc::new(mesh))));
    assert_eq!(exact.instance, triangles.instance);
    for (pixel, (a, b)) in exact.depth_m.iter().zip(&triangles.depth_m).enumerate() {
        assert!(a == b || (a - b).abs() < 1e-5 * a, "pixel {pixel}: box {a} m, mesh {b} m");
    }
    for (pixel, (a, b)) in exact.normal.iter().zip(&triangles.normal).enumerate() {
        let same = (0..3).all(|i| (a[i] - b[i]).abs() < 1e-5);
        assert!(same, "pixel {pixel}: box normal {a:?}, mesh normal {b:?}");
    }
}

#[test]
fn what_reaches_behind_the_camera_is_cut_and_a_camera_inside_a_shell_sees_out() {
    let mut stage = Stage::default();
    // A beam from far behind the camera to far ahead, below it.
    stage.add(
        VisualShape::Box(Vec3::new(0.2, 0.1, 50.0)),
        Material::default(),
        Vec3::new(0.0, 0.5, 0.0),
        Quat::IDENTITY,
    );
    let view = straight(64, 64, 32.0);
    let out = stage.draw(&view);
    for y in 0..64 {
        for x in 0..64 {
            let d = pixel_ray(&view, x, y);
            let pixel = (y * 64 + x) as usize;
            // The top of the beam is the plane y = 0.4, |x| ≤ 0.2.
            let t = 0.4 / d[1];
            if t > 0.0 && t < 49.0 && (d[0] * t).abs() < 0.199 {
                let found = f64::from(out.depth_m[pixel]);
                assert!((found - t).abs() < 1e-5 * t, "({x}, {y}): depth {found}, expected {t}");
            }
            if d[1] < -0.01 {
                assert_eq!(out.instance[pixel], SKY, "({x}, {y}) looks up");
            }
        }
    }
    let mut shell = Stage::default();
    shell.add(VisualShape::Sphere(1.0), Material::default(), Vec3::ZERO, Quat::IDENTITY);
    assert!(shell.draw(&view).instance.iter().all(|&id| id == SKY));
}

fn black_and_white(size: f64) -> Material {
    Material {
        colour: [1.0; 3],
        roughness: 1.0,
        metallic: 0.0,
        texture: Some(Texture::Checker { colour: [0.0; 3], size }),
    }
}

/// A light that shines straight down, hard.
fn noon(shadows: bool) -> Light {
    Light { direction: Some([0.3, 0.2, -1.0]), at: None, colour: [1.0; 3], intensity: 0.6, shadows, softness: 0.0 }
}

#[test]
fn checker_squares_of_the_floor_stand_where_perspective_puts_them_and_not_where_affine_would() {
    let mut stage = Stage { lights: vec![noon(true)], ..Stage::default() };
    stage.add(VisualShape::Plane(10.0), black_and_white(0.5), Vec3::ZERO, Quat::IDENTITY);
    let view = look_at(Vec3::new(0.0, -3.0, 2.0), Vec3::ZERO, 128, 128, 0.8);
    let out = stage.draw(&view);
    let hit = |x: u32, y: u32| {
        let (o, d) = local_ray(&view, &stage.bodies[0], pixel_ray(&view, x, y));
        along(o, -o[2] / d[2], d)
    };
    let parity = |q: P| ((q[0] / 0.5).floor() + (q[1] / 0.5).floor()).rem_euclid(2.0) as u32;
    let white = |pixel: usize| u32::from(out.colour[3 * pixel] > 110);
    // Affine texturing would blend the places at the picture's corners linearly.
    let corners = [hit(0, 0), hit(127, 0), hit(0, 127), hit(127, 127)];
    let (mut checked, mut affine_wrong, mut odd) = (0, 0, 0);
    let first = (64, 64);
    let phase = white((first.1 * 128 + first.0) as usize) ^ parity(hit(first.0, first.1));
    for y in 1..127 {
        for x in 1..127 {
            let q = hit(x, y);
            let border = [0, 1].map(|i| (q[i] / 0.5 - (q[i] / 0.5).round()).abs() * 0.5);
            let footprint = [0, 1].map(|i| (hit(x + 1, y)[i] - q[i]).abs() + (hit(x, y + 1)[i] - q[i]).abs());
            if border[0] < footprint[0] || border[1] < footprint[1] {
                continue;
            }
            checked += 1;
            let found = white((y * 128 + x) as usize);
            odd += found;
            assert_eq!(found, parity(q) ^ phase, "({x}, {y}) sees {q:?} of the floor");
            let (s, t) = (f64::from(x) / 127.0, f64::from(y) / 127.0);
            let blend = |a: P, b: P, t: f64| along(a, t, along(b, -1.0, a));
            let affine = blend(blend(corners[0], corners[1], s), blend(corners[2], corners[3], s), t);
            affine_wrong += u32::from(found != parity(affine) ^ phase);
        }
    }
    assert!(checked > 6000 && odd > checked / 4, "checked {checked} pixels, {odd} of them white");
    assert!(affine_wrong > checked / 5, "affine texturing would pass: only {affine_wrong} of {checked} pixels differ");
}

#[test]
fn shadow_falls_exactly_where_the_sun_is_hidden_and_a_wide_sun_softens_its_edge() {
    let draw = |light: Light| {
        let mut stage = Stage { lights: vec![light], ..Stage::default() };
        stage.add(VisualShape::Plane(10.0), Material::default(), Vec3::ZERO, Quat::IDENTITY);
        stage.add(
            VisualShape::Box(Vec3::new(0.3, 0.2, 0.1)),
            Material::default(),
            Vec3::new(0.0, 0.0, 0.9),
            rotation_about(Vec3::Z, 0.5),
        );
        let view = look_at(Vec3::new(0.5, -4.0, 3.0), Vec3::new(0.2, 0.1, 0.2), 96, 96, 0.5);
        (stage.draw_with(&view, RenderOptions { shadows: true, antialias: false }), stage, view)
    };
    let (lit, ..) = draw(noon(false));
    let (hard, stage, view) = draw(noon(true));
    let towards = [-0.3, -0.2, 1.0];
    let shape = &stage.visuals[1].shape;
    let (mut dark, mut bright) = (0, 0);
    for y in 0..view.height {
        for x in 0..view.width {
            let pixel = (y * view.width + x) as usize;
            if hard.instance[pixel] != 1 {
                continue;
            }
            let (o, d) = local_ray(&view, &stage.bodies[0], pixel_ray(&view, x, y));
            let at = along(o, -o[2] / d[2], d);
            let body = &stage.bodies[1];
            let origin = rotate_back(body.pose.rotation, along(at, -1.0, p(body.pose.translation)));
            let (depth, _) = deepest(shape, (origin, rotate_back(body.pose.rotation, towards)), 0.0, 5.0);
            let darkened = hard.colour[3 * pixel] < lit.colour[3 * pixel];
            if depth < -1e-4 {
                dark += 1;
                assert!(darkened, "({x}, {y}) at {at:?} should be in shadow");
            } else if depth > 1e-4 {
                bright += 1;
                assert!(!darkened, "({x}, {y}) at {at:?} should see the sun");
            }
        }
    }
    assert!(dark > 150 && bright > 3000, "{dark} shadowed and {bright} lit pixels were checked");
    // Full shadow is equally dark all over a matt floor, give or take a code.
    let floor = |pixel: &usize| hard.instance[*pixel] == 1;
    let pixels = || (0..hard.instance.len()).filter(floor);
    let darkest = pixels().map(|i| hard.colour[3 * i]).min().unwrap_or(0).saturating_add(2);
    let levels = |out: &GBuffer| {
        pixels().filter(|&i| out.colour[3 * i] < lit.colour[3 * i] && out.colour[3 * i] > darkest).count()
    };
    let (soft, ..) = draw(Light { softness: 0.15, ..noon(true) });
    let (hard_levels, soft_levels) = (levels(&hard), levels(&soft));
    assert_eq!(hard_levels, 0, "a point sun has no penumbra");
    assert!(soft_levels > 150, "a sun of 0.15 rad has a penumbra of {soft_levels} pixels");
}

/// Flow of a stage between two instants.
fn flow_of(stage: &Stage, views: [&View; 2], later: &[BodyState]) -> (FlowField, GBuffer, GBuffer) {
    let from = stage.draw(views[0]);
    let next = Stage { visuals: stage.visuals.clone(), bodies: later.to_vec(), lights: Vec::new() };
    let to = next.draw(views[1]);
    let input = FlowInput { from: views[0], to: views[1], from_pixels: &from, to_pixels: &to };
    (flow(&input, &stage.bodies, later), from, to)
}

#[test]
fn flow_follows_moving_bodies_and_a_moving_camera() {
    let mut stage = Stage::default();
    stage.add(VisualShape::Plane(50.0), Material::default(), Vec3::ZERO, Quat::IDENTITY);
    stage.add(VisualShape::Sphere(0.4), Material::default(), Vec3::new(-0.6, 0.0, 0.5), Quat::IDENTITY);
    stage.add(
        VisualShape::Box(Vec3::splat(0.3)),
        Material::default(),
        Vec3::new(0.6, 0.1, 0.4),
        rotation_about(Vec3::Z, 0.3),
    );
    let mut later = stage.bodies.clone();
    later[1] = present(Vec3::new(-0.55, 0.05, 0.52), Quat::IDENTITY);
    later[2] = present(
        Vec3::new(0.6, 0.1, 0.4),
        rotation_about(Vec3::new(0.0, 0.6, 0.8), 0.2) * stage.bodies[2].pose.rotation,
    );
    let still = look_at(Vec3::new(0.0, -4.0, 1.5), Vec3::new(0.0, 0.0, 0.4), 96, 72, 0.8);
    let moved = look_at(Vec3::new(0.1, -3.9, 1.6), Vec3::new(0.05, 0.0, 0.45), 96, 72, 0.8);
    for to_view in [&still, &moved] {
        let (field, from, to) = flow_of(&stage, [&still, to_view], &later);
        let (mut moving, mut sky, mut matched, mut visible) = (0, 0, 0, 0);
        for y in 0..still.height {
            for x in 0..still.width {
                let pixel = (y * still.width + x) as usize;
                let id = from.instance[pixel];
                let d = pixel_ray(&still, x, y);
                let world = rotate(still.world_from_camera.rotation, d);
                let camera = to_view.world_from_camera;
                let q = if id == SKY {
                    sky += 1;
                    rotate_back(camera.rotation, world)
                } else {
                    let body = usize::from(id) - 1;
                    let at = along(p(still.world_from_camera.translation), f64::from(from.depth_m[pixel]), world);
                    let (a, b) = (stage.bodies[body].pose, later[body].pose);
                    let local = rotate_back(a.rotation, along(at, -1.0, p(a.translation)));
                    let next = along(p(b.translation), 1.0, rotate(b.rotation, local));
                    rotate_back(camera.rotation, along(next, -1.0, p(camera.translation)))
                };
                let [fx, fy, cx, cy] = to_view.intrinsics.map(f64::from);
                let landed = [fx * q[0] / q[2] + cx, fy * q[1] / q[2] + cy];
                let expected = [landed[0] - f64::from(x) - 0.5, landed[1] - f64::from(y) - 0.5];
                let found = field.displacement[pixel].map(f64::from);
                let error = (found[0] - expected[0]).abs().max((found[1] - expected[1]).abs());
                assert!(error < FLOW_PX, "({x}, {y}) on {id}: flow {found:?}, expected {expected:?}");
                moving += u32::from(found[0].abs() + found[1].abs() > 0.1);
                let inside = landed[0] >= 0.0 && landed[1] >= 0.0 && landed[0] < 96.0 && landed[1] < 72.0;
                assert!(inside || field.occluded[pixel], "({x}, {y}) leaves the picture and must be occluded");
                if !field.occluded[pixel] {
                    visible += 1;
                    let target = landed[1] as usize * 96 + landed[0] as usize;
                    matched += u32::from(to.instance[target] == id);
                }
            }
        }
        assert!(moving > 300 && sky > 500, "{moving} moving and {sky} sky pixels were checked");
        assert!(visible > 5500, "of 6912 pixels only {visible} stay visible");
        // A visible point that lands in a pixel with another label is within half a pixel of an outline.
        assert!(matched * 100 > visible * 97, "{matched} of {visible} visible points land on their own instance");
    }
}

#[test]
fn nothing_moves_and_nothing_is_hidden_between_equal_instants() {
    let mut stage = Stage::default();
    stage.add(VisualShape::Plane(50.0), Material::default(), Vec3::ZERO, Quat::IDENTITY);
    stage.add(
        VisualShape::Capsule(0.2, 0.4),
        Material::default(),
        Vec3::new(0.0, 0.0, 0.5),
        rotation_about(Vec3::X, 1.0),
    );
    let view = look_at(Vec3::new(0.0, -4.0, 1.5), Vec3::ZERO, 64, 64, 0.8);
    let (field, ..) = flow_of(&stage, [&view, &view], &stage.bodies);
    assert!(field.displacement.iter().all(|d| *d == [0.0, 0.0]));
    assert!(field.occluded.iter().all(|hidden| !hidden));
    // A camera that slides a hair's breadth sideways hides next to nothing either: slopes are not mistaken for occluders.
    let near = look_at(Vec3::new(0.004, -4.0, 1.5), Vec3::new(0.004, 0.0, 0.0), 64, 64, 0.8);
    let (field, ..) = flow_of(&stage, [&view, &near], &stage.bodies);
    let hidden = field.occluded.iter().filter(|hidden| **hidden).count();
    assert!(hidden < 64 * 64 / 50, "{hidden} of 4096 pixels are called hidden");
}

#[test]
fn an_occluder_hides_exactly_what_it_moves_in_front_of_and_an_absent_body_is_hidden() {
    // A wall 4 m away and a 0.5 m plate 2 m away that moves to the right by 0.25 m.
    let mut stage = Stage::default();
    let wall = VisualShape::Box(Vec3::new(9.0, 9.0, 0.5));
    stage.add(wall, Material::default(), Vec3::new(0.0, 0.0, 4.5), Quat::IDENTITY);
    let plate = VisualShape::Box(Vec3::new(0.25, 0.25, 0.01));
    stage.add(plate, Material::default(), Vec3::new(0.0, 0.0, 2.01), Quat::IDENTITY);
    let mut later = stage.bodies.clone();
    later[1] = present(Vec3::new(0.25, 0.0, 2.01), Quat::IDENTITY);
    let view = straight(96, 96, 96.0);
    let (field, from, _) = flow_of(&stage, [&view, &view], &later);
    let mut hidden = 0;
    for y in 0..96u32 {
        for x in 0..96u32 {
            let pixel = (y * 96 + x) as usize;
            let d = pixel_ray(&view, x, y);
            let covered = |centre: f64| (2.0 * d[0] - centre).abs() < 0.25 && (2.0 * d[1]).abs() < 0.25;
            assert_eq!(from.instance[pixel], if covered(0.0) { 2 } else { 1 });
            let expected = if covered(0.0) { [96.0 * 0.25 / 2.0, 0.0] } else { [0.0, 0.0] };
            let found = field.displacement[pixel].map(f64::from);
            assert!((found[0] - expected[0]).abs() < FLOW_PX && found[1].abs() < FLOW_PX, "({x}, {y}): {found:?}");
            let hides = !covered(0.0) && covered(0.25);
            hidden += u32::from(hides);
            assert_eq!(field.occluded[pixel], hides, "({x}, {y}) on {}", from.instance[pixel]);
        }
    }
    assert_eq!(hidden, 12 * 24, "the plate moves over 12 of its 24 columns' width");
    later[1].present = false;
    let (field, ..) = flow_of(&stage, [&view, &view], &later);
    for (pixel, id) in from.instance.iter().enumerate() {
        assert_eq!(field.occluded[pixel], *id == 2, "pixel {pixel} of {id} after the plate is gone");
    }
}

#[test]
fn the_back_of_a_turning_box_hides_itself() {
    let mut stage = Stage::default();
    stage.add(
        VisualShape::Box(Vec3::splat(0.5)),
        Material::default(),
        Vec3::new(0.0, 0.0, 3.0),
        rotation_about(Vec3::Y, 0.6),
    );
    let mut later = stage.bodies.clone();
    later[0] = present(Vec3::new(0.0, 0.0, 3.0), rotation_about(Vec3::Y, 0.6 - 0.9));
    let view = straight(96, 96, 120.0);
    let (field, from, _) = flow_of(&stage, [&view, &view], &later);
    let (mut checked, mut hidden) = (0, 0);
    for y in 0..96u32 {
        for x in 0..96u32 {
            let pixel = (y * 96 + x) as usize;
            if from.instance[pixel] == SKY {
                continue;
            }
            let d = pixel_ray(&view, x, y);
            let at = d.map(|c| c * f64::from(from.depth_m[pixel]));
            let local = rotate_back(stage.bodies[0].pose.rotation, along(at, -1.0, [0.0, 0.0, 3.0]));
            let next = along([0.0, 0.0, 3.0], 1.0, rotate(later[0].pose.rotation, local));
            // Which face it is on, and whether that face looks at the camera afterwards.
            let axis = (0..3).max_by(|&a, &b| local[a].abs().total_cmp(&local[b].abs())).unwrap_or(0);
            let mut n = [0.0; 3];
            n[axis] = local[axis].signum();
            let facing = dot(rotate(later[0].pose.rotation, n), next) / dot(next, next).sqrt();
            if facing.abs() < 0.05 {
                continue;
            }
            // Points of a hidden face near the edge that it shares with a seen one are hidden by less than the tolerance.
            let from_edge = (0..3).filter(|&i| i != axis).map(|i| 0.5 - local[i].abs()).fold(1.0, f64::min);
            if facing > 0.0 && from_edge < 0.15 {
                continue;
            }
            if facing < 0.0 && from_edge < 0.03 {
                continue;
            }
            checked += 1;
            hidden += u32::from(facing > 0.0);
            assert_eq!(field.occluded[pixel], facing > 0.0, "({x}, {y}) on axis {axis}, cosine {facing}");
        }
    }
    assert!(checked > 800 && hidden > 50, "{checked} pixels checked, {hidden} of them hidden");
}
