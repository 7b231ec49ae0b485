//! Every problem of a scene at once.
//!
//! A reset stops nobody at the first mistake: it goes on with what can still be judged, and the
//! errors gather in a [`Problems`]. What a mistake leaves unknown (the links of a robot whose file
//! is missing) is *doubtful*: later complaints about it would repeat the first one, and are dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::assets::Assets;
use crate::drivers;
use crate::error::{Error, Result};
use crate::expr::{Expr, Program};
use crate::physics::PhysicsWorld;
use crate::scene::Scene;
use crate::state::Catalog;

/// [`Program::new`], or for a value of a certain kind.
pub(crate) type Compile = fn(&Expr, &Catalog, &[&str], &str) -> Result<Program>;

/// One problem and the field of the scene that it is in.
#[derive(Debug)]
pub struct Problem {
    /// Field path, e.g. `robots.arm.controllers[0].joints`.
    pub field: String,
    /// What is wrong.
    pub error: Error,
}

/// Problems found so far, in the order in which they were met.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    doubtful: BTreeSet<String>,
}

/// Every problem that keeps a scene from being built and driven. `doubtful` are names (`mug`, `arm`,
/// `arm.tip`) that an earlier check has already complained about.
pub fn check(scene: &Arc<Scene>, assets: &Arc<Assets>, doubtful: BTreeSet<String>) -> Vec<Problem> {
    let mut problems = Problems { found: Vec::new(), doubtful };
    let (catalog, models) = PhysicsWorld::names(scene, assets, &mut problems);
    drivers::check(scene, &catalog, &models, assets, &mut problems);
    problems.found
}

impl Problems {
    /// Adds an error at `field`, or at the field that it names itself. What follows from an earlier problem is dropped.
    pub fn push(&mut self, field: &str, error: Error) {
        if matches!(&error, Error::UnknownName { name, .. } if self.doubts(name)) {
            return;
        }
        let field = error.field().unwrap_or(field).to_owned();
        let text = error.to_string();
        if !self.found.iter().any(|known| known.field == field && known.error.to_string() == text) {
            self.found.push(Problem { field, error });
        }
    }

    /// The value, or `None` after adding the error.
    pub fn keep<T>(&mut self, field: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(field, error)).ok()
    }

    /// A compiled expression, or `None` after adding every name in it that refers to nothing, or else what
    /// is wrong with its types.
    pub(crate) fn expression(
        &mut self,
        compile: Compile,
        expr: &Expr,
        catalog: &Catalog,
        cameras: &[&str],
        field: &str,
    ) -> Option<Program> {
        let error = match compile(expr, catalog, cameras, field) {
            Ok(program) => return Some(program),
            Err(error) => error,
        };
        if matches!(error, Error::UnknownName { .. }) {
            expr.walk(&mut |part| {
                if let (Expr::Signal(..), Err(error)) = (part, Program::new(part, catalog, cameras, field)) {
                    self.push(field, error);
                }
            });
        } else {
            self.push(field, error);
        }
        None
    }

    /// Notes that nothing is known of what bears this name, and of its parts (`name.link`).
    pub fn doubt(&mut self, name: impl Into<String>) {
        self.doubtful.insert(name.into());
    }

    /// True if an earlier problem leaves open what bears this name.
    pub fn doubts(&self, name: &str) -> bool {
        let root = name.split('.').next().unwrap_or(name);
        self.doubtful.contains(name) || self.doubtful.contains(root)
    }

    /// True if a problem was found in this field or below it.
    pub fn touch(&self, field: &str) -> bool {
        let below =
            |known: &str| known.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.found.iter().any(|problem| below(&problem.field))
    }

    /// The first problem as an error.
    pub fn first(self) -> Result<()> {
        self.found.into_iter().next().map_or(Ok(()), |problem| Err(problem.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_an_earlier_problem_is_dropped() {
        let unknown = |name: &str| Error::UnknownName {
            field: "success".into(),
            kind: "body",
            name: name.into(),
            hint: String::new(),
        };
        let mut problems = Problems::default();
        problems.push("robots.arm.urdf", Error::asset("arm.urdf", "is not found"));
        problems.push("robots.arm.urdf", Error::asset("arm.urdf", "is not found"));
        problems.doubt("arm");
        problems.push("success", unknown("arm.hand"));
        problems.push("success", unknown("armour"));
        let fields: Vec<&str> = problems.found.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["robots.arm.urdf", "success"], "{problems:?}");
        assert!(problems.touch("robots.arm") && !problems.touch("robots.ar"));
    }
}
