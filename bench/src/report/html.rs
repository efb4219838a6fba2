//! Text that a browser reads. What comes from outside gets in escaped or not at all.

use std::fmt::{self, Write};

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup of our own.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, whatever it says.
    pub(super) fn text(&mut self, text: impl fmt::Display) -> &mut Self {
        // Into memory it can't fail.
        let _ = write!(Escaping(&mut self.0), "{text}");
        self
    }

    /// Adds text within a pair of tags: `h2`.
    pub(super) fn element(&mut self, tag: &'static str, text: impl fmt::Display) -> &mut Self {
        self.markup("<").markup(tag).markup(">").text(text).markup("</").markup(tag).markup(">\n")
    }

    /// Adds a drawing, which has escaped its own texts, and says what it shows.
    pub(super) fn drawing(&mut self, svg: &str, shows: &str) -> &mut Self {
        let svg = svg.trim();
        let rest = svg.strip_prefix("<svg").unwrap_or(svg);
        self.markup("<svg role=\"img\" aria-label=\"").text(shows).markup("\"");
        self.0.push_str(rest);
        self.markup("\n")
    }

    /// Adds the sample of a pen, which has no text.
    pub(super) fn sample(&mut self, svg: &str) -> &mut Self {
        self.0.push_str(svg);
        self
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // A browser may take them for the end of the text.
                letter if letter.is_control() && !letter.is_whitespace() => self.0.push('\u{fffd}'),
                letter => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut html = Html::default();
        html.element("p", "<script>alert('a' & \"b\")</script>\0");
        assert_eq!(
            html.into_string(),
            "<p>&lt;script&gt;alert(&#39;a&#39; &amp; &quot;b&quot;)&lt;/script&gt;\u{fffd}</p>\n"
        );
    }

    #[test]
    fn a_drawing_says_what_it_shows() {
        let mut html = Html::default();
        html.drawing("<svg width=\"1\"></svg>\n", "p50 by \"size\"");
        assert_eq!(
            html.into_string(),
            "<svg role=\"img\" aria-label=\"p50 by &quot;size&quot;\" width=\"1\"></svg>\n"
        );
    }
}
