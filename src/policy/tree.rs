//! The marked tree: a YAML text as values with the line and the dotted path of every field.
//!
//! The events and their marks come from saphyr-parser, the values from `serde_yaml`; the two are compared, so that no text means one
//! thing to the line that is reported and another to the daemon. What would let a reader be surprised is refused: duplicate keys
//! (`serde_yaml` keeps the last of two in maps), anchors, aliases, tags, merge keys, several documents.
//!
//! This room knows YAML and nothing of policies.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};
use serde_yaml::Value;

use super::fault::{Place, Report, dotted};

/// Deeper nesting than any policy has; bounds the recursion over a hostile text.
const DEEPEST: usize = 16;

/// One value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it stands; of a field, the line of its name.
    pub place: Place,
    /// What it is.
    pub content: Content,
    /// Whether nothing was found wrong with it. What is not sound is left out of [`Node::value`].
    pub sound: bool,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A single value, with its text as it was written.
    Scalar { text: String, value: Value },
    /// A list.
    Sequence(Vec<Node>),
    /// Fields in the order of the file; no name stands twice.
    Mapping(Vec<(String, Node)>),
}

impl Node {
    /// The field `name`, sound or not.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    /// The fields; none if this is no mapping.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        if let Content::Mapping(entries) = &self.content { entries } else { &[] }
    }

    /// The place of the field `name`, or, if it is missing, where it would belong.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.get(name).map_or_else(|| self.place.child(name), |node| node.place.clone())
    }

    /// Its value without what is unsound.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar { value, .. } => value.clone(),
            Content::Sequence(items) => Value::Sequence(items.iter().filter(|i| i.sound).map(Self::value).collect()),
            Content::Mapping(entries) => Value::Mapping(
                entries.iter().filter(|(_, n)| n.sound).map(|(key, node)| (Value::from(key.as_str()), node.value())).collect(),
            ),
        }
    }

    /// What it is, for a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar { value: Value::Null, .. } => "nothing",
            Content::Scalar { value: Value::Bool(_), .. } => "true or false",
            Content::Scalar { value: Value::Number(_), .. } => "a number",
            Content::Scalar { .. } => "text",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }
}

/// Reads `text`. All faults of form go into the report; `None` if there is no tree to go on with.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Node> {
    let found = report.faults.len();
    let mut builder = Builder { parser: Parser::new_from_str(text), report, line: 1 };
    let root = match builder.document() {
        Ok(root) => root?,
        Err(Stop::Syntax(error)) => {
            let at = Place { line: error.marker().line().max(1), field: String::new() };
            report.fault(&at, format!("is not YAML: {}", error.info()), "look at the indentation, quotes and colons around this line");
            return None;
        }
        Err(Stop::Reported) => return None,
    };
    if report.faults.len() == found {
        agree(text, &root, report)?;
    }
    Some(root)
}

/// Whether `serde_yaml` reads the same from `text`.
fn agree(text: &str, root: &Node, report: &mut Report) -> Option<()> {
    let hint = "write it more plainly: one field per line, and text in double quotes";
    match serde_yaml::from_str::<Value>(text) {
        Ok(value) => {
            let Some(differs) = difference(root, &value) else { return Some(()) };
            report.fault(&differs.place, "this is YAML that two readers understand differently", hint);
        }
        Err(error) => {
            let line = error.location().map_or(1, |l| l.line());
            report.fault(&Place { line, field: String::new() }, format!("is not YAML: {error}"), hint);
        }
    }
    None
}

/// The first node that is something else in `value`.
fn difference<'n>(node: &'n Node, value: &Value) -> Option<&'n Node> {
    match (&node.content, value) {
        (Content::Scalar { value: mine, .. }, theirs) if mine == theirs => None,
        (Content::Sequence(mine), Value::Sequence(theirs)) if mine.len() == theirs.len() => {
            mine.iter().zip(theirs).find_map(|(m, t)| difference(m, t))
        }
        (Content::Mapping(mine), Value::Mapping(theirs)) if mine.len() == theirs.len() => {
            mine.iter().find_map(|(key, m)| theirs.get(key.as_str()).map_or(Some(m), |t| difference(m, t)))
        }
        _ => Some(node),
    }
}

/// Why reading ended early.
enum Stop {
    /// The text is no YAML.
    Syntax(ScanError),
    /// A fault was reported after which there is no going on.
    Reported,
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Syntax(error)
    }
}

struct Builder<'t, 'r> {
    parser: Parser<'t, StrInput<'t>>,
    report: &'r mut Report,
    line: usize,
}

impl<'t> Builder<'t, '_> {
    fn next(&mut self) -> Result<Event<'t>, Stop> {
        let Some(event) = self.parser.next_event() else { return Ok(Event::StreamEnd) };
        let (event, span) = event?;
        self.line = span.start.line().max(1);
        Ok(event)
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            match self.next()? {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let at = Place { line: self.line, field: String::new() };
                    self.report.fault(&at, "a second YAML document begins here", "one file is one environment: remove the `---`");
                    return Err(Stop::Reported);
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => root = Some(self.node(event, Place { line: self.line, field: String::new() }, 0)?),
            }
        }
        let empty = |node: &Node| matches!(&node.content, Content::Scalar { value: Value::Null, .. });
        if root.as_ref().is_none_or(empty) {
            let hint = "begin with `version: 1`, `environment:` and `keysets:`, or remove the file";
            self.report.fault(&Place { line: 1, field: String::new() }, "the file is empty", hint);
            return Ok(None);
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Node, Stop> {
        if depth > DEEPEST {
            self.report.fault(&place, format!("is nested more than {DEEPEST} levels deep"), "no policy is that deep");
            return Err(Stop::Reported);
        }
        let mut sound = true;
        let content = match event {
            Event::Scalar(text, style, anchor, tag) => {
                sound &= self.unmarked(anchor, tag.as_deref(), &place);
                scalar(text.into_owned(), style)
            }
            Event::SequenceStart(anchor, tag) => {
                sound &= self.unmarked(anchor, tag.as_deref(), &place);
                self.sequence(&place, depth)?
            }
            Event::MappingStart(anchor, tag) => {
                sound &= self.unmarked(anchor, tag.as_deref(), &place);
                self.mapping(&place, depth)?
            }
            Event::Alias(_) => {
                self.report.fault(&place, "is a YAML alias (`*`)", "write the value out, or state it once under `defaults:`");
                sound = false;
                Content::Scalar { text: String::new(), value: Value::Null }
            }
            // The parser closes what it opens, so this is only reached at the end of a text that it refuses anyway.
            _ => return Err(Stop::Syntax(ScanError::new_str(saphyr_parser::Marker::new(0, self.line, 0), "unexpected end"))),
        };
        Ok(Node { place, content, sound })
    }

    fn unmarked(&mut self, anchor: usize, tag: Option<&Tag>, place: &Place) -> bool {
        if anchor != 0 {
            self.report.fault(place, "has a YAML anchor (`&`)", "write the value out, or state it once under `defaults:`");
        }
        if let Some(tag) = tag {
            self.report.fault(place, format!("has a YAML tag (`{tag}`)"), "remove the tag: the field's name says what it is");
        }
        anchor == 0 && tag.is_none()
    }

    fn sequence(&mut self, place: &Place, depth: usize) -> Result<Content, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Content::Sequence(items)),
                event => {
                    let at = Place { line: self.line, field: format!("{}[{}]", place.field, items.len()) };
                    items.push(self.node(event, at, depth + 1)?);
                }
            }
        }
    }

    fn mapping(&mut self, place: &Place, depth: usize) -> Result<Content, Stop> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut lines = std::collections::BTreeMap::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Content::Mapping(entries)),
                event => self.key(event, place, depth)?,
            };
            let line = self.line;
            let event = self.next()?;
            let Some(key) = key else {
                self.node(event, place.clone(), depth + 1)?;
                continue;
            };
            let at = Place { line, field: dotted(&place.field, &key) };
            if key == "<<" {
                self.report.fault(&at, "is a YAML merge key", "write the fields out, or state them once under `defaults:`");
                self.node(event, at, depth + 1)?;
                continue;
            }
            let node = self.node(event, at.clone(), depth + 1)?;
            if let Some(first) = lines.get(&key) {
                self.report.fault(&at, format!("stands twice, first on line {first}"), "remove one of the two");
                continue;
            }
            lines.insert(key.clone(), line);
            entries.push((key, node));
        }
    }

    /// The name of a field; `None` if it was refused.
    fn key(&mut self, event: Event<'t>, place: &Place, depth: usize) -> Result<Option<String>, Stop> {
        let at = Place { line: self.line, field: place.field.clone() };
        let node = self.node(event, at, depth + 1)?;
        let line = node.place.line;
        self.line = line;
        match node.content {
            Content::Scalar { text, value: Value::String(_) } if node.sound => Ok(Some(text)),
            _ => {
                if node.sound {
                    self.report.fault(&node.place, format!("has {} for a field name", node.kind()), "field names are plain words");
                }
                Ok(None)
            }
        }
    }
}

/// What a scalar means: quoted ones are text, plain ones what `serde_yaml` takes them for.
fn scalar(text: String, style: ScalarStyle) -> Content {
    let value = if style == ScalarStyle::Plain {
        match serde_yaml::from_str::<Value>(&text) {
            Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
            _ => Value::String(text.clone()),
        }
    } else {
        Value::String(text.clone())
    };
    Content::Scalar { text, value }
}

#[cfg(test)]
mod tests;
