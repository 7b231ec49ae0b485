//! `worldloom schema`: JSON Schemas (2020-12) of what goes in and what comes out.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::args::{SchemaArgs, SchemaOf};
use crate::failure::{Failure, Outcome};
use crate::terminal;

/// Runs the command.
pub fn run(args: &SchemaArgs) -> Outcome {
    terminal::print_json(&schema(args.of)?)
}

fn schema(of: SchemaOf) -> Outcome<Value> {
    match of {
        SchemaOf::Scenario => Ok(worldloom_scenarios::schema()),
        SchemaOf::Generate => output::<crate::generate::Generated>(),
        SchemaOf::Validate => output::<crate::validate::Validation>(),
        SchemaOf::Draws => output::<crate::sample::Draws>(),
        SchemaOf::Inspect => output::<crate::inspect::Inspection>(),
        SchemaOf::Replay => output::<crate::replay::Replayed>(),
        SchemaOf::Merge => output::<crate::merge::Merged>(),
        SchemaOf::Report => output::<crate::report::Reported>(),
        SchemaOf::List => output::<crate::list::Listing>(),
        SchemaOf::Doctor => output::<crate::doctor::Diagnosis>(),
        SchemaOf::Bench => output::<crate::bench::Measured>(),
        SchemaOf::Dream => output::<crate::dream::DreamReport>(),
        SchemaOf::Eval => output::<crate::eval::Evaluated>(),
        SchemaOf::Push => output::<crate::push::PushReport>(),
        SchemaOf::Play => output::<crate::play::Playing>(),
        SchemaOf::Train => output::<crate::train::Trained>(),
        SchemaOf::Export => output::<crate::export::Line>(),
        SchemaOf::Certificate => output::<worldloom_engine::certificate::Certificate>(),
    }
}

/// The schema of what a command writes: every field present, in the serialised form.
fn output<T: JsonSchema>() -> Outcome<Value> {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    serde_json::to_value(generator.into_root_schema_for::<T>())
        .map_err(|error| Failure::failed(format!("cannot write the schema: {error}"), ""))
}
