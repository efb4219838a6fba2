//! Tables of exact values.

use super::html::Html;
use super::plot::Pen;

/// How a value stands to the one that it's compared to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Better,
    Worse,
    Same,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
        }
    }
}

/// A cell.
#[derive(Debug)]
pub(super) enum Cell {
    Text(String),
    /// A name, with the line that stands for it in the plot.
    Line(Pen, String),
    Number(String),
    Judged(Verdict, String),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn number(value: Option<f64>) -> Self {
        Self::Number(value.map_or_else(|| "–".to_owned(), number))
    }

    pub(super) fn count(count: u64) -> Self {
        Self::Number(count.to_string())
    }

    fn write(&self, html: &mut Html) {
        match self {
            Self::Text(text) => html.markup("<td>").text(text),
            Self::Line(pen, text) => html.markup("<td>").sample(&pen.sample()).markup(" ").text(text),
            Self::Number(number) => html.markup("<td class=\"number\">").text(number),
            Self::Judged(verdict, text) => html
                .markup("<td class=\"number ")
                .markup(verdict.word())
                .markup("\">")
                .text(text)
                .markup(" ")
                .text(verdict.word()),
        };
        html.markup("</td>");
    }
}

/// Writes a table that scrolls by itself where the page is too narrow.
pub(super) fn write(html: &mut Html, headings: &[String], rows: &[Vec<Cell>]) {
    html.markup("<div class=\"wide\"><table>\n<thead><tr>");
    for heading in headings {
        html.markup("<th scope=\"col\">").text(heading).markup("</th>");
    }
    html.markup("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.markup("<tr>");
        row.iter().for_each(|cell| cell.write(html));
        html.markup("</tr>\n");
    }
    html.markup("</tbody></table></div>\n");
}

/// Headings of constants.
pub(super) fn headings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A value to the thousandth: of microseconds, a nanosecond.
pub(super) fn number(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

/// A snapshot's size as people say it.
pub(super) fn size(bytes: Option<u64>) -> String {
    match bytes {
        None => "the mesh's own".to_owned(),
        Some(bytes) if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        Some(bytes) if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        Some(bytes) => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact_to_the_thousandth() {
        assert_eq!(number(11.663), "11.663");
        assert_eq!(number(81_593.0), "81593");
        assert_eq!(number(3_487.053_445), "3487.053");
        assert_eq!((size(Some(4096)), size(Some(1500))), ("4 KiB".to_owned(), "1500 B".to_owned()));
    }

    #[test]
    fn a_verdict_is_a_word_and_not_a_colour_alone() {
        let mut html = Html::default();
        let rows =
            [vec![Cell::text("<warm>"), Cell::Judged(Verdict::Worse, "1.2".to_owned()), Cell::number(None)]];
        write(&mut html, &headings(&["path", "ratio", "p90"]), &rows);
        let html = html.into_string();
        assert!(
            html.contains("&lt;warm&gt;") && html.contains("1.2 worse</td>") && html.contains("–"),
            "{html}"
        );
    }
}
