//! `${NAME}` and `${NAME:-default}` in a file of servers: so that a key need not stand in it.

/// The text with each name replaced by its value in the environment. A name without a value
/// and without a default is an error: a server that is asked with half a key says nothing
/// that helps.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, behind)) = rest.split_once("${") {
        out.push_str(before);
        let (inside, after) = behind.split_once('}').ok_or("a `${` has no `}`")?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match (env(name), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err(format!("the environment has no `{name}`, which `${{{name}}}` stands for"));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_a_missing_one_is_named() {
        let env = |name: &str| (name == "KEY").then(|| "k${x}".to_owned());
        let of = |text: &str| expand(text, &env);
        assert_eq!(of("a ${KEY} b ${OTHER:-c}${KEY:-d} $e").as_deref(), Ok("a k${x} b ck${x} $e"));
        assert!(of("${OTHER}").is_err_and(|problem| problem.contains("`OTHER`")));
        assert!(of("${KEY").is_err());
    }
}
