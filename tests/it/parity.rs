//! Reference numbers beside the script that made them.
