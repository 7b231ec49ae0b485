//! Every registered scenario, world and format keeps its contract.

mod datasets;
mod library;
mod files;
mod process;
