//! Distributions.

use super::{FACTOR, POSITIVE, STRENGTH};
use crate::table::{Record, Type, default, one_of, optional, required};

/// A distribution, written as a map with one key.
pub static DISTRIBUTION: Record = Record {
    name: "distribution",
    doc: "What chance decides: a map with the name of a distribution as its only key. It may stand wherever a value may, and is then recorded as a parameter named by its path. Its arguments may depend on other parameters.",
    groups: &[one_of("a distribution", DISTRIBUTIONS)],
    fields: &[
        optional(
            "uniform",
            PAIR,
            "",
            "`[low, high]`: uniform between the two; over vectors, each component by itself.",
        ),
        optional("log_uniform", PAIR, "", "`[low, high]`: uniform in the logarithm; both above zero."),
        optional("int", PAIR, "", "`[low, high]`: a whole number, both ends included, all equally likely."),
        optional("normal", Type::Record(&NORMAL), "", "Normal, cut off at `min` and `max` if they stand."),
        optional("lognormal", Type::Record(&LOGNORMAL), "", "The exponential of a normal variable."),
        optional("beta", Type::Record(&BETA), "", "Beta, stretched over `[low, high]`."),
        optional("gamma", Type::Record(&GAMMA), "", "Gamma."),
        optional("exponential", Type::Record(&MEAN), "", "Exponential."),
        optional("poisson", Type::Record(&MEAN), "", "Poisson: a whole number."),
        optional(
            "choice",
            Type::List(&Type::Element),
            "",
            "One of a list, all equally likely: numbers, words or vectors.",
        ),
        optional("weighted", Type::List(&Type::Record(&WEIGHTED)), "", "One of a list, by weight."),
        optional(
            "in_region",
            Type::Record(&super::placement::REGION),
            "",
            "A point `[x, y, z]`, uniform over a region.",
        ),
        optional(
            "grid",
            Type::List(&Type::Element),
            "",
            "A sweep: the episode's number enumerates the product of all grids, the last one fastest. Has no probability.",
        ),
    ],
};

const DISTRIBUTIONS: &[&str] = &[
    "uniform",
    "log_uniform",
    "int",
    "normal",
    "lognormal",
    "beta",
    "gamma",
    "exponential",
    "poisson",
    "choice",
    "weighted",
    "in_region",
    "grid",
];
const PAIR: Type = Type::List(&Type::Element);

static NORMAL: Record = Record {
    name: "normal",
    doc: "A normal distribution, possibly cut off.",
    groups: &[],
    fields: &[
        required("mean", Type::Element, "Mean (before it is cut off)."),
        required("sd", Type::Element, "Standard deviation (before it is cut off)."),
        optional("min", Type::Element, "−∞", "Nothing below."),
        optional("max", Type::Element, "∞", "Nothing above."),
    ],
};

static LOGNORMAL: Record = Record {
    name: "lognormal",
    doc: "The exponential of a normal variable.",
    groups: &[],
    fields: &[
        required("median", Type::ElementNumber, "Median."),
        required("sigma", Type::Number(&STRENGTH), "Standard deviation of the logarithm."),
    ],
};

static BETA: Record = Record {
    name: "beta",
    doc: "A beta distribution.",
    groups: &[],
    fields: &[
        required("a", Type::Number(&FACTOR), "First shape parameter."),
        required("b", Type::Number(&FACTOR), "Second shape parameter."),
        default("low", Type::ElementNumber, "0", "Low end."),
        default("high", Type::ElementNumber, "1", "High end."),
    ],
};

static GAMMA: Record = Record {
    name: "gamma",
    doc: "A gamma distribution; its mean is shape · scale.",
    groups: &[],
    fields: &[required("shape", Type::Number(&FACTOR), "Shape."), required("scale", Type::ElementNumber, "Scale.")],
};

static MEAN: Record = Record {
    name: "mean",
    doc: "A distribution with its mean as its only parameter.",
    groups: &[],
    fields: &[required("mean", Type::Number(&POSITIVE), "Mean.")],
};

static WEIGHTED: Record = Record {
    name: "weighted",
    doc: "A possible value and its weight.",
    groups: &[],
    fields: &[
        required("value", Type::Element, "The value."),
        required("weight", Type::Number(&STRENGTH), "Its weight; weights need not sum to one."),
    ],
};
