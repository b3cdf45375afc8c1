//! Colours, on a terminal only, and not where `NO_COLOR` is set (<https://no-color.org>).

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style};

/// How wide output is where no terminal says.
pub const USUAL_WIDTH: usize = 100;
/// The narrowest that is still worth drawing.
pub const LEAST_WIDTH: usize = 60;
/// The widest that is still read.
pub const MOST_WIDTH: usize = 160;

/// What a text means, so that one place decides how that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Strong,
    /// Of less weight.
    Faint,
    /// As it should be.
    Good,
    /// On its way out, or worth a look.
    Warn,
    /// Broken.
    Bad,
    /// On its way in.
    New,
}

/// Where output goes, as far as its looks depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are shown.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// Without colours, in the usual width.
    pub const PLAIN: Self = Self { colour: false, width: USUAL_WIDTH };

    /// What standard output is like.
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = size.filter(|w| terminal && *w > 0).unwrap_or(USUAL_WIDTH).clamp(LEAST_WIDTH, MOST_WIDTH);
        Self { colour: terminal && !refused, width }
    }

    /// `text` as it is to look.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::New => AnsiColor::Cyan.on_default(),
        };
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_nothing_is_added() {
        assert_eq!(Look::PLAIN.paint(Tone::Bad, "x"), "x");
        assert_eq!(Look { colour: true, ..Look::PLAIN }.paint(Tone::Bad, "x"), "\u{1b}[1m\u{1b}[31mx\u{1b}[0m");
    }
}
