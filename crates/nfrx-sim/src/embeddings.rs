//! Vectors that depend on nothing but the model, the input and the seed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::config::SimConfig;
use crate::refusal::Refusal;
use crate::request::Ask;
use crate::route::Work;
use crate::text;

/// Inputs per request, as with OpenAI. It bounds the answer.
const INPUTS_MAX: usize = 2048;

/// Numbers per vector. It bounds the answer too.
const DIMENSIONS_MAX: usize = 4096;

/// One text, as text or as tokens.
#[derive(Debug)]
enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

impl Input {
    fn token_count(&self) -> u64 {
        match self {
            Self::Text(text) => text::prompt_tokens(text.len()),
            Self::Tokens(tokens) => tokens.len() as u64,
        }
    }

    /// The same input has the same vector, alone or in a batch.
    fn seed(&self, seed: u64, model: &str) -> u64 {
        match self {
            Self::Text(text) => text::hash(seed, &[model.as_bytes(), b"text", text.as_bytes()]),
            Self::Tokens(tokens) => {
                let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
                text::hash(seed, &[model.as_bytes(), b"tokens", &bytes])
            }
        }
    }
}

/// The answer to an embeddings request.
pub(crate) fn answer(ask: &Ask<'_>, model: &str, config: &SimConfig) -> Result<Bytes, Refusal> {
    let inputs = parse(ask.prompt(Work::Embeddings)?)?;
    let as_base64 = match ask.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Refusal::BadParameter { name: "encoding_format", hint: ", float or base64" }),
    };
    let dimensions = ask.dimensions.unwrap_or(config.embedding_dimensions);
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(Refusal::BadParameter { name: "dimensions", hint: ", 1 to 4096" });
    }
    let mut out = br#"{"object":"list","data":["#.to_vec();
    for (index, input) in inputs.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        out.extend_from_slice(
            format!(r#"{comma}{{"object":"embedding","index":{index},"embedding":"#).as_bytes(),
        );
        write_vector(&mut out, &vector(input.seed(config.seed, model), dimensions), as_base64)?;
        out.push(b'}');
    }
    let tokens: u64 = inputs.iter().map(Input::token_count).sum();
    let model = serde_json::Value::from(model);
    let usage = format!(r#"{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#);
    out.extend_from_slice(
        format!(r#"],"model":{model},"system_fingerprint":"simulated","usage":{usage}}}"#).as_bytes(),
    );
    Ok(out.into())
}

/// A string, an array of strings, an array of tokens, or an array of arrays of tokens.
fn parse(input: &str) -> Result<Vec<Input>, Refusal> {
    let first = input.trim_start_matches(|c: char| c == '[' || c.is_ascii_whitespace());
    let depth = input[..input.len() - first.len()].matches('[').count();
    let inputs = match (depth, first.starts_with('"')) {
        (0, _) => vec![Input::Text(read(input)?)],
        (1, false) if !first.starts_with(']') => vec![Input::Tokens(read(input)?)],
        (1, _) => read::<Vec<String>>(input)?.into_iter().map(Input::Text).collect(),
        _ => read::<Vec<Vec<u32>>>(input)?.into_iter().map(Input::Tokens).collect(),
    };
    if inputs.is_empty() || inputs.len() > INPUTS_MAX {
        return Err(Refusal::BadParameter { name: "input", hint: ", 1 to 2048 texts" });
    }
    Ok(inputs)
}

fn read<T: DeserializeOwned>(input: &str) -> Result<T, Refusal> {
    let hint = ", a string, strings, tokens or arrays of tokens";
    serde_json::from_str(input).map_err(|_| Refusal::BadParameter { name: "input", hint })
}

/// Of length 1.
fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut vector: Vec<f32> = (0..dimensions).map(|_| rng.f32() * 2.0 - 1.0).collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    } else {
        vector[0] = 1.0;
    }
    vector
}

fn write_vector(out: &mut Vec<u8>, vector: &[f32], as_base64: bool) -> Result<(), serde_json::Error> {
    if !as_base64 {
        return serde_json::to_writer(out, vector);
    }
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let found = match parse(input) {
            Ok(inputs) => format!("{inputs:?}"),
            Err(refusal) => refusal.status().as_u16().to_string(),
        };
        assert_eq!(found, expected, "input was `{input}`");
    }

    #[test]
    fn input_comes_in_four_shapes() {
        check(r#""a b""#, r#"[Text("a b")]"#);
        check(r#" [ "a", "[" ]"#, r#"[Text("a"), Text("[")]"#);
        check("[1, 2]", "[Tokens([1, 2])]");
        check("[ [1, 2], [3] ]", "[Tokens([1, 2]), Tokens([3])]");
    }

    #[test]
    fn other_input_is_refused() {
        for input in
            ["null", "1", "{}", "[]", "[[[1]]]", "[1.5]", "[-1]", r#"["a",1]"#, r#"[1,"a"]"#, "[null]"]
        {
            check(input, "400");
        }
        check(&format!("[{}[]]", "[],".repeat(INPUTS_MAX)), "400");
    }

    #[test]
    fn a_vector_has_length_one_and_belongs_to_its_input() {
        let of = |text: &str| vector(Input::Text(text.to_owned()).seed(0, "demo"), 64);
        let length: f32 = of("a").iter().map(|x| x * x).sum();
        // Seen to fail: without the division.
        assert!((length - 1.0).abs() < 1e-5, "squared length {length}");
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }
}
