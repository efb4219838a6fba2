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
    /// There is no such number.
    Nothing,
    Judged(Verdict, String),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn number(value: Option<f64>) -> Self {
        value.map_or(Self::Nothing, |value| Self::Number(number(value)))
    }

    pub(super) fn count(count: u64) -> Self {
        Self::Number(count.to_string())
    }

    fn write(&self, html: &mut Html) {
        match self {
            Self::Text(text) => html.markup("<td>").text(text),
            Self::Line(pen, text) => {
                html.markup("<td class=\"line\">").sample(&pen.sample()).markup(" ").text(text)
            }
            Self::Number(number) => html.markup("<td class=\"number\">").text(number),
            Self::Nothing => html.markup("<td class=\"number\">–"),
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

/// Writes a table that scrolls by itself where the page is too narrow. Columns without a single value are left out.
pub(super) fn write(html: &mut Html, headings: &[String], rows: &[Vec<Cell>]) {
    let is_value = |cell: &Cell| !matches!(cell, Cell::Nothing);
    let shown = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(is_value));
    let columns: Vec<usize> = (0..headings.len()).filter(|&column| shown(column)).collect();
    html.markup("<div class=\"wide\"><table>\n<thead><tr>");
    for heading in columns.iter().filter_map(|&column| headings.get(column)) {
        html.markup("<th scope=\"col\">").text(heading).markup("</th>");
    }
    html.markup("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.markup("<tr>");
        columns.iter().filter_map(|&column| row.get(column)).for_each(|cell| cell.write(html));
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

    fn written(names: &[&str], rows: &[Vec<Cell>]) -> String {
        let mut html = Html::default();
        write(&mut html, &headings(names), rows);
        html.into_string()
    }

    #[test]
    fn a_verdict_is_a_word_and_not_a_colour_alone() {
        let row = vec![Cell::text("<warm>"), Cell::Judged(Verdict::Worse, "1.2".to_owned())];
        let html = written(&["path", "ratio"], &[row]);
        assert!(html.contains("&lt;warm&gt;") && html.contains("1.2 worse</td>"), "{html}");
    }

    #[test]
    fn a_column_without_a_single_value_is_left_out() {
        let row = |p90| vec![Cell::text("warm"), Cell::number(p90), Cell::number(None)];
        let html = written(&["path", "p90", "p99.99"], &[row(None), row(Some(7.5))]);
        assert!(html.contains(">p90<") && html.contains("–") && html.contains(">7.5<"), "{html}");
        assert!(!html.contains("p99.99"), "{html}");
    }
}
