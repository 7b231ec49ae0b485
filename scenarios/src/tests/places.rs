//! Every problem of a scenario comes at once, each at its place, whichever step finds it.

use std::sync::Arc;

use worldloom_engine::assets::Assets;

use crate::{Diagnostic, Diagnostics, SampleError, Scenario};

/// A robot whose joint has its limits the wrong way round, on line 4.
const INVERTED: &str = "<robot name=\"bad\">
  <link name=\"base\"/>
  <link name=\"tip\"><inertial><mass value=\"1\"/><inertia ixx=\"1\" iyy=\"1\" izz=\"1\" ixy=\"0\" ixz=\"0\" iyz=\"0\"/></inertial></link>
  <joint name=\"elbow\" type=\"revolute\">
    <parent link=\"base\"/><child link=\"tip\"/>
    <limit lower=\"1\" upper=\"-1\" effort=\"1\" velocity=\"1\"/>
  </joint>
</robot>
";

/// Two mistakes, on lines 2 and 3.
const TWICE: &str = "<robot name=\"two\">
  <link name=\"base\"><inertial><mass value=\"-1\"/></inertial></link>
  <link name=\"tip\"><visual><geometry><sphere/></geometry></visual></link>
  <joint name=\"elbow\" type=\"continuous\"><parent link=\"base\"/><child link=\"tip\"/></joint>
</robot>
";

fn assets() -> Arc<Assets> {
    let mut files = crate::library::assets();
    files.insert("bad.urdf".to_owned(), INVERTED.as_bytes());
    files.insert("twice.urdf".to_owned(), TWICE.as_bytes());
    files.insert("flat.obj".to_owned(), b"v 0 0 0\nv 1 0 0\nf 1 2 9\n");
    Arc::new(Assets::new(files, Vec::new()))
}

/// Every problem of episode 3 under seed 7, as a program that validates finds them.
#[track_caller]
fn all(body: &str) -> Vec<Diagnostic> {
    let assets = assets();
    let found = Scenario::read(&super::file(body), "test.yaml", &[], Some(&assets)).and_then(|scenario| match scenario
        .sample(7, 3, &assets)
    {
        Ok(sampled) => scenario.check(&sampled, 7, 3, &assets),
        Err(SampleError::Invalid { problems, .. }) => Err(problems),
        Err(other) => panic!("{other} in:\n{body}"),
    });
    match found {
        Ok(()) => panic!("no problem in:\n{body}"),
        Err(Diagnostics(found)) => found,
    }
}

fn listed(found: &[Diagnostic]) -> String {
    let line = |p: &Diagnostic| format!("{}:{}:{} {}: {} ({})", p.origin, p.line, p.column, p.path, p.message, p.help);
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What stands around a mistake in a robot, from line 3 on.
fn arm(rest: &str) -> String {
    format!("objects: {{mug: {{sphere: 0.1}}}}\nrobots:\n  arm:\n    urdf: builtin/robots/arm.urdf\n{rest}")
}

#[test]
fn each_problem_is_found_once_and_at_its_place() {
    let ball = |rest: &str| format!("objects: {{ball: {{sphere: 1}}}}\n{rest}");
    // The mistake, its line and column, and words of the message or the suggestion.
    let cases: &[(String, &str, &[&str])] = &[
        // Robots.
        ("robots: {arm: {urdf: nowhere.urdf}}\n".into(), "3:22", &["`nowhere.urdf`", "not found"]),
        (arm("    home: {elbw: 1}\n"), "7:12", &["no joint called `elbw`", "did you mean elbow?"]),
        (arm("    frames: {tool: hnad}\n"), "7:20", &["no link called `hnad`", "hand"]),
        (arm("    controllers: [{joints: [elbow, elbw]}]\n"), "7:36", &["no joint called `elbw`", "elbow"]),
        (
            arm("    controllers: [{joints: [elbow]}, {joints: [elbow]}]\n"),
            "7:39",
            &["joint `elbow` has two controllers"],
        ),
        ("robots: {arm: {urdf: bad.urdf}}\n".into(), "4:3", &["limits are inverted", "test.yaml:3:22"]),
        // Meshes, heightfields, textures.
        ("objects: {hull: {mesh: nowhere.obj}}\n".into(), "3:24", &["`nowhere.obj`", "not found"]),
        ("objects: {hull: {mesh: flat.obj}}\n".into(), "3:24", &["`flat.obj`"]),
        ("objects: {hull: {mesh: {file: nowhere.stl}}}\n".into(), "3:31", &["`nowhere.stl`"]),
        (
            "objects: {hill: {heightfield: {size: [1, 1], heights: [[0, 0], [0, 0, 0]]}}}\n".into(),
            "3:46",
            &["rows of equal length", "[2, 3]"],
        ),
        ("objects: {a: {sphere: 1, texture: {image: none.png}}}\n".into(), "3:43", &["`none.png`", "not found"]),
        ("objects: {a: {sphere: 1, material: {texture: {image: {file: none.png}}}}}\n".into(), "3:61", &["`none.png`"]),
        // Cameras.
        ("cameras: {eye: {fov: 0}}\n".into(), "3:22", &["at least 0.001 rad"]),
        ("cameras: {eye: {fov: 180 deg}}\n".into(), "3:22", &["at most 3.1 rad"]),
        (
            "cameras: {eye: {intrinsics: [0, 0, 32, 32]}}\n".into(),
            "3:17",
            &["focal length must be positive", "fx and fy above 0"],
        ),
        ("cameras: {eye: {mount: table}}\n".into(), "3:24", &["called `table`"]),
        (arm("cameras: {eye: {mount: arm.hnad}}\n"), "7:24", &["called `arm.hnad`", "arm.hand"]),
        (arm("cameras: {eye: {track: arm.hnad, at: [3, 0, 0]}}\n"), "7:24", &["called `arm.hnad`", "arm.hand"]),
        // Drivers.
        (
            arm("    driver: {waypoints: {joints: [[1, 2]], each: 1 s}}\n"),
            "7:35",
            &["2 numbers", "6 channels", "arm.elbow"],
        ),
        (
            arm("    driver: {push_to: {object: mgu, goal: [0, 0, 0]}}\n"),
            "7:32",
            &["called `mgu`", "did you mean mug?"],
        ),
        (
            arm("    driver: {waypoints: {points: [[0, 0, 0]], each: 1, frame: tp}}\n"),
            "7:63",
            &["no frame called `arm.tp`", "arm.tip"],
        ),
        (arm("    driver: {replay: {file: nowhere.csv}}\n"), "7:29", &["`nowhere.csv`", "not found"]),
        (ball("drivers: [{force: {on: bal, value: [0, 0, 1]}}]\n"), "4:24", &["called `bal`", "did you mean ball?"]),
        // Expressions: their names and their types.
        (ball("success: \"height(ball) > 1 and height(bal) > 2\"\n"), "4:39", &["called `bal`", "did you mean ball?"]),
        (ball("success: height(ball)\n"), "4:10", &["needs a truth value, found a number"]),
        (ball("reward: pos(ball)\n"), "4:9", &["needs a number, found a vector"]),
        (ball("terminate: \"height(ball) > 1 and height(ball) > true\"\n"), "4:47", &["`>` needs numbers"]),
        (ball("terminate: \"speed(ball) > hieght(ball)\"\n"), "4:27", &["hieght"]),
        (ball("require: [\"height(ball) > 0\", \"height(ball)\"]\n"), "4:31", &["needs a truth value"]),
        (ball("events: [{when: \"1 + height(ball)\", do: terminate}]\n"), "4:17", &["needs a truth value"]),
        (arm("observation: [pos(mug), joint(arm.elbw)]\n"), "7:31", &["no joint called `arm.elbw`", "arm.elbow"]),
        (arm("require: [\"dist(arm.tpi, mug) > 1 cm\"]\n"), "7:17", &["called `arm.tpi`", "arm.tip"]),
        // Events.
        (
            arm("events: [{at: 1, do: {serial: [{wait: 1}, {kill_motor: arm.elbw}]}}]\n"),
            "7:56",
            &["no joint called `arm.elbw`", "arm.elbow"],
        ),
        (arm("events: [{at: 1, do: {remove: arm.hand}}]\n"), "7:31", &["only objects can be removed"]),
        (
            ball("events: [{at: 1, do: {spawn: {name: new, object: {mesh: nowhere.obj}}}}]\n"),
            "4:57",
            &["`nowhere.obj`"],
        ),
        // Joints.
        (ball("joints: {j: {fixed: true, child: ball, motor: {}}}\n"), "4:40", &["no motor", "revolute and prismatic"]),
        (ball("joints: {j: {revolute: [0, 0, 1], child: ball, parent: ball}}\n"), "4:10", &["ties a body to itself"]),
        (
            "objects: {wall: {sphere: 1, fixed: true}}\njoints: {j: {fixed: true, child: wall}}\n".into(),
            "4:34",
            &["cannot be held by a joint"],
        ),
        // Placement and units.
        ("objects: {a: {sphere: 1, left_of: {of: b, by: 1}}}\n".into(), "3:40", &["no object or robot called `b`"]),
        ("objects: {a: {sphere: 1, at: [1 kg, 0, 0]}}\n".into(), "3:31", &["in kg"]),
        ("objects: {a: {sphere: 1, rotation: [0, 0, 0, 0]}}\n".into(), "3:26", &["rotation"]),
        // Actions.
        (ball("action: [force(ball), force(bal)]\n"), "4:23", &["no body called `bal`", "ball"]),
        ("objects: {wall: {sphere: 1, fixed: true}}\naction: [force(wall)]\n".into(), "4:10", &["`wall` never moves"]),
        // What chance decides.
        (
            "params: {m: {uniform: [0, 0]}}\nobjects: {a: {sphere: 1, mass: $m}}\n".into(),
            "4:32",
            &["above 0 kg, not 0 (in episode 3 of seed 7, where $m is 0)"],
        ),
        (
            "params: {m: {choice: [-1]}}\nobjects: {a: {sphere: 1, mass: \"2 * $m\"}}\n".into(),
            "4:32",
            &["above 0 kg, not -2 (in episode 3 of seed 7, where $m is -1)"],
        ),
        (
            "params: {f: {choice: [nowhere.obj]}}\nobjects: {a: {mesh: $f}}\n".into(),
            "4:21",
            &["(in episode 3 of seed 7, where $f is `nowhere.obj`)"],
        ),
    ];
    let mut wrong = Vec::new();
    for (body, place, words) in cases {
        let found = all(body);
        let [problem] = &found[..] else {
            wrong.push(format!("expected one problem in:\n{body}found:\n{}", listed(&found)));
            continue;
        };
        let at = format!("{}:{}", problem.line, problem.column);
        let text = format!("{} ({})", problem.message, problem.help);
        let line_is_shown = !problem.source_line.is_empty() && problem.length > 0;
        if at != *place || !words.iter().all(|word| text.contains(word)) || !line_is_shown {
            wrong.push(format!("expected {place} with {words:?} in:\n{body}found:\n{}", listed(&found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn twelve_mistakes_of_different_kinds_come_at_once() {
    let body = "\
params: {m: {uniform: [0, 0]}}
objects:
  mug: {box: [0.1, 0.1, 0.1], mass: $m}
  floor: {plane: 5, colour: rad}
  hull: {mesh: nowhere.obj, at: [1, 0, 0]}
  step: {sphere: 1, frictoin: 2}
robots:
  arm:
    urdf: builtin/robots/arm.urdf
    home: {elbw: 0.5}
  two:
    urdf: builtin/robots/arm.urdf
    at: [0, 2, 0]
    driver: {waypoints: {joints: [[1, 2]], each: 1 s}}
  bad: {urdf: bad.urdf}
cameras:
  eye: {intrinsics: [0, 10, 32, 32]}
  nose: {mount: two.nose}
events: [{at: 1 s, do: {kill_motor: two.elbw}}]
success: \"dist(mug, bad.hand) < 1 and height(two.base) > true\"
observation: [pos(hull), pos(cup)]
";
    let found = all(body);
    let places: Vec<String> = found.iter().map(|p| format!("{}:{}:{}", p.origin, p.line, p.column)).collect();
    let expected = [
        "test.yaml:5:37",
        "test.yaml:6:29",
        "test.yaml:7:16",
        "test.yaml:8:21",
        "test.yaml:12:12",
        "test.yaml:16:35",
        "bad.urdf:4:3",
        "test.yaml:19:9",
        "test.yaml:20:17",
        "test.yaml:21:37",
        "test.yaml:22:56",
        "test.yaml:23:30",
    ];
    assert_eq!(places, expected, "found:\n{}", listed(&found));
}

#[test]
fn every_mistake_of_a_robots_file_comes_with_the_others() {
    let found = all("robots: {two: {urdf: twice.urdf}}\nobjects: {a: {sphere: -1}}\nsuccess: joint(two.elbow) > 1\n");
    let places: Vec<String> = found.iter().map(|p| format!("{}:{}", p.origin, p.line)).collect();
    assert_eq!(places, ["twice.urdf:2", "twice.urdf:3", "test.yaml:4"], "found:\n{}", listed(&found));
    assert!(found[..2].iter().all(|p| p.help.contains("test.yaml:3:22")), "found:\n{}", listed(&found));
}

#[test]
fn a_mistake_in_one_part_hides_none_in_another() {
    for (body, expected) in [
        ("objects: {a: {mesh: no.obj, frictoin: 1, texture: {image: no.png}}}\n", "3:21 3:29 3:59"),
        ("objects: {1x: {sphere: 1}, b: {mesh: no.obj}}\n", "3:11 3:38"),
        ("robots: {arm: {urdf: no.urdf, friction: -1}}\nobjects: {a: {sphere: -1, on: b}}\n", "3:22 3:41 4:23 4:31"),
        (
            "objects: {a: {sphere: 1, mass: -1}}\nevents: [{at: x, do: terminate}, {when: a, do: {remove: b}}]\n",
            "3:32 4:15 4:41 4:57",
        ),
        ("params: {m: {uniform: [1, x]}}\nobjects: {a: {mesh: no.obj, mass: $m}}\nreward: pos(c)\n", "3:13 4:21 5:13"),
    ] {
        let found = all(body);
        let places: Vec<String> = found.iter().map(|p| format!("{}:{}", p.line, p.column)).collect();
        assert_eq!(places.join(" "), expected, "in:\n{body}found:\n{}", listed(&found));
    }
}

#[test]
fn what_follows_from_a_mistake_is_not_reported() {
    // Nothing is known of a robot without its file, nor of a body, a joint or a frame that is wrong itself.
    for (body, count) in [
        (
            "robots: {arm: {urdf: no.urdf, home: {elbow: 1}, driver: {push_to: {object: arm.hand, goal: [0, 0, 0]}}}}\ncameras: {eye: {mount: arm.hand}}\nsuccess: \"joint(arm.elbow) > 0 and height(arm.tip) > 0\"\nobservation: [effort(arm)]\n",
            1,
        ),
        (
            "objects: {a: {sphere: -1}, b: {sphere: 1, on: a}}\njoints: {j: {fixed: true, child: a}}\nevents: [{at: 1, do: {break_joint: j}}]\nsuccess: height(a) > 1\naction: [force(a)]\n",
            1,
        ),
        ("objects: {a: {sphere: $size, count: 3}}\nsuccess: height(a2) > 1\n", 1),
        (
            "objects: {a: {sphere: 1}}\nevents: [{name: go, at: -1, do: {spawn: {name: b, object: {sphere: 1}}}}, {after: {event: go, delay: 1}, do: {remove: b}}]\nsuccess: height(b) > 1\n",
            1,
        ),
        (
            "params: {m: {uniform: [2, 1]}}\nobjects: {a: {sphere: 1, mass: $m}}\nsuccess: height(a) > $m\nrequire: [height(a) > $m]\n",
            1,
        ),
    ] {
        let found = all(body);
        assert_eq!(found.len(), count, "in:\n{body}found:\n{}", listed(&found));
    }
}
