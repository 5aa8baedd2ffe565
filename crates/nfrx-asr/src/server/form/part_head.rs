//! The head of one part: which field it is, and whether it is a file.

use super::FormError;

/// What is told of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartHead {
    /// The field, if it is one that the relay reads.
    pub(super) field: Option<Field>,
    /// Whether it has a file's name.
    pub(super) is_file: bool,
}

/// A field that the relay reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `model`.
    Model,
    /// `Model` and the like: some backends take it for `model`.
    ModelByCase,
    /// `stream`.
    Stream,
}

impl PartHead {
    /// Reads a head: its lines with their ends, without the empty line behind them.
    pub(super) fn parse(head: &[u8]) -> Result<Self, FormError> {
        let mut disposition = None;
        let mut encoded = false;
        let text = head.strip_suffix(b"\r\n").unwrap_or(head);
        for line in Lines(text) {
            let colon = memchr::memchr(b':', line).ok_or(MALFORMED)?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.is_empty() || !name.iter().all(is_token) || value.iter().any(is_control) {
                return Err(MALFORMED);
            }
            if name.eq_ignore_ascii_case(b"content-disposition") && disposition.replace(value).is_some() {
                return Err(FormError::Malformed("a part has two dispositions"));
            }
            // Some readers decode what this names; nobody has to send it (RFC 7578 §4.7).
            encoded |= name.eq_ignore_ascii_case(b"content-transfer-encoding")
                && !is_plain_encoding(value.trim_ascii());
        }
        let part = Self::disposed(disposition.ok_or(FormError::Malformed("a part has no disposition"))?)?;
        if encoded && part.field.is_some() {
            return Err(FormError::Malformed("a field is encoded"));
        }
        Ok(part)
    }

    fn disposed(value: &[u8]) -> Result<Self, FormError> {
        let value = value.trim_ascii();
        let kind = value.iter().position(|byte| !is_token(byte)).unwrap_or(value.len());
        if !value[..kind].eq_ignore_ascii_case(b"form-data") {
            return Err(FormError::Malformed("a part is no form data"));
        }
        let mut parameters = Parameters::new(&value[kind..]);
        // Readers that look for `name` anywhere would find one inside a file's name.
        let first = parameters.next().transpose()?.filter(|(key, _)| key == "name");
        let (_, name) = first.ok_or(FormError::Malformed("a part does not begin with its name"))?;
        let field = match &*name {
            b"model" => Some(Field::Model),
            b"stream" => Some(Field::Stream),
            name if name.eq_ignore_ascii_case(b"model") => Some(Field::ModelByCase),
            _ => None,
        };
        let mut is_file = false;
        for parameter in parameters {
            let (key, _) = parameter?;
            match &*key.to_ascii_lowercase() {
                "name" => return Err(FormError::Malformed("a part has two names")),
                // RFC 7578 §4.2 forbids it, and only some readers decode it.
                name if name.starts_with("name*") => {
                    return Err(FormError::Malformed("a part has an encoded name"));
                }
                _ if key == "filename" => is_file = true,
                // `filename*`, or a case of `filename`: a file to some readers, a field to others.
                _ if field.is_some() => return Err(FormError::Malformed("a field has odd parameters")),
                other => is_file |= other.starts_with("filename"),
            }
        }
        Ok(Self { field: field.filter(|_| !is_file), is_file })
    }
}

const MALFORMED: FormError = FormError::Malformed("the head of a part is malformed");

/// Lines by CR LF.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr::memmem::find(self.0, b"\r\n");
        let (line, rest) = end.map_or((self.0, &[][..]), |end| (&self.0[..end], &self.0[end + 2..]));
        self.0 = rest;
        Some(line)
    }
}

/// The parameters of a header, `; name=value` each; names as they are written, quotes taken off.
pub(super) struct Parameters<'a> {
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Parameters<'a> {
    /// `rest` is what stands behind the header's first word.
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest, failed: false }
    }

    fn parse(&mut self) -> Result<Option<(String, Vec<u8>)>, FormError> {
        let rest = self.rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(None);
        }
        let rest = rest.strip_prefix(b";").ok_or(MALFORMED)?.trim_ascii_start();
        if rest.is_empty() {
            return Ok(None);
        }
        let equals = rest.iter().position(|byte| !is_token(byte)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(equals);
        let rest = rest.strip_prefix(b"=").ok_or(MALFORMED)?;
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, rest) = unquote(quoted)?;
                let escapes = quoted[..quoted.len() - rest.len()].contains(&b'\\');
                // Readers disagree on what an escape is: `mo\del` is a model to some. Nobody
                // needs one but in the name of a file, of which nothing is read here.
                if escapes && !name.to_ascii_lowercase().starts_with(b"filename") {
                    return Err(FormError::Malformed("a parameter has escapes"));
                }
                (value, rest)
            }
            None => {
                let end = rest.iter().position(|byte| b"; \t\"".contains(byte)).unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        self.rest = rest;
        Ok(Some((String::from_utf8_lossy(name).into_owned(), value)))
    }
}

impl Iterator for Parameters<'_> {
    type Item = Result<(String, Vec<u8>), FormError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let parsed = self.parse();
        self.failed = !matches!(parsed, Ok(Some(_)));
        parsed.transpose()
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &[u8]) -> Result<(Vec<u8>, &[u8]), FormError> {
    let (mut text, mut bytes) = (Vec::new(), quoted.iter().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((text, &quoted[at + 1..])),
            // Only a file's name may have one, which may be a path of Windows.
            b'\\' => text.extend(bytes.next().map(|(_, byte)| *byte)),
            _ => text.push(*byte),
        }
    }
    Err(MALFORMED)
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control() && *byte != b'\t'
}

fn is_plain_encoding(name: &[u8]) -> bool {
    [&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| name.eq_ignore_ascii_case(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: PartHead = PartHead { field: Some(Field::Model), is_file: false };
    const OTHER: PartHead = PartHead { field: None, is_file: false };
    const FILE: PartHead = PartHead { field: None, is_file: true };

    #[track_caller]
    fn check(disposition: &str, expected: PartHead) {
        let head = format!("Content-Disposition: {disposition}\r\n");
        assert_eq!(PartHead::parse(head.as_bytes()), Ok(expected), "`{disposition}`");
    }

    #[test]
    fn fields_and_files_are_told_apart_as_clients_write_them() {
        check("form-data; name=\"model\"", MODEL);
        check("form-data; name=model", MODEL);
        check("Form-Data;name=\"model\" ;", MODEL);
        check("form-data; name=\"prompt\"; x=y", OTHER);
        check("form-data; name=\"stream\"", PartHead { field: Some(Field::Stream), is_file: false });
        check("form-data; name=\"Model\"", PartHead { field: Some(Field::ModelByCase), is_file: false });
        check("form-data; name=\"prompt\"", OTHER);
        check("form-data; name=\"models\"", OTHER);
        check("form-data; name=\"file\"; filename=\"a; name=model.wav\"", FILE);
        check("form-data; name=\"file\"; filename*=utf-8''a.wav", FILE);
        check("form-data; name=\"file\"; filename=\"C:\\\\a\\\"b.wav\"", FILE);
        check("form-data; name=\"datei\"; filename=\"für.wav\"", FILE);
        // A file is no field, whatever its name.
        check("form-data; name=\"model\"; filename=\"m\"", FILE);
    }

    #[test]
    fn other_headers_are_passed_over() {
        let head =
            b"Content-Type: text/plain\r\nContent-Disposition: form-data; name=\"model\"\r\nX-A: b\r\n";
        assert_eq!(PartHead::parse(head), Ok(MODEL));
    }

    // Seen to fail: with each of the refusals taken out, one by one.
    #[test]
    fn what_readers_may_take_for_another_field_is_refused() {
        for head in [
            "",
            "Content-Type: text/plain\r\n",
            "Content-Disposition: form-data\r\n",
            "Content-Disposition: attachment; name=\"model\"\r\n",
            "Content-Disposition: form-data; name=\"a\"; name=\"model\"\r\n",
            "Content-Disposition: form-data; name=\"a\"; name*=utf-8''model\r\n",
            "Content-Disposition: form-data; name=\"a\"; name*0=model\r\n",
            "Content-Disposition: form-data; name=\"model\"; filename*=utf-8''a\r\n",
            "Content-Disposition: form-data; name=\"model\"; FILENAME=a\r\n",
            "Content-Disposition: form-data; name=\"model\"; x=\"; filename=a\"\r\n",
            "Content-Disposition: form-data; NAME=\"model\"\r\n",
            "Content-Disposition: form-data; name=\"a\"; Name=\"model\"\r\n",
            "Content-Disposition: form-data; filename=\"; name=model\"; name=\"a\"\r\n",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"model\"\r\n",
            "Content-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"model\"\r\n",
            "Content-Disposition: form-data;\r\n name=\"model\"\r\n",
            "Content-Disposition: form-data; name=\"a\"b\r\n",
            "Content-Disposition: form-data; name=\"a\r\n",
            "Content-Disposition: form-data name=\"a\"\r\n",
            "Content-Disposition: form-data; name=\"a\" name=\"model\"\r\n",
            "Content-Disposition: form-data; name=\"a\u{0}\"\r\n",
            "Content-Disposition: form-data; name=\"mo\\del\"\r\n",
            "Content-Disposition: form-data; name=\"a\\\"; name=model; x=\\\"\"\r\n",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition : form-data; name=\"model\"\r\n",
            "Content-Disposition: form-data; name=\"a\"\r\n ;x=\":\"; name=\"model\"\r\n",
            "no colon\r\n",
            "Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=\"model\"\r\n",
            "Content-Transfer-Encoding: quoted-printable\r\nContent-Disposition: form-data; name=\"model\"\r\n",
        ] {
            assert!(PartHead::parse(head.as_bytes()).is_err(), "`{head}`");
        }
        let plain = "Content-Transfer-Encoding: 8bit\r\nContent-Disposition: form-data; name=\"model\"\r\n";
        assert_eq!(PartHead::parse(plain.as_bytes()), Ok(MODEL));
    }
}
