//! `worldloom play` over plain HTTP: who is let in, and that keys move physics and dreams alike.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::assert_valid;
use crate::models::trained;
use crate::program::{run, worldloom};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world being played; ended when dropped.
struct Play {
    child: Child,
    said: Value,
    host: String,
    token: String,
}

impl Play {
    fn start(args: &[&str]) -> Self {
        let mut command = worldloom(["play"].iter().chain(args).chain(&["--json", "--threads", "2"]));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("worldloom starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut text = String::new();
        for line in &mut lines {
            let line = line.expect("text");
            text += &line;
            if line == "}" {
                break;
            }
        }
        let said: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"));
        assert_valid("play", &said);
        let url = said["url"].as_str().expect("an address").to_owned();
        let (host, token) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("host and token");
        let (host, token) = (host.to_owned(), token.trim_end_matches('/').to_owned());
        assert_eq!(token.len(), 32, "128 bits: {url}");
        Self { child, said, host, token }
    }

    /// Status and body of a request with these headers.
    fn ask_as(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {answer}")), body.to_owned())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.host).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.ask_as(method, &format!("/{}/{path}", self.token), &[("Host", &self.host)], body)
    }

    fn order(&self, order: &Value) {
        assert_eq!(self.ask("POST", "order", &order.to_string()), (204, String::new()), "{order}");
    }

    fn world(&self) -> Value {
        let (status, body) = self.ask("GET", "world", "");
        assert_eq!(status, 200);
        serde_json::from_str(&body).expect("JSON")
    }

    /// The stream of instants.
    fn events(&self) -> TcpStream {
        let mut stream = self.connect();
        let head = format!("GET /{}/events HTTP/1.1\r\nHost: {}\r\n\r\n", self.token, self.host);
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    }

    /// The first instant that `wanted` holds of.
    fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let stream = self.events();
        let began = Instant::now();
        let mut last = String::new();
        for line in BufReader::new(stream).lines() {
            let line = line.expect("a line");
            if let Some(text) = line.strip_prefix("data: ") {
                let instant: Value = serde_json::from_str(text).expect("JSON");
                if wanted(&instant) {
                    return instant;
                }
                last = format!("{} {}", instant["step"], instant["problem"]);
            }
            assert!(began.elapsed() < PATIENCE, "{what} did not come; the last instant was {last}");
        }
        panic!("the stream ended before {what}; the last instant was {last}");
    }

    /// Pictures after `steps` steps of a new episode under these keys, and the instant.
    fn episode(&self, steps: u64, keys: &[&str]) -> (String, Value) {
        // Keys are let go when the last viewer leaves: one stays for the whole episode.
        let watching = self.events();
        let mut first = String::new();
        BufReader::new(&watching).read_line(&mut first).expect("an answer");
        self.order(&json!({"paused": true, "keys": [], "reset": true}));
        self.until("a reset", |now| now["step"] == 0 && now["paused"] == true);
        self.order(&json!({"keys": keys}));
        self.order(&json!({"steps": steps}));
        let now = self.until("the last step", |now| now["step"] == steps || !now["problem"].is_null());
        assert_eq!(now["problem"], Value::Null);
        (now["pictures"][0].as_str().expect("a picture").to_owned(), now)
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the pole of `cart_pole` cannot end the episode.
const ENDLESS: [&str; 4] =
    ["--set", "terminate='joint(cartpole.slide) > 100'", "--set", "cameras.side.resolution=[48,48]"];

#[test]
fn nobody_is_let_in_without_the_token_or_under_another_name() {
    let play = Play::start(&["cart_pole"]);
    let page = format!("/{}/", play.token);
    let host = play.host.as_str();
    let (status, body) = play.ask_as("GET", &page, &[("Host", host)], "");
    assert_eq!(status, 200);
    assert!(body.starts_with("<!doctype html>"), "{body}");
    for outside in ["http://", "https://", "src=\"", "@import", "url("] {
        assert!(!body.contains(outside), "the page fetches something: {outside}");
    }
    let near = format!("/{}0/", &play.token[..31]);
    let other = if near == page { format!("/{}1/", &play.token[..31]) } else { near };
    let elsewhere = format!("/?token={}", play.token);
    let named = [("Host", host)];
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let refused: [(&str, &str, Headers); 9] = [
        ("no token", "/", &named),
        ("no token", "/world", &named),
        ("no token", "/events", &named),
        ("another token", &other, &named),
        ("the token elsewhere", &elsewhere, &named),
        ("another name of this machine", &page, &[("Host", "evil.example")]),
        ("another name with the port", &page, &[("Host", "evil.example:80")]),
        ("no name", &page, &[]),
        ("a page elsewhere", &page, &[("Host", host), ("Origin", "http://evil.example")]),
    ];
    for (why, path, headers) in refused {
        let (status, body) = play.ask_as("GET", path, headers, "");
        assert_eq!((status, body.trim()), (403, "403 Forbidden"), "{why}: {path}");
    }
    let (status, _) = play.ask_as("POST", "/order", &[("Host", host)], "{\"paused\":true}");
    assert_eq!(status, 403);
    let own_origin = format!("http://{host}");
    assert_eq!(play.ask_as("GET", &page, &[("Host", "localhost:1"), ("Origin", &own_origin)], "").0, 200);
    for (method, path, body, expected) in [
        ("GET", "nothing", "", 404),
        ("POST", "world", "", 405),
        ("GET", "order", "", 405),
        ("POST", "order", "{\"fly\":true}", 400),
        ("POST", "order", "not JSON", 400),
        ("POST", "order", "{\"keys\":[]}", 204),
    ] {
        assert_eq!(play.ask(method, path, body).0, expected, "{method} {path} {body}");
    }
    let long = "x".repeat(70_000);
    assert_eq!(play.ask_as("GET", &page, &[("Host", host), ("X-Long", &long[..20_000])], "").0, 431);
    let mut stream = play.connect();
    let head = format!("POST {page}order HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", long.len());
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // After all that it still plays.
    play.until("a step", |now| now["step"].as_u64() > Some(0));
}

#[test]
fn keys_move_physics_and_the_same_keys_move_it_the_same_way() {
    let mut args = vec!["cart_pole", "--seed", "3"];
    args.extend(ENDLESS);
    let play = Play::start(&args);
    assert_eq!((&play.said["kind"], &play.said["world"]), (&json!("physics"), &json!("cart_pole")));
    let world = play.world();
    assert_eq!(world["levers"][0]["name"], "cartpole.slide");
    assert_eq!((&world["levers"][0]["low"], &world["levers"][0]["high"]), (&json!(-20.0), &json!(20.0)));
    assert_eq!(world["levers"][0]["keys"], json!(["ArrowLeft", "ArrowRight"]));
    // It plays by itself, at its rate or as fast as it can.
    let now = play.until("a measured rate", |now| now["step"].as_u64() > Some(5) && now["fps"].as_f64().is_some());
    assert!(now["pictures"][0].as_str().is_some_and(|picture| picture.starts_with("data:image/png;base64,")), "{now}");
    assert_eq!(now["phase"], "physics");
    assert_eq!(now["reward"], 1.0);
    let (still, _) = play.episode(20, &[]);
    let (right, pressed) = play.episode(20, &["ArrowRight"]);
    assert_eq!(pressed["levers"][0]["value"], 20.0, "the action arrives");
    assert!((pressed["total_reward"].as_f64().expect("a sum") - 20.0).abs() < 1e-6, "{pressed}");
    let (left, pressed) = play.episode(20, &["ArrowLeft"]);
    assert_eq!(pressed["levers"][0]["value"], -20.0);
    assert!(still != right && right != left && left != still, "keys do not show");
    assert_eq!(play.episode(20, &["ArrowRight"]).0, right, "the same keys, the same picture");
    play.order(&json!({"seed": 4}));
    let now = play.until("another seed", |now| now["seed"] == 4 && now["step"] == 0);
    assert_eq!((&now["paused"], &now["total_reward"]), (&json!(true), &json!(0.0)));
    assert_ne!(play.episode(20, &["ArrowRight"]).0, right, "another seed, another scene");
    // It goes on, at the speed that was asked for.
    play.order(&json!({"paused": false, "speed": 0.5}));
    play.until("going on", |now| now["step"].as_u64() > Some(22) && now["speed"] == 0.5);
}

#[test]
fn an_episode_that_ends_waits_for_a_reset() {
    let play = Play::start(&["cart_pole", "--set", "terminate='joint(cartpole.slide) > -100'"]);
    let now = play.until("an end", |now| now["terminated"] == true);
    assert_eq!(now["step"], 1);
    play.order(&json!({"steps": 3}));
    play.order(&json!({"speed": 2.0}));
    let now = play.until("an answer", |now| now["speed"] == 2.0);
    assert_eq!((&now["step"], &now["problem"]), (&json!(1), &Value::Null), "it went on");
    play.order(&json!({"reset": true, "paused": true}));
    let now = play.until("a new episode", |now| now["episode"] == 2);
    assert_eq!((&now["step"], &now["terminated"]), (&json!(0), &json!(false)));
}

#[test]
fn keys_move_a_dream_that_goes_on_from_a_recording_or_from_a_scenario() {
    let (shop, _) = trained();
    let (model, data, scenario) = (shop.path("model"), shop.path("data"), shop.path("two_balls.yaml"));
    // So that the little that a model has learned of actions in a few steps shows.
    let strongly = ["--still", "0", "--guidance", "200"];
    let start = ["--data", data.as_str(), "--episode", "1", "--steps", "2"];
    let play = Play::start(&[&[model.as_str()], &start[..], &strongly[..]].concat());
    assert_eq!((&play.said["kind"], &play.said["world"]), (&json!("dream"), &json!("dream of two_balls")));
    assert_eq!(play.said["actions"], json!(["force(red).x", "force(red).y", "force(red).z"]));
    play.until("a dreamed frame", |now| now["phase"] == "dream");
    let (still, _) = play.episode(4, &[]);
    let (pushed, now) = play.episode(4, &["ArrowRight", "KeyA"]);
    assert_eq!(now["phase"], "dream");
    let values: Vec<f64> = (0..3).map(|i| now["levers"][i]["value"].as_f64().expect("a number")).collect();
    assert!(values[0] > 0.0 && values[1] == 0.0 && values[2] < 0.0, "the action arrives: {values:?}");
    assert_ne!(still, pushed, "keys do not show in the dream");
    assert_eq!(play.episode(4, &["ArrowRight", "KeyA"]).0, pushed, "the same keys, the same dream");
    drop(play);
    for mode in ["free", "condition"] {
        let args = [&model, "--scenario", &scenario, "--mode", mode, "--context", "3", "--still", "0", "--steps", "1"];
        let play = Play::start(&args);
        let (_, now) = play.episode(2, &[]);
        assert_eq!(now["phase"], "context", "physics plays the first frames");
        let (still, now) = play.episode(5, &[]);
        assert_eq!(now["phase"], "dream");
        assert_ne!(play.episode(5, &["ArrowUp"]).0, still, "{mode}: keys do not show");
        assert_eq!(play.episode(5, &[]).0, still, "{mode}: the same keys, the same dream");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_130() {
    let mut play = Play::start(&["cart_pole"]);
    let pid = play.child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    assert!(sent.success());
    let began = Instant::now();
    let status = loop {
        if let Some(status) = play.child.try_wait().expect("a child") {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it goes on after Ctrl-C");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
}

#[test]
fn what_cannot_be_played_is_refused_and_says_what_to_do() {
    let (shop, _) = trained();
    let (model, data) = (shop.path("model"), shop.path("data"));
    let fails = |args: &[&str], words: &[&str]| {
        let said = run(["play"].iter().chain(args)).expect(2).stderr;
        for word in words {
            assert!(said.contains(word), "{args:?}: expected `{word}` in\n{said}");
        }
    };
    fails(&[&model], &["--data", "--scenario"]);
    fails(&["cart_pole", "--data", &data], &["is no checkpoint folder"]);
    fails(&["cart_pol"], &["did you mean `cart_pole`"]);
    fails(&[&data, "--data", &data], &["it is no checkpoint"]);
    fails(&[&model, "--data", &data, "--episode", "99"], &["--episode 99", "has 6 episodes"]);
    fails(&[&model, "--data", &data, "--mode", "condition"], &["a recording's G-buffers", "start from a scene"]);
    fails(&[&model, "--data", &data, "--context", "500"], &["the recording has 40 frames", "500"]);
    fails(&[&model, "--scenario", "cart_pole"], &["the model learned the camera `front`", "--camera-map"]);
    let scenario = shop.path("two_balls.yaml");
    fails(
        &[&model, "--scenario", &scenario, "--set", "cameras.front.resolution=[64,32]"],
        &["32 × 32", "64 × 32", "squeezed"],
    );
    fails(&[&model, "--scenario", &scenario, "--set", "engine.control_rate=10 Hz"], &["20 frames a second", "10"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    fails(&["cart_pole", "--port", &port], &["cannot listen on 127.0.0.1", "another --port"]);
}
