//! Meshes and pictures held in memory; what needs a disk is tested in `tests/it/invariants/robots.rs`.

use std::collections::BTreeMap;

use super::Assets;
use crate::maths::{Vec2, Vec3};

/// Coordinates are small whole numbers or halves: single precision holds them to this.
const TOLERANCE: f32 = 1.0e-6;

fn assets(files: &[(&str, Vec<u8>)]) -> Assets {
    let leak = |bytes: &Vec<u8>| -> &'static [u8] { bytes.clone().leak() };
    let memory: BTreeMap<String, &'static [u8]> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), leak(bytes))).collect();
    Assets::new(memory, Vec::new())
}

fn failure(name: &str, bytes: &[u8]) -> String {
    match assets(&[(name, bytes.to_vec())]).mesh(name) {
        Ok(mesh) => panic!("{name} was read as {} triangles", mesh.triangles.len()),
        Err(error) => error.to_string(),
    }
}

const QUAD_OBJ: &str = "
o left
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl red
f 1/1 2/2 3/3 4/4
o right
usemtl blue
f -4/1 -2/3 -1/4
";

#[test]
fn an_obj_gives_a_part_for_each_object_with_its_material() {
    let text = format!("mtllib quad.mtl\n{QUAD_OBJ}");
    let mtl = "newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n";
    let assets = assets(&[("a/quad.obj", text.into_bytes()), ("a/quad.mtl", mtl.into())]);
    let parts = assets.mesh_parts("a/quad.obj").expect("a good file");
    let found: Vec<_> = parts.iter().map(|p| (p.name.as_str(), p.mesh.triangles.len(), p.colour)).collect();
    assert_eq!(found, [("left", 2, Some([1.0, 0.0, 0.0])), ("right", 1, Some([0.0, 0.0, 1.0]))]);
    let merged = assets.mesh("a/quad.obj").expect("a good file");
    assert_eq!((merged.triangles.len(), merged.uvs.len()), (3, 7));
    assert!(merged.normals.iter().all(|n| *n == Vec3::Z), "normals {:?}", merged.normals);
    assert_eq!(merged.uvs[2], Vec2::ONE);
    let read: Vec<String> = assets.files_read().into_iter().map(|file| file.reference).collect();
    assert_eq!(read, ["a/quad.mtl", "a/quad.obj"]);
}

#[test]
fn missing_materials_are_said_not_fatal() {
    let assets = assets(&[("quad.obj", format!("mtllib gone.mtl\n{QUAD_OBJ}").into_bytes())]);
    let parts = assets.mesh_parts("quad.obj").expect("only the colours are missing");
    assert!(parts[0].notes.iter().any(|note| note.contains("gone.mtl")), "{:?}", parts[0].notes);
}

fn binary_stl(triangles: &[[[f32; 3]; 3]]) -> Vec<u8> {
    let mut out = b"solid that is binary".to_vec();
    out.resize(80, b' ');
    out.extend((triangles.len() as u32).to_le_bytes());
    for triangle in triangles {
        out.extend([0; 12]);
        out.extend(triangle.iter().flatten().flat_map(|x| x.to_le_bytes()));
        out.extend([0; 2]);
    }
    out
}

#[test]
fn binary_and_text_stl_give_the_same_mesh() {
    let triangle = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    let text = "solid x\nfacet normal 0 0 0\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n";
    let assets = assets(&[("b.STL", binary_stl(&[triangle])), ("t.stl", text.into())]);
    let (binary, text) = (assets.mesh("b.STL").expect("binary"), assets.mesh("t.stl").expect("text"));
    assert_eq!(binary, text);
    assert_eq!(binary.triangles, [[0, 1, 2]]);
}

#[test]
fn normals_are_smooth_on_a_round_surface_and_sharp_on_a_cube() {
    // A prism of n sides: 12 sides meet at 30°, within the crease angle; 4 sides at 90°, beyond it.
    let prism = |n: u32| {
        let corner = |i: u32, z: f32| {
            let angle = std::f64::consts::TAU * f64::from(i % n) / f64::from(n);
            [crate::maths::cos(angle) as f32, crate::maths::sin(angle) as f32, z]
        };
        let sides = (0..n).flat_map(|i| {
            let [a, b, c, d] = [corner(i, 0.0), corner(i + 1, 0.0), corner(i + 1, 1.0), corner(i, 1.0)];
            [[a, b, c], [a, c, d]]
        });
        let file = binary_stl(&sides.collect::<Vec<_>>());
        assets(&[("p.stl", file)]).mesh("p.stl").expect("a good file")
    };
    let (round, square) = (prism(12), prism(4));
    assert_eq!(round.positions.len(), 24, "a round surface shares its vertices");
    let worst =
        round.positions.iter().zip(&round.normals).map(|(p, n)| p.truncate().dot(n.truncate())).reduce(f32::min);
    assert!(worst > Some(0.99), "normals point outwards: {worst:?}");
    assert_eq!(square.positions.len(), 16, "an edge has a vertex for each side");
}

/// A unit square in glTF's xy plane as a document with one buffer inside.
fn square_gltf(buffer: &str, view_length: usize) -> Vec<u8> {
    format!(
        r#"{{"asset":{{"version":"2.0"}},"scene":0,"scenes":[{{"nodes":[0]}}],
        "nodes":[{{"mesh":0,"translation":[0,2,0],"scale":[2,1,1]}}],
        "meshes":[{{"name":"square","primitives":[{{"attributes":{{"POSITION":0}},"indices":1,"material":0}}]}}],
        "materials":[{{"pbrMetallicRoughness":{{"baseColorFactor":[1,0.2158605,0,1]}}}}],
        "accessors":[{{"bufferView":0,"componentType":5126,"count":4,"type":"VEC3","min":[0,0,0],"max":[1,1,0]}},
                     {{"bufferView":1,"componentType":5123,"count":6,"type":"SCALAR"}}],
        "bufferViews":[{{"buffer":0,"byteLength":{view_length}}},{{"buffer":0,"byteOffset":48,"byteLength":12}}],
        "buffers":[{{"byteLength":60,"uri":"{buffer}"}}]}}"#
    )
    .into_bytes()
}

fn square_bytes() -> Vec<u8> {
    let corners = [[0.0f32, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]];
    let mut bytes: Vec<u8> = corners.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    bytes.extend([0u16, 1, 2, 0, 2, 3].iter().flat_map(|i| i.to_le_bytes()));
    bytes
}

#[test]
fn a_gltf_is_placed_by_its_nodes_and_stands_upright() {
    let assets = assets(&[("m/s.gltf", square_gltf("my%20data.bin", 48)), ("m/my data.bin", square_bytes())]);
    let parts = assets.mesh_parts("m/s.gltf").expect("a good file");
    let mesh = &parts[0].mesh;
    // (x, y, z) of the node's frame scaled by (2, 1, 1) and lifted by 2 along glTF's y, which is our z.
    let high = mesh.positions.iter().copied().reduce(Vec3::max).expect("four corners");
    let low = mesh.positions.iter().copied().reduce(Vec3::min).expect("four corners");
    assert!(low.abs_diff_eq(Vec3::new(0.0, 0.0, 2.0), TOLERANCE), "low {low}");
    assert!(high.abs_diff_eq(Vec3::new(2.0, 0.0, 3.0), TOLERANCE), "high {high}");
    // Its front, glTF's +z, is our −y.
    assert!(mesh.normals.iter().all(|n| n.abs_diff_eq(-Vec3::Y, TOLERANCE)), "normals {:?}", mesh.normals);
    let colour = parts[0].colour.expect("the file gives one");
    // 0.2158605 in linear light is 0.5 (128/255 within a level) in sRGB.
    assert!((colour[1] - 0.5).abs() < 3.0e-3 && colour[0] == 1.0, "colour {colour:?}");
}

#[test]
fn a_gltf_that_reads_outside_its_buffer_is_refused() {
    let inline = "data:application/octet-stream;base64,AAAA";
    assert!(failure("s.gltf", &square_gltf(inline, 48)).contains("3 of 60 bytes"));
    let outside = assets(&[("s.gltf", square_gltf("b.bin", 40)), ("b.bin", square_bytes())]).mesh("s.gltf");
    assert!(outside.expect_err("the view is short").to_string().contains("accessor 0 ends outside its view"));
    let beyond = assets(&[("s.gltf", square_gltf("b.bin", 400)), ("b.bin", square_bytes())]).mesh("s.gltf");
    assert!(beyond.expect_err("the view is long").to_string().contains("ends outside its buffer"));
}

fn square_dae(up: &str, extra: &str) -> Vec<u8> {
    format!(
        r##"<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
        <asset><unit meter="0.01"/><up_axis>{up}</up_axis></asset>
        <library_effects><effect id="paint"><profile_COMMON><technique sid="t"><lambert>
          <diffuse><color>0.2 0.4 0.6 1</color></diffuse></lambert></technique></profile_COMMON></effect></library_effects>
        <library_materials><material id="m"><instance_effect url="#paint"/></material></library_materials>
        <library_geometries><geometry id="g" name="square"><mesh>
          <source id="p"><float_array id="pa" count="12">0 0 0 100 0 0 100 100 0 0 100 0</float_array>
            <technique_common><accessor source="#pa" count="4" stride="3"/></technique_common></source>
          <vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
          <polylist material="sym" count="1"><input semantic="VERTEX" source="#v" offset="0"/>
            <vcount>4</vcount><p>0 1 2 3</p></polylist></mesh></geometry></library_geometries>
        <library_visual_scenes><visual_scene id="s"><node><translate>0 0 50</translate><rotate>0 0 1 90</rotate>
          <instance_geometry url="#g"><bind_material><technique_common>
          <instance_material symbol="sym" target="#m"/></technique_common></bind_material></instance_geometry>
          {extra}</node></visual_scene></library_visual_scenes>
        <scene><instance_visual_scene url="#s"/></scene></COLLADA>"##
    )
    .into_bytes()
}

#[test]
fn a_collada_mesh_is_placed_scaled_and_stood_upright() {
    let assets = assets(&[("z.dae", square_dae("Z_UP", "")), ("y.dae", square_dae("Y_UP", ""))]);
    let parts = assets.mesh_parts("z.dae").expect("a good file");
    assert_eq!((parts.len(), parts[0].colour), (1, Some([0.2, 0.4, 0.6])));
    // Centimetres; a quarter turn about z takes x to y; then lifted by half a metre.
    let bounds = |positions: &[Vec3]| {
        let low = positions.iter().copied().reduce(Vec3::min).expect("four corners");
        (low, positions.iter().copied().reduce(Vec3::max).expect("four corners"))
    };
    let (low, high) = bounds(&parts[0].mesh.positions);
    assert!(low.abs_diff_eq(Vec3::new(-1.0, 0.0, 0.5), TOLERANCE), "low {low}");
    assert!(high.abs_diff_eq(Vec3::new(0.0, 1.0, 0.5), TOLERANCE), "high {high}");
    let (low, high) = bounds(&assets.mesh("y.dae").expect("a good file").positions);
    assert!(low.abs_diff_eq(Vec3::new(-1.0, -0.5, 0.0), TOLERANCE), "low {low}");
    assert!(high.abs_diff_eq(Vec3::new(0.0, -0.5, 1.0), TOLERANCE), "high {high}");
}

#[test]
fn a_collada_node_that_contains_itself_is_refused() {
    let text = String::from_utf8(square_dae("Z_UP", r##"<instance_node url="#loop"/>"##)).expect("text");
    let looped = text.replace("<visual_scene id=\"s\"><node>", "<visual_scene id=\"s\"><node id=\"loop\">");
    assert!(failure("loop.dae", looped.as_bytes()).contains("cycle"));
}

/// Nodes of a fan: each refers twice to the next, so 100 of them would be placed 2¹⁰⁰ times.
const FAN: usize = 100;

#[test]
fn a_fan_of_nodes_ends_with_an_error_instead_of_exponential_time() {
    let link = |i: usize| format!(r##"<instance_node url="#fan{i}"/>"##);
    let fan: String = (0..FAN).map(|i| format!(r#"<node id="fan{i}">{}{}</node>"#, link(i + 1), link(i + 1))).collect();
    let text = String::from_utf8(square_dae("Z_UP", &link(0))).expect("text");
    let text = text
        .replace("<library_visual_scenes>", &format!("<library_nodes>{fan}</library_nodes><library_visual_scenes>"));
    assert!(failure("fan.dae", text.as_bytes()).contains("are placed"));

    let nodes: Vec<String> = (1..=FAN).map(|i| format!(r#"{{"children":[{i},{i}]}}"#)).collect();
    let fan = format!(
        r#"{{"asset":{{"version":"2.0"}},"scene":0,"scenes":[{{"nodes":[0]}}],"nodes":[{},{{}}]}}"#,
        nodes.join(",")
    );
    let found = failure("fan.gltf", fan.as_bytes());
    assert!(found.contains("has two parents"), "{found}");
}

#[test]
fn elements_that_are_read_again_and_again_are_refused() {
    // 5,000 elements, 50,000 times: 2.5·10⁸ to go through, from a file of 2 MB.
    let many = format!(r#"<library_nodes><node id="many">{}</node></library_nodes>"#, "<x/>".repeat(5_000));
    let links = r##"<instance_node url="#many"/>"##.repeat(50_000);
    let text = String::from_utf8(square_dae("Z_UP", &links)).expect("text");
    let text = text.replace("<library_visual_scenes>", &format!("{many}<library_visual_scenes>"));
    let found = failure("often.dae", text.as_bytes());
    assert!(found.contains("repeats its geometry"), "{found}");
}

#[test]
fn a_collada_offset_out_of_reason_is_refused() {
    for offset in ["65", "18446744073709551615", "-1", "x"] {
        let text = String::from_utf8(square_dae("Z_UP", "")).expect("text");
        let text = text.replace("offset=\"0\"", &format!("offset=\"{offset}\""));
        let found = failure("offset.dae", text.as_bytes());
        assert!(found.contains("is not one of 0 to 64"), "{offset}: {found}");
    }
}

#[test]
fn gltf_accessors_of_another_type_stride_or_size_than_their_use_are_refused() {
    let good = String::from_utf8(square_gltf("b.bin", 48)).expect("text");
    let view = r#""bufferView":0,"componentType":5126,"count":4"#;
    let sparse = |count: u64, values: u64| {
        format!(
            r#""componentType":5126,"count":{count},"sparse":{{"count":{values},
            "indices":{{"bufferView":1,"componentType":5123}},"values":{{"bufferView":0}}}}"#
        )
    };
    let cases = [
        // Elements that overlap: the reader would ask for 12 bytes of 4.
        (r#""byteLength":48}"#, r#""byteLength":48,"byteStride":4}"#.to_owned(), "has items of 12 bytes, 4 apart"),
        (r#""type":"VEC3""#, r#""type":"VEC2""#.to_owned(), "which POSITION is not"),
        (r#""componentType":5123"#, r#""componentType":5126"#.to_owned(), "accessor 1"),
        (view, r#""bufferView":0,"componentType":5126,"count":0"#.to_owned(), "accessor 0"),
        // Zeros without a byte behind them.
        (view, sparse(4_000_000_000, 2), "4000000000 values and no bytes"),
        (view, sparse(4, 0), "accessor 0"),
        (view, sparse(4, 5), "replaces 5 of 4 values"),
        (view, sparse(40, 7), "ends outside its view"),
    ];
    for (old, new, expected) in cases {
        let text = good.replacen(old, &new, 1);
        assert_ne!(text, good, "`{old}` is not in the file");
        let found = assets(&[("s.gltf", text.into_bytes()), ("b.bin", square_bytes())]).mesh("s.gltf");
        let found = found.expect_err("a broken file").to_string();
        assert!(found.contains(expected), "{new}: expected `{expected}` in `{found}`");
    }
    // A sparse accessor in order is read: the square's first two corners, the others at zero.
    let few = good.replacen(view, &sparse(4, 2), 1).replacen(r#""indices":1,"#, "", 1);
    let found = assets(&[("s.gltf", few.into_bytes()), ("b.bin", square_bytes())]).mesh("s.gltf");
    assert!(found.expect_err("no area").to_string().contains("has no triangle"));
}

#[test]
fn normals_at_a_vertex_that_very_many_faces_share_take_linear_time() {
    let faces = 200_000u32;
    let corner = |i: u32| {
        let angle = std::f64::consts::TAU * f64::from(i) / f64::from(faces);
        [1000.0 * crate::maths::cos(angle) as f32, 1000.0 * crate::maths::sin(angle) as f32, 0.0]
    };
    let disc: Vec<_> = (0..faces).map(|i| [[0.0, 0.0, 0.0], corner(i), corner((i + 1) % faces)]).collect();
    let started = std::time::Instant::now();
    let mesh = assets(&[("disc.stl", binary_stl(&disc))]).mesh("disc.stl").expect("a good file");
    let took = started.elapsed().as_secs_f64();
    assert!(mesh.normals.iter().all(|n| n.abs_diff_eq(Vec3::Z, TOLERANCE)), "a flat disc has one normal");
    assert!(took < LINEAR_SECS, "{took} s for {faces} faces at one vertex, expected less than {LINEAR_SECS}");
}

/// Averaging over all pairs of 200,000 faces is 4·10¹⁰ steps, which take longer at four a nanosecond.
const LINEAR_SECS: f64 = 8.0;

#[test]
fn broken_meshes_name_the_file_and_the_fault() {
    let cases: [(&str, &[u8], &str); 9] = [
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 nan\nf 1 2 3\n", "vertex 3"),
        ("b.obj", b"v 0 0 0\nf 1 2 3\n", "line 2: index 2, but there are 1"),
        ("c.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "has no triangle"),
        ("d.obj", b"v 0 0\n", "line 1: expected 3 numbers"),
        ("e.obj", b"v 0 0 0\nv 1e9 0 0\nv 0 1 0\nf 1 2 3\n", "vertex 2"),
        ("f.stl", b"neither", "neither binary nor text"),
        ("g.stl", b"solid\nvertex 0 0\n", "line 2"),
        ("h.gltf", b"{}", "not glTF"),
        ("i.msh", b"", "not a mesh format"),
    ];
    for (name, bytes, expected) in cases {
        let found = failure(name, bytes);
        assert!(found.contains(name) && found.contains(expected), "{name}: expected `{expected}` in `{found}`");
    }
    let mut short = binary_stl(&[[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]);
    short.truncate(100);
    assert!(failure("short.stl", &short).contains("short.stl"));
}

#[test]
fn a_picture_that_is_none_is_refused() {
    let error = assets(&[("p.png", b"\x89PNG\r\n\x1a\nrubbish".to_vec())]).picture("p.png");
    assert!(error.expect_err("rubbish").to_string().contains("p.png"));
}

#[test]
fn references_cannot_leave_their_folder() {
    let assets = assets(&[("robots/arm.urdf", Vec::new()), ("robots/meshes/a.stl", Vec::new())]);
    for good in ["robots/arm.urdf", "./robots//arm.urdf", "robots/meshes/../arm.urdf", "robots\\arm.urdf"] {
        assert_eq!(assets.normalise(good).ok().as_deref(), Some("robots/arm.urdf"), "{good}");
    }
    for bad in ["../arm.urdf", "robots/../../arm.urdf", "/etc/passwd", "C:\\arm.urdf", "~/arm.urdf", "", ".", "a\0b"] {
        assert!(assets.read(bad).is_err(), "`{bad}` was read");
    }
    assert_eq!(assets.resolve("robots/arm.urdf", "meshes/a.stl").ok().as_deref(), Some("robots/meshes/a.stl"));
    assert!(assets.resolve("robots/arm.urdf", "../../x.stl").is_err());
    for package in ["package://robots/meshes/a.stl", "package://meshes/a.stl", "package://any/meshes/a.stl"] {
        let found = assets.resolve("robots/arm.urdf", package);
        assert_eq!(found.ok().as_deref(), Some("robots/meshes/a.stl"), "{package}");
    }
    let missing = assets.resolve("robots/arm.urdf", "package://robots/meshes/b.stl");
    assert!(missing.expect_err("not there").to_string().contains("robots/meshes/b.stl"));
}
