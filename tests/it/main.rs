//! The one end-to-end test binary. A test's name is a claim; its message prints expected and measured.

mod cli;
mod contract;
mod determinism;
mod faults;
mod faults_cli;
mod golden;
mod golden_scenes;
mod golden_states;
mod house;
mod hub;
mod invariants;
mod language;
mod messages;
mod models;
mod parity;
mod play;
mod precision;
mod process;
mod program;
mod rig;
mod rollouts;
mod stage;
mod states;
mod synthetic;
mod tidy;
mod tokenizer;
