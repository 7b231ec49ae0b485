//! Tests of the kernels: gradients against finite differences, values against naive loops.

mod math;
