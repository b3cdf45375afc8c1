//! Short forms of kids: the beginning and the end, because `UUIDv7`s that were made on one day begin alike.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::Document;
use crate::name::Kid;

/// A kid of up to this many characters stands for itself.
const SHORT: usize = 10;
const HEAD: usize = 4;
const TAIL: usize = 5;

/// The short forms of one keyset's kids. Two that would look alike are shown in full.
#[derive(Debug, Clone, Default)]
pub struct ShortKids {
    ambiguous: BTreeSet<String>,
}

impl ShortKids {
    /// For these kids together.
    pub fn of<'a>(kids: impl Iterator<Item = &'a Kid>) -> Self {
        let mut seen: BTreeMap<String, &Kid> = BTreeMap::new();
        let mut ambiguous = BTreeSet::new();
        for kid in kids {
            let short = shortened(kid);
            match seen.get(&short) {
                Some(other) if *other != kid => {
                    ambiguous.insert(short);
                }
                _ => {
                    seen.insert(short, kid);
                }
            }
        }
        Self { ambiguous }
    }

    /// For every kid that a document names.
    pub fn of_document(document: &Document) -> Self {
        Self::of(document.live().map(|k| &k.key.kid).chain(document.tombstones.iter().map(|t| &t.kid)))
    }

    /// The short form.
    pub fn short(&self, kid: &Kid) -> String {
        let short = shortened(kid);
        if self.ambiguous.contains(&short) { kid.to_string() } else { short }
    }
}

fn shortened(kid: &Kid) -> String {
    let text = kid.as_str(); // ASCII by construction
    match (text.get(..HEAD), text.get(text.len().saturating_sub(TAIL)..)) {
        (Some(head), Some(tail)) if text.len() > SHORT => format!("{head}…{tail}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_steady_and_never_alike() {
        let kid = |text: &str| text.parse::<Kid>().unwrap();
        let (a, b) = (kid("01960c1e-7b7e-7cc1-8a7f-000000000001"), kid("01960c1e-7b7e-7cc1-8a7f-000000000002"));
        let shorts = ShortKids::of([&a, &b].into_iter());
        assert_eq!(shorts.short(&a), "0196…00001");
        assert_eq!(shorts.short(&b), "0196…00002");
        assert_eq!(shorts.short(&kid("next-1")), "next-1");
        let twin = kid("0196-other-00001");
        let shorts = ShortKids::of([&a, &twin].into_iter());
        assert_eq!(shorts.short(&a), a.to_string());
        assert_eq!(shorts.short(&twin), twin.to_string());
    }
}
