//! The query of a request: known names, each at most once, values without percent-encoding (none of ours needs any).

use std::collections::BTreeMap;

use http::{StatusCode, Uri};

use super::Refusal;
use crate::time::Span;

/// The parameters of a request.
///
/// # Errors
/// 400, if there is one that is not in `known`, or one that stands twice.
pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut found = BTreeMap::new();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            let shown: String = name.chars().take(40).collect();
            return Err(wrong(format!("there is no parameter `{shown}` here"), format!("there are: {}", known.join(", "))));
        }
        if found.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(wrong(format!("parameter `{name}` stands twice"), "give it once"));
        }
    }
    Ok(found)
}

/// A parameter that is a length of time.
///
/// # Errors
/// 400, if it is none.
pub(super) fn span(found: &BTreeMap<String, String>, name: &str) -> Result<Option<Span>, Refusal> {
    let Some(text) = found.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        wrong(format!("parameter `{name}`: `{shown}` is not a duration"), "write 30s, 5m (units: ms s m h d w)")
    })
}

/// A parameter that is a whole number.
///
/// # Errors
/// 400, if it is none.
pub(super) fn number(found: &BTreeMap<String, String>, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(text) = found.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        wrong(format!("parameter `{name}`: `{shown}` is not a whole number"), "write digits only")
    })
}

fn wrong(error: String, hint: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parameters_are_read_and_others_named() {
        let uri: Uri = "/x?wait=90s&generation=7".parse().unwrap();
        let found = read(&uri, &["wait", "generation"]).unwrap();
        assert_eq!(span(&found, "wait"), Ok(Some(Span::seconds(90))));
        assert_eq!(number(&found, "generation"), Ok(Some(7)));
        assert_eq!(number(&found, "none"), Ok(None));
        for bad in ["/x?wiat=90s", "/x?wait=1s&wait=2s"] {
            assert_eq!(read(&bad.parse().unwrap(), &["wait"]).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad}");
        }
        let found = read(&"/x?wait=90&generation=-1".parse().unwrap(), &["wait", "generation"]).unwrap();
        assert!(span(&found, "wait").is_err() && number(&found, "generation").is_err());
    }
}
