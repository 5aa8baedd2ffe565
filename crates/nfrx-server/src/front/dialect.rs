//! In which form a request's errors are written.

use http::HeaderMap;
use http::header::ACCEPT;
use nfrx_spi::Dialect;

use crate::routes::Found;

/// What a client accepts that wants OpenAI's errors everywhere.
const OPEN_AI: &str = "application/vnd.openai+json";

/// The form that goes with a path; where that is the contract's mix, a client may ask for
/// OpenAI's instead.
pub(super) fn of(found: &Found<'_>, headers: &HeaderMap) -> Dialect {
    let dialect = match found {
        Found::Route(route, _) => route.dialect,
        Found::OtherMethod(_, guard) | Found::Nothing(guard) => {
            guard.map_or(Dialect::Contract, |guard| guard.dialect)
        }
    };
    match dialect {
        Dialect::Contract if accepts_open_ai(headers) => Dialect::OpenAi,
        dialect => dialect,
    }
}

fn accepts_open_ai(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            // RFC 9110 §12.4.2: at a weight of 0 it is not acceptable.
            let is_refused = |part: &str| {
                part.split_once('=').is_some_and(|(name, weight)| {
                    name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0)
                })
            };
            kind.eq_ignore_ascii_case(OPEN_AI) && !parts.any(is_refused)
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(accept: &'static str, asks: bool) {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(accepts_open_ai(&headers), asks, "`{accept}`");
    }

    #[test]
    fn only_who_names_the_type_asks_for_it() {
        check("application/vnd.openai+json", true);
        check("text/html, Application/vnd.OpenAI+json;q=0.5", true);
        check("application/vnd.openai+json; Q=0.0", false);
        check("application/json, */*", false);
        check("application/vnd.openai+json-seq", false);
        check("", false);
    }
}
