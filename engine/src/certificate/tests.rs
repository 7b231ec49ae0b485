//! Laws and their negative controls.
