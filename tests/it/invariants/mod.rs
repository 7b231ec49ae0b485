//! Laws that must hold, each with a negative control.

mod actuators;
mod drivers;
mod effects;
mod geometry;
mod physics;
mod render;
mod robots;
mod sensors;
mod servos;
mod settle;
mod settling;
mod terrain;
mod welds;
