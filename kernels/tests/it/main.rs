//! Tests of the kernels: gradients against finite differences, values against naive loops.

mod attention;
mod check;
mod math;
