//! Kill, truncation, full disk, NaN, hostile files: a clear error, and nothing lost.

mod damage;
mod datasets;
mod input;
mod physics;
mod wide;
mod worlds;
