//! Runs a scene's events: triggers, schedules, sensor faults.
