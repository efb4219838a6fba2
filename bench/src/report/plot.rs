//! Lines on a plane, as SVG.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use super::axis::Axis;

const WIDTH: u32 = 560;
const HEIGHT: u32 = 320;
/// What the page's style replaces by colours of its own, for light and dark.
const INK: RGBColor = RGBColor(0x10, 0x10, 0x10);
const GRID: RGBColor = RGBColor(0x20, 0x20, 0x20);
const FONT: (&str, i32) = ("sans-serif", 16);
/// Readable on white and on near-black.
const COLOURS: [RGBColor; 12] = [
    RGBColor(0x2F, 0x7E, 0xD8),
    RGBColor(0xD9, 0x73, 0x0D),
    RGBColor(0x2A, 0x9D, 0x5C),
    RGBColor(0x8A, 0x7F, 0x72),
    RGBColor(0xC2, 0x52, 0x9B),
    RGBColor(0x15, 0x96, 0xA8),
    RGBColor(0xB5, 0x8A, 0x00),
    RGBColor(0x84, 0x6B, 0xD9),
    RGBColor(0xD6, 0x4F, 0x4F),
    RGBColor(0x6B, 0x8E, 0x23),
    RGBColor(0x4F, 0x8F, 0xA8),
    RGBColor(0xB0, 0x72, 0x4A),
];
/// Drawn and left out, in pixels; the first is drawn through.
const DASHES: [(u32, u32); 4] = [(1, 0), (7, 4), (2, 4), (14, 4)];

/// How a line looks: the colour says what was measured, the dashes in which run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    pub(super) colour: usize,
    pub(super) dash: usize,
}

impl Pen {
    fn rgb(self) -> RGBColor {
        COLOURS[self.colour % COLOURS.len()]
    }

    fn dashes(self) -> (u32, u32) {
        // Once every colour is taken, the next lines differ by their dashes.
        DASHES[(self.dash + self.colour / COLOURS.len()) % DASHES.len()]
    }

    /// A piece of the line, for a legend.
    pub(super) fn sample(self) -> String {
        let RGBColor(red, green, blue) = self.rgb();
        let (drawn, left_out) = self.dashes();
        format!(
            "<svg class=\"pen\" width=\"32\" height=\"8\" aria-hidden=\"true\"><line x1=\"0\" y1=\"4\" x2=\"32\" y2=\"4\" \
             stroke=\"#{red:02x}{green:02x}{blue:02x}\" stroke-width=\"3\" stroke-dasharray=\"{drawn} {left_out}\"/></svg>"
        )
    }
}

/// A line of a plot, in the measure of its axes.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) pen: Pen,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether each point is a figure of its own, not a step of a curve.
    pub(super) marked: bool,
}

/// An axis as the plotting library asks for it.
struct Scale<'a>(&'a Axis);

impl Ranged for Scale<'_> {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation, reason = "pixels of a plot are far below 2^31")]
    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.0.from) / (self.0.to - self.0.from);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.0.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.from..self.0.to
    }
}

/// Draws the lines.
///
/// # Errors
/// If the plotting library can't.
pub(super) fn svg(x: &Axis, y: &Axis, lines: &[Line]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(46)
            .y_label_area_size(66)
            .build_cartesian_2d(Scale(x), Scale(y))?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(FONT.into_font().color(&INK))
            .axis_desc_style(FONT.into_font().color(&INK))
            .x_label_formatter(&|place| x.label(*place))
            .y_label_formatter(&|place| y.label(*place))
            .x_desc(x.name.as_str())
            .y_desc(y.name.as_str())
            .draw()?;
        for line in lines {
            let style = line.pen.rgb().stroke_width(2);
            let points = line.points.iter().copied();
            match line.pen.dashes() {
                (_, 0) => drop(chart.draw_series(LineSeries::new(points, style))?),
                (drawn, left_out) => {
                    chart.draw_series(DashedLineSeries::new(points, drawn, left_out, style))?;
                }
            }
            if line.marked {
                let marks = line.points.iter().map(|&point| Circle::new(point, 3, line.pen.rgb().filled()));
                chart.draw_series(marks)?;
            }
        }
        root.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_lines_its_names_and_its_grid() {
        let names = ["1 KiB".to_owned(), "<4 KiB>".to_owned()];
        let (x, y) =
            (Axis::of_names("snapshot", &names), Axis::of_values("p50 us", [10.0, 20.0].into_iter()));
        let line = |dash| Line {
            pen: Pen { colour: 0, dash },
            points: vec![(0.0, 10.0), (1.0, 20.0)],
            marked: true,
        };
        let svg = svg(&x, &y, &[line(0), line(1)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for word in ["1 KiB", "&lt;4 KiB&gt;", "p50 us", "#2F7ED8", "#101010", "#202020", "<circle"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
        assert!(svg.matches("<polyline").count() > 10, "the second line has dashes: {svg}");
    }
}
