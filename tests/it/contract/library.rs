//! The library of scenarios: its documentation is true, and every one of them makes an episode.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use worldloom_engine::assets::Assets;
use worldloom_engine::drivers::scripted;
use worldloom_engine::gbuffer::Channels;
use worldloom_engine::physics::PhysicsWorld;
use worldloom_engine::rollout::Rollout;
use worldloom_engine::scene::Scene;
use worldloom_engine::spec::{Channel, VectorSpec};
use worldloom_engine::stream::Stream;
use worldloom_engine::world::World;
use worldloom_scenarios::{Override, Scenario, library};

/// Largest preview, bytes: ten of them are part of every clone.
const MAX_PREVIEW: u64 = 60_000;
/// Episodes whose specs must agree with the header: names and bounds must not depend on what chance decides.
const EPISODES: u64 = 3;
/// Fewest different colours of a picture with anything in it.
const COLOURS: usize = 50;
/// Sections of a header, in this order.
const SECTIONS: [&str; 6] = ["Action space", "Observation space", "Rewards", "Starting state", "Episode end", "Driver"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/library")
}

/// A scenario's file as it stands in the folder.
fn written(name: &str) -> (PathBuf, String) {
    let file = folder().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    (file, text)
}

fn assets() -> Arc<Assets> {
    Arc::new(Assets::new(library::assets(), Vec::new()))
}

fn scene(text: &str, name: &str, overrides: &[Override], index: u64, assets: &Arc<Assets>) -> Arc<Scene> {
    let scenario = Scenario::parse(text, name, overrides).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(scenario.sample(1, index, assets).unwrap_or_else(|error| panic!("{name}: {error}")).scene)
}

fn bound(value: f32) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    // Four decimals; adding 0 turns −0 into 0.
    format!("{}", (f64::from(value) * 1e4).round() / 1e4 + 0.0)
}

/// A space as its table in the header, without the `# ` of the comment.
fn table(what: &str, spec: &VectorSpec) -> Vec<String> {
    if spec.channels.is_empty() {
        return vec![format!("Empty: there is no {what}.")];
    }
    let row = |(i, channel): (usize, &Channel)| {
        let Channel { name, unit, low, high } = channel;
        format!("| {i} | {name} | {} | {} | {unit} |", bound(*low), bound(*high))
    };
    let head = [format!("| num | {what} | low | high | unit |"), "|---|---|---|---|---|".to_owned()];
    head.into_iter().chain(spec.channels.iter().enumerate().map(row)).collect()
}

/// The comment at the top of a file, line by line without `# `.
fn header(text: &str) -> Vec<String> {
    let lines = text.lines().take_while(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim().to_owned()).collect()
}

/// Lines of a section of a header, without blank ones.
fn section(header: &[String], title: &str) -> Vec<String> {
    let title = format!("{title}:");
    let after = header.iter().skip_while(|line| **line != title).skip(1);
    after.take_while(|line| !ends_section(line)).filter(|line| !line.is_empty()).cloned().collect()
}

fn ends_section(line: &str) -> bool {
    line.strip_suffix(':').is_some_and(|title| SECTIONS.contains(&title))
}

/// A text with the tables of its header replaced.
fn with_tables(text: &str, tables: [&[String]; 2]) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let inner = line.trim_start_matches('#').trim();
        if line.starts_with('#') && ends_section(inner) {
            let new = SECTIONS[..2].iter().position(|title| inner.trim_end_matches(':') == *title);
            skipping = new.is_some();
            out.push_str(&format!("{line}\n"));
            if let Some(new) = new {
                tables[new].iter().for_each(|row| out.push_str(&format!("# {row}\n")));
                out.push_str("#\n");
            }
        } else if !skipping || !line.starts_with('#') {
            out.push_str(&format!("{line}\n"));
        }
    }
    out
}

/// `WORLDLOOM_BLESS=1` writes the tables into the files instead of comparing.
#[test]
fn the_tables_in_every_header_are_the_spaces_of_the_world() {
    let assets = assets();
    let mut wrong = Vec::new();
    for entry in library::entries() {
        let (file, text) = written(entry.name);
        let header = header(&text);
        for index in 0..EPISODES {
            let mut world = PhysicsWorld::new(Arc::clone(&assets));
            let scene = scene(&text, entry.name, &[], index, &assets);
            world.reset(&scene).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
            let catalog = world.catalog();
            let tables = [table("action", &catalog.action), table("observation", &catalog.observation.state)];
            if std::env::var_os("WORLDLOOM_BLESS").is_some() && index == 0 {
                let new = with_tables(&text, [&tables[0], &tables[1]]);
                std::fs::write(&file, new).expect("the file can be written");
                break;
            }
            for (title, expected) in SECTIONS.iter().zip(&tables) {
                let found = section(&header, title);
                if found != *expected {
                    let line = found.iter().zip(expected).find(|(a, b)| a != b);
                    let (found, expected, name) = (found.len(), expected.len(), entry.name);
                    wrong.push(format!(
                        "{name}, episode {index}: {title} has {found} lines and should have {expected}; first difference {line:?}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "run this test with WORLDLOOM_BLESS=1:\n{}", wrong.join("\n"));
}

#[test]
fn every_header_has_its_sections_in_order() {
    for entry in library::entries() {
        let header = header(&written(entry.name).1);
        let found: Vec<&str> =
            header.iter().filter(|line| ends_section(line)).map(|line| line.trim_end_matches(':')).collect();
        assert_eq!(found, SECTIONS, "{}", entry.name);
        for title in SECTIONS {
            assert!(!section(&header, title).is_empty(), "{}: `{title}` is empty", entry.name);
        }
    }
}

#[test]
fn a_header_that_differs_from_the_world_is_found() {
    let text = "# A test.\n#\n# Action space:\n# | old |\n#\n# Observation space:\n# | old |\n#\n# Rewards:\n# None.\nname: x\n";
    let tables = [vec!["| a |".to_owned()], vec!["| b |".to_owned()]];
    let new = with_tables(text, [&tables[0], &tables[1]]);
    for (text, expected) in [(text, ["| old |", "| old |"]), (new.as_str(), ["| a |", "| b |"])] {
        let header = header(text);
        let found = SECTIONS.map(|title| section(&header, title));
        assert_eq!([&found[0][..], &found[1][..]], [[expected[0].to_owned()], [expected[1].to_owned()]]);
        assert_eq!(found[2], ["None."]);
    }
    assert!(new.ends_with("\nname: x\n"), "the rest of the file stays: {new}");
}

#[test]
fn every_scenario_makes_a_finite_episode_with_pictures_under_its_own_driver() {
    let assets = assets();
    let short = [Override { path: "engine.duration".to_owned(), value: "0.4 s".to_owned() }];
    for entry in library::entries() {
        let name = entry.name;
        let fail = |error: worldloom_engine::Error| -> ! { panic!("{name}: {error}") };
        let scene = scene(entry.text, name, &short, 0, &assets);
        let mut world = PhysicsWorld::new(Arc::clone(&assets));
        world.reset(&scene).unwrap_or_else(|error| fail(error));
        let mut policy = scripted(&scene, world.catalog(), world.robots(), &assets).unwrap_or_else(|error| fail(error));
        policy.reset(&scene, world.catalog(), Stream::new(1, "policy", 0, 0)).unwrap_or_else(|error| fail(error));
        let mut rollout = Rollout::new(&mut world, &mut *policy, Channels::COLOUR).unwrap_or_else(|error| fail(error));
        let mut frames = 0;
        while let Some(frame) = rollout.next_frame().unwrap_or_else(|error| fail(error)) {
            frames += 1;
            let numbers = frame.observation.iter().chain(&frame.action).chain([&frame.reward]);
            assert!(numbers.clone().all(|x| x.is_finite()), "{name}: {:?}", numbers.collect::<Vec<_>>());
            for body in frame.state.bodies.iter().filter(|body| body.present) {
                assert!(body.pose.translation.is_finite() && body.velocity.is_finite(), "{name}: {body:?}");
            }
            for (camera, view) in frame.views.iter().enumerate() {
                let colours: std::collections::BTreeSet<&[u8]> = view.pixels.colour.chunks_exact(3).collect();
                assert!(colours.len() >= COLOURS, "{name}: camera {camera} shows {} colours", colours.len());
            }
        }
        assert_eq!(frames, scene.engine.steps() + 1, "{name}: frames of an episode that nothing ends");
    }
}

#[test]
fn every_scenario_has_a_small_preview() {
    let readme = std::fs::read_to_string(folder().join("README.md")).expect("the library has a README");
    for entry in library::entries() {
        let file = folder().join(format!("previews/{}.png", entry.name));
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{} is not a PNG", file.display());
        assert!(bytes.len() as u64 <= MAX_PREVIEW, "{} has {} bytes", file.display(), bytes.len());
        let picture = format!("previews/{}.png", entry.name);
        assert!(readme.contains(&picture) && readme.contains(entry.title), "README.md lacks {picture} or its title");
    }
}
