//! Text between tags: whatever a policy, a vendor or an operator wrote is shown, and never read as markup.

use std::fmt;

/// A text with the five characters written out that mean something in HTML and XML; fit for content and for quoted attributes.
///
/// ```
/// # use keyrota::picture::markup::escaped;
/// assert_eq!(escaped("<a href='x'>\"&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;");
/// ```
pub const fn escaped(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// What [`escaped`] gives.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (before, found) = rest.split_at(at);
            f.write_str(before)?;
            f.write_str(match found.as_bytes().first() {
                Some(b'&') => "&amp;",
                Some(b'<') => "&lt;",
                Some(b'>') => "&gt;",
                Some(b'"') => "&quot;",
                _ => "&#39;",
            })?;
            rest = found.get(1..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}
