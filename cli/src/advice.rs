//! What is legal in a scene and probably not meant.

use worldloom_engine::scene::{Scene, Trigger};

/// Cameras that the default codec cannot store, one line each.
pub fn cameras(scene: &Scene) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, camera) in &scene.cameras {
        let [width, height] = camera.resolution;
        if width % 2 == 1 || height % 2 == 1 {
            lines.push(format!(
                "cameras.{name}.resolution: {width}×{height} is odd, which video cannot store: make both sides even, or generate with --codec png"
            ));
        }
    }
    lines
}

/// Events that cannot fire, one line each.
pub fn events(scene: &Scene) -> Vec<String> {
    /// Rounding of times on the way from the file.
    const SLACK_SECS: f64 = 1e-9;
    let mut lines = Vec::new();
    let last_secs = scene.engine.steps().saturating_sub(1) as f64 / f64::from(scene.engine.control_rate);
    for (i, event) in scene.events.iter().enumerate() {
        let (key, time) = match event.trigger {
            Trigger::At(time) => ("at", time),
            Trigger::Every(time) => ("every", time),
            Trigger::When(_) | Trigger::After { .. } => continue,
        };
        if time > last_secs + SLACK_SECS {
            lines.push(format!(
                "events[{i}].{key}: `{}` never fires, since {time} s is after the last control step of the episode ({last_secs} s)",
                event_name(scene, i)
            ));
        }
    }
    lines
}

/// The name under which an event is recorded.
pub fn event_name(scene: &Scene, index: usize) -> String {
    scene.events[index].name.clone().unwrap_or_else(|| format!("event{index}"))
}
