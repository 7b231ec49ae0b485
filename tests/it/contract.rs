//! Every registered scenario, world and format keeps its contract.

mod datasets;
mod files;
mod library;
mod process;
