//! A form: its `Content-Type` on the first line, its bytes behind it. It is read the same
//! however it is cut, and another reader finds neither another boundary nor another model.

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use nfrx_asr::fuzzing::{Form, Known};

use crate::pieces::cuts;

pub(crate) fn run(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (kind, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    if Form::of(kind).is_none() {
        return;
    }
    let [whole, others @ ..] = cuts(body).map(|pieces| read(kind, &pieces));
    for other in others {
        assert_eq!(other, whole, "cut otherwise");
    }
    let Some((known, model)) = whole.filter(|(known, _)| known.is_over) else { return };
    let Some(read) = by_multer(kind, body) else { return };
    match model {
        Some(_) => assert_eq!(model, read, "another reader finds another model"),
        // A model and another one under `Model` are there when none counts.
        None => assert!(known.has_model || read.is_none_or(|model| model.is_empty())),
    }
    for pieces in cuts(body) {
        if let Some(chosen) = chosen(kind, &pieces) {
            assert_eq!(Some(chosen), by_multer(kind, body).flatten(), "a worker was chosen by another model");
        }
    }
}

/// What is known at the end and the model that counts; `None` when the form is refused.
fn read(kind: &[u8], pieces: &[&[u8]]) -> Option<(Known, Option<String>)> {
    let mut form = Form::of(kind)?;
    pieces.iter().all(|piece| form.read(piece)).then(|| (form.known(), form.settle()))
}

/// The model by which a worker is chosen as soon as the file begins, if the rest of the form
/// is not refused.
fn chosen(kind: &[u8], pieces: &[&[u8]]) -> Option<String> {
    let mut form = Form::of(kind)?;
    let mut pieces = pieces.iter();
    for piece in pieces.by_ref() {
        if !form.read(piece) {
            return None;
        }
        let Known { has_model, has_file, .. } = form.known();
        if has_file {
            // A file before the model: all of it is read first.
            let model = has_model.then(|| form.settle()).flatten()?;
            return pieces.all(|piece| form.read(piece)).then_some(model);
        }
    }
    None
}

/// The last value of `model` as another reader has it; `None` when it takes the form for
/// broken.
fn by_multer(kind: &[u8], body: &[u8]) -> Option<Option<String>> {
    let boundary = multer::parse_boundary(std::str::from_utf8(kind).ok()?).ok()?;
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(body))]);
    let mut form = multer::Multipart::new(body, boundary);
    let read = async {
        let mut model = None;
        while let Some(field) = form.next_field().await? {
            let is_model = field.name() == Some("model") && field.file_name().is_none();
            let value = field.bytes().await?;
            if is_model {
                model = Some(String::from_utf8_lossy(&value).into_owned());
            }
        }
        Ok::<_, multer::Error>(model)
    };
    read.now_or_never()?.ok()
}
