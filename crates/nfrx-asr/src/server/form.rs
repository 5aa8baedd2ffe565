//! What the relay learns from a form (`multipart/form-data`, RFC 7578) while its bytes
//! pass: the model, and whether the answer shall stream. The bytes go on unchanged.
//!
//! Backends read forms with parsers of their own, and where two of them disagree a form
//! could show the relay one model and the backend another. So the scanner is strict:
//! whatever some known parser reads otherwise — bare line feeds, folded or doubled heads,
//! a boundary that is not on its own line, text before the first part — is refused rather
//! than interpreted (ADR 6).

mod boundary;
mod part_head;
mod scanner;

pub(super) use boundary::{Boundary, is_form};
pub(super) use scanner::Scanner;

/// Why a form is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// There is no model in it: no field, an empty one, or no form of this boundary.
    #[error("no model")]
    NoModel,
    /// Two fields name different models, and which one counts depends on who reads it.
    #[error("the form names two models")]
    TwoModels,
    /// Readers may disagree on what it says.
    #[error("the form can't be read: {0}")]
    Malformed(&'static str),
}
