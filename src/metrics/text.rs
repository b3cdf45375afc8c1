//! The text format 0.0.4, written by hand so that it can be streamed.

use std::fmt::Write as _;

/// What is known of a family before its samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
}

/// The kinds of families that are written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// Writes `# HELP` and `# TYPE`. Help texts are our own and need no escaping.
pub(super) fn head(out: &mut String, head: Head) {
    let kind = match head.kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    let _ = write!(out, "# HELP {0} {1}\n# TYPE {0} {kind}\n", head.name, head.help);
}

/// Writes one sample.
pub(super) fn sample(out: &mut String, name: &str, labels: &[&[(&str, &str)]], value: f64) {
    out.push_str(name);
    let mut before = '{';
    for (label, value) in labels.iter().copied().flatten() {
        out.push(before);
        before = ',';
        out.push_str(label);
        out.push_str("=\"");
        escape(out, value);
        out.push('"');
    }
    if before == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// Label values escape backslash, quote and line feed, and nothing else.
fn escape(out: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        out.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_escaped_and_labels_joined() {
        let mut out = String::new();
        head(&mut out, Head { name: "a_total", help: "Of all.", kind: Kind::Counter });
        sample(&mut out, "a_total", &[], 1.0);
        sample(&mut out, "a_total", &[&[("x", "1")], &[("y", "a\\b\"c\nd")]], 1_700_000_000.5);
        let expected = "# HELP a_total Of all.\n# TYPE a_total counter\na_total 1\na_total{x=\"1\",y=\"a\\\\b\\\"c\\nd\"} 1700000000.5\n";
        assert_eq!(out, expected);
    }
}
