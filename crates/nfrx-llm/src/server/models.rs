//! The lists of models (HTTP contract §4.5, §4.6).

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use nfrx_spi::{ApiError, Body, HandlerResult, ModelInfo};
use serde::Serialize;

/// A model as OpenAI's clients read it.
#[derive(Serialize)]
struct ModelObject<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: String,
}

#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelObject<'a>>,
}

/// `GET models`: never `null`, also when there are none (KD-32).
pub(super) fn list(models: &[ModelInfo]) -> HandlerResult {
    json_line(&ModelList { object: "list", data: models.iter().map(ModelObject::from).collect() })
}

/// `GET models/{id}`.
pub(super) fn detail(model: Option<&ModelInfo>) -> HandlerResult {
    json_line(&ModelObject::from(model.ok_or(ApiError::ModelNotFound)?))
}

impl<'a> From<&'a ModelInfo> for ModelObject<'a> {
    fn from(model: &'a ModelInfo) -> Self {
        Self { id: &model.id, object: "model", created: model.created, owned_by: model.owners.join(",") }
    }
}

/// JSON and the newline that the contract has behind it.
fn json_line(value: &impl Serialize) -> HandlerResult {
    let mut text = serde_json::to_string(value).map_err(|_| ApiError::Internal)?;
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(result: HandlerResult) -> String {
        let bytes = result.expect("an answer").into_body().as_bytes().expect("at hand");
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn an_empty_list_is_a_list() {
        assert_eq!(body(list(&[])), "{\"object\":\"list\",\"data\":[]}\n");
    }

    #[test]
    fn owners_are_joined_by_commas() {
        let model = ModelInfo { id: "phi".into(), created: 7, owners: vec!["a".into(), "b".into()] };
        assert_eq!(
            body(detail(Some(&model))),
            "{\"id\":\"phi\",\"object\":\"model\",\"created\":7,\"owned_by\":\"a,b\"}\n"
        );
        assert_eq!(detail(None).expect_err("unknown"), ApiError::ModelNotFound);
    }
}
