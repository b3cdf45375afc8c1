//! Pictures of keysets: one row per kid, so that old and new kids are *seen* to overlap. The past from the document and its tombstones,
//! the future from the same forecast as `keyrota plan`.
//!
//! A picture is SVG without script. Places are in percent and texts in their own size, so it is as readable on a phone as on a wall.
//! What it shows stands beside it as text too, for whoever does not see it; states differ by pattern, not by colour alone.

pub mod markup;

use std::fmt::Write as _;

use crate::cli::kids::ShortKids;
use crate::cli::moment;
use crate::cli::plan::stretch::{Bar, Shown, Stretches, View};
use crate::cli::plan::{KeysetPlan, Life, Plan, Standing, gone, lives};
use crate::name::Kid;
use crate::time::Timestamp;
use markup::escaped;

/// The colours and patterns of pictures, light and dark.
pub const STYLE: &str = include_str!("picture/style.css");

/// The patterns that [`STYLE`] fills bars with; they stand once in a page.
pub const PATTERNS: &str = concat!(
    r#"<svg class="patterns" aria-hidden="true" width="0" height="0"><defs>"#,
    r#"<pattern id="announced" width="6" height="6" patternUnits="userSpaceOnUse"><circle class="dot" cx="3" cy="3" r="1.4"/></pattern>"#,
    r#"<pattern id="retiring" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">"#,
    r#"<rect class="stripe" width="3" height="6"/></pattern></defs></svg>"#
);

/// As much before now as after it; two change-overs to come.
const VIEW: View = View { change_overs: 3, past: 1, least: 24 };

/// The room is shared out in thousandths.
const WHOLE: usize = 1000;

/// What a date needs beside the next, in thousandths of the narrowest picture, and of one with room for more.
const DATE: usize = 270;
const MORE_DATES: usize = 130;

const ROW: usize = 34;
const HEAD: usize = 18;
const AXIS: usize = 24;

/// A picture and how high it is, in CSS pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What stands between `<svg …>` and `</svg>`.
    pub content: String,
    /// The height.
    pub height: usize,
}

impl Picture {
    /// The picture of a keyset; `None` if it never had a key and gets none within the plan.
    pub fn of(plan: &KeysetPlan) -> Option<Self> {
        let mut all = gone(&plan.document);
        all.extend(lives(&plan.document, &plan.forecast.steps));
        all.sort_by_key(Life::begins);
        let (start, end) = VIEW.bounds(&all, plan.now, plan.until)?;
        let rows: Vec<&Life> = all.iter().filter(|life| life.is_within(start, end)).collect();
        let shorts = ShortKids::of(rows.iter().map(|life| &life.kid));
        let stretches = Stretches::share(&rows, (start, plan.now, end), WHOLE, VIEW.least);
        Some(Self::draw(&rows, &stretches, plan.now, &shorts))
    }

    fn draw(rows: &[&Life], stretches: &Stretches, now: Timestamp, shorts: &ShortKids) -> Self {
        let bottom = HEAD + rows.len() * ROW;
        let mut out = String::new();
        let here = stretches.place_of(now).unwrap_or(0);
        let _ = write!(out, r#"<rect class="past" x="0" y="{HEAD}" width="{}" height="{}"/>"#, percent(here), bottom - HEAD);
        for (n, life) in rows.iter().enumerate() {
            row(&mut out, life, &stretches.bars(life), HEAD + n * ROW, &shorts.short(&life.kid));
        }
        let _ = write!(out, r#"<line class="now" x1="{0}" x2="{0}" y1="{HEAD}" y2="{bottom}"/>"#, percent(here));
        out.push_str(&label("nowtext", here, 12, "now"));
        for Date { class, place, text } in dates(rows, stretches) {
            let _ = write!(out, r#"<line class="{class}" x1="{0}" x2="{0}" y1="{bottom}" y2="{1}"/>"#, percent(place), bottom + 5);
            let _ = write!(out, r#"<text class="{class}" x="{}" y="{}">{}</text>"#, percent(place), bottom + 18, escaped(&text));
        }
        Self { content: out, height: bottom + AXIS }
    }

    /// As an element of a page, called `title`.
    pub fn element(&self, title: &str) -> String {
        let (title, height, content) = (escaped(title), self.height, &self.content);
        format!(r#"<svg class="timeline" role="img" aria-label="{title}" width="100%" height="{height}">{content}</svg>"#)
    }
}

fn row(out: &mut String, life: &Life, bars: &[Bar], top: usize, name: &str) {
    let Some(first) = bars.first() else { return };
    out.push_str(&label("kid", first.place, top + 13, name));
    for bar in bars {
        let (class, words) = words(bar.shown);
        let told = format!("{}: {words} {} – {}", life.kid, moment::full(bar.from), moment::full(bar.until));
        let _ = write!(
            out,
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="12" rx="2"><title>{}</title></rect>"#,
            percent(bar.place),
            top + 17,
            percent(bar.room),
            escaped(&told)
        );
    }
}

const fn words(shown: Shown) -> (&'static str, &'static str) {
    match shown {
        Shown::Announced => ("announced", "announced, does not sign yet"),
        Shown::Active => ("active", "active, signs"),
        Shown::Retiring => ("retiring", "retiring, still accepted"),
    }
}

/// A text that begins at a place, or ends there where too little room is left.
fn label(class: &str, place: usize, y: usize, text: &str) -> String {
    let anchor = if place > WHOLE - DATE { r#" text-anchor="end""# } else { "" };
    format!(r#"<text class="{class}" x="{}" y="{y}"{anchor}>{}</text>"#, percent(place), escaped(text))
}

fn percent(thousandths: usize) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// A date below the picture.
struct Date {
    /// Whether it is shown always, or only where there is room for more.
    class: &'static str,
    place: usize,
    text: String,
}

fn dates(rows: &[&Life], stretches: &Stretches) -> Vec<Date> {
    let mut taken: Vec<Date> = Vec::new();
    for (class, apart) in [("date", DATE), ("date more", MORE_DATES)] {
        for at in stretches.worth_a_date(rows) {
            let Some(place) = stretches.place_of(at) else { continue };
            if place + apart <= WHOLE && taken.iter().all(|other| place.abs_diff(other.place) >= apart) {
                taken.push(Date { class, place, text: moment::on_axis(at, stretches.whole()) });
            }
        }
    }
    taken
}

/// A whole plan as one SVG file.
pub fn file(plan: &Plan) -> String {
    const WIDTH: usize = 960;
    const MARGIN: usize = 24;
    let mut y = 56;
    let mut body = String::new();
    for keyset in &plan.keysets {
        let heading = |note: &str| format!("{}  {}{note}", keyset.id, keyset.rules.spec.algorithm());
        let (note, picture) = match &keyset.standing {
            Standing::Refused { why } => (format!(" – refused: {why}"), None),
            Standing::Orphaned => (" – in no policy any more".to_owned(), Picture::of(keyset)),
            Standing::New => (" – new".to_owned(), Picture::of(keyset)),
            Standing::Kept => (String::new(), Picture::of(keyset)),
        };
        let _ = write!(body, r#"<text class="keyset" x="{MARGIN}" y="{y}">{}</text>"#, escaped(&heading(&note)));
        y += 10;
        for change in &keyset.changes {
            let words = format!("{}: {} → {}", change.what, change.old.as_deref().unwrap_or("–"), change.new.as_deref().unwrap_or("–"));
            y += 18;
            let _ = write!(body, r#"<text class="date" x="{MARGIN}" y="{y}">{}</text>"#, escaped(&words));
        }
        if let Some(picture) = picture {
            let (width, height, content) = (WIDTH - 2 * MARGIN, picture.height, &picture.content);
            y += 8;
            let _ = write!(body, r#"<svg x="{MARGIN}" y="{y}" width="{width}" height="{height}">{content}</svg>"#);
            y += height;
        }
        y += 40;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"keyrota plan\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 \
         {WIDTH} {y}\"><style>{STYLE}</style>{PATTERNS}<rect class=\"paper\" width=\"100%\" height=\"100%\"/><text class=\"basis\" \
         x=\"{MARGIN}\" y=\"28\">{}</text>{body}</svg>\n",
        escaped(&plan.basis)
    )
}

/// The short forms of the kids in a keyset's picture and beside it.
pub fn short_kids(plan: &KeysetPlan) -> ShortKids {
    let foretold: Vec<Kid> = plan.forecast.steps.iter().filter_map(|step| step.kid.clone()).collect();
    let document = &plan.document;
    let kids = document.live().map(|k| &k.key.kid).chain(document.tombstones.iter().map(|t| &t.kid)).chain(&foretold);
    ShortKids::of(kids)
}
