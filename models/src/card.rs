//! The model card of a checkpoint, in the manner of the Hugging Face hub.

use std::fmt::Write as _;

use crate::checkpoint::{CARD, Checkpoint};
use crate::error::Result;
use crate::files::write_text;
use crate::train::Outcome;

/// Writes `README.md`.
pub(crate) fn write(checkpoint: &Checkpoint, outcome: &Outcome) -> Result<()> {
    let config = checkpoint.config();
    let (plan, spec, network) = (&config.plan, &config.model.spec, &config.model.network);
    let mut text =
        String::from("---\nlibrary_name: worldloom\ntags: [world-model, video, diffusion, robotics]\n---\n\n");
    // Writing to a string does not fail.
    let mut line = |content: String| {
        let _ = writeln!(text, "{content}");
    };
    line(format!("# A world model of {}\n", spec.source));
    line(
        "A block-causal space-time diffusion transformer (StDit) that dreams the next frame of a video from the frames \
         before it and the actions, trained by Worldloom.\n"
            .to_owned(),
    );
    line("| | |\n|---|---|".to_owned());
    let cameras: Vec<&str> = spec.cameras.iter().map(|camera| camera.name.as_str()).collect();
    line(format!(
        "| data | {} (BLAKE3 of its description {}) |",
        plan.data,
        &plan.data_digest[..16.min(plan.data_digest.len())]
    ));
    line(format!("| cameras | {} at {}×{} |", cameras.join(", "), spec.width, spec.height));
    line(format!("| rate | {} frames a second (every {} of the dataset's) |", spec.rate(), spec.frame_skip));
    line(format!("| action | {} numbers |", spec.action.len()));
    line(format!("| parameters told | {} |", spec.parameters.len()));
    line(format!("| G-buffer told | {} |", if network.gbuffer > 0 { "yes, and it dreams without" } else { "no" }));
    line(format!(
        "| network | width {}, {} blocks, {} heads, patches of {}, context of {} frames |",
        network.dim, network.depth, network.heads, network.patch, network.context
    ));
    line(format!("| objective | {} |", config.model.objective.name()));
    if let Some(latents) = &config.model.tokenizer {
        let (h, w) = latents.network.grid();
        line(format!("| latents | {w}×{h} of {} channels, by the tokenizer in `tokenizer/` |", network.channels));
    }
    let steps = plan.steps.map_or("?".to_owned(), |steps| steps.to_string());
    line(format!(
        "| training | {} of {steps} steps of {}×{} windows of {} frames, seed {} |",
        outcome.step, plan.config.batch, plan.config.accumulate, plan.config.window, plan.seed
    ));
    line(format!("| held out | {} episodes |", plan.held_out.len()));
    if let Some(score) = &outcome.score {
        line("\n## On held-out episodes\n".to_owned());
        line("PSNR in dB, 4 denoising steps, no G-buffer of the frame to come (of true frames it is told the motion, where the data has it); moving pixels change by more than 12 of 255.\n".to_owned());
        line("| | all pixels | moving pixels |\n|---|---|---|".to_owned());
        line(format!("| next frame | {:.2} | {:.2} |", score.next, score.next_moving));
        line(format!("| copying the frame before | {:.2} | {:.2} |", score.copy, score.copy_moving));
        line(format!("| eighth frame of a dream | {:.2} | {:.2} |", score.dream, score.dream_moving));
        line(format!("| holding the last true frame | | {:.2} |", score.still_moving));
    }
    line("\n## Limits\n".to_owned());
    line(
        "It knows the scenario that it was trained on and nothing else, at the camera and rate above. A dream drifts from \
         the truth with its length; `worldloom eval` measures how fast. It is no evidence of what a real robot will do."
            .to_owned(),
    );
    write_text(&checkpoint.dir().join(CARD), &text)
}
