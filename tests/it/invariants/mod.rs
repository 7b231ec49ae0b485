//! Laws that must hold, each with a negative control.

mod drivers;
mod physics;
mod render;
mod robots;
mod servos;
mod settling;
mod welds;
