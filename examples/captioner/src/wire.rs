//! What the server half asks of a worker, and what it answers: two paths and three shapes.
//!
//! `POST /caption?style={style}`, percent-encoded, has one picture as its body and gives an
//! [`Outcome`]; `POST /captions` has a [`Batch`] and gives [`Outcomes`], one for each
//! picture, in order.

use serde::{Deserialize, Serialize};

/// The worker's path for one picture.
pub const CAPTION: &str = "/caption";
/// The worker's path for several.
pub const CAPTIONS: &str = "/captions";

/// A picture's caption, or why it has none. That a picture can't be read is its sender's
/// mistake and no failure of the worker, so it is part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The caption.
    Caption(String),
    /// What is wrong with the picture.
    Error(String),
}

/// Several pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch<S, I> {
    /// The style of the captions.
    pub style: S,
    /// The pictures, each in base64.
    pub images: I,
}

/// What came of them, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// One for each picture.
    pub captions: Vec<Outcome>,
}
