//! Axes: where a value stands, and where the lines of the grid are.

/// Above this ratio of largest to smallest the small ones would lie on the floor of a linear axis.
const LINEAR_RATIO_MAX: f64 = 8.0;
/// Above so many powers of ten the 2s and 5s between them have no room.
const DENSE_DECADES_MAX: i32 = 2;
/// Lines of a linear grid, about.
const LINEAR_LINES: f64 = 5.0;
/// Powers of ten that stand between 90 % and the largest value.
const NINES: std::ops::RangeInclusive<u32> = 3..=7;

/// An axis of a plot.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: String,
    /// Where it begins and ends, in its own measure.
    pub(super) from: f64,
    pub(super) to: f64,
    /// Where a line of the grid is, and what it says.
    pub(super) ticks: Vec<(f64, String)>,
    log: bool,
}

impl Axis {
    /// An axis that holds all these values: from 0, or logarithmic if they are far apart.
    pub(super) fn of_values(name: &str, values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if least > most {
            (least, most) = (1.0, 1.0);
        }
        if most / least > LINEAR_RATIO_MAX { Self::log(name, least, most) } else { Self::linear(name, most) }
    }

    fn log(name: &str, least: f64, most: f64) -> Self {
        let (from, to) = (least.log10() - 0.05, most.log10() + 0.05);
        let (first, last) = (whole(from.floor()), whole(to.ceil()));
        let steps: &[f64] = if last - first <= DENSE_DECADES_MAX + 1 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let values =
            (first..=last).flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        let ticks = values.map(|value| (value.log10(), short(value)));
        let ticks = ticks.filter(|(at, _)| (from..=to).contains(at)).collect();
        Self { name: name.to_owned(), from, to, ticks, log: true }
    }

    fn linear(name: &str, most: f64) -> Self {
        let rough = most / LINEAR_LINES;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(rough);
        let to = most * 1.05;
        let lines = (0..=u32::from(u8::MAX)).map(|line| f64::from(line) * step).take_while(|&at| at <= to);
        let ticks = lines.map(|at| (at, short(at))).collect();
        Self { name: name.to_owned(), from: 0.0, to, ticks, log: false }
    }

    /// One place for each name, in their order.
    pub(super) fn of_names(name: &str, names: &[String]) -> Self {
        let ticks: Vec<_> = (0_u32..).map(f64::from).zip(names.iter().cloned()).collect();
        let to = ticks.last().map_or(0.0, |(at, _)| *at) + 0.5;
        Self { name: name.to_owned(), from: -0.5, to, ticks, log: false }
    }

    /// Quantiles, each further nine as far as the one before; the end is the largest value.
    pub(super) fn of_quantiles(count_max: u64) -> Self {
        let nines = count_max.checked_ilog10().unwrap_or(0).clamp(*NINES.start(), *NINES.end());
        let mut ticks = vec![(0.0, "0".to_owned()), (place_of_quantile(0.5), "50 %".to_owned())];
        ticks.extend((1..=nines).map(|nines| (f64::from(nines), nines_of(nines))));
        let to = f64::from(nines + 1);
        ticks.push((to, "max".to_owned()));
        Self { name: "percentile".to_owned(), from: 0.0, to, ticks, log: false }
    }

    /// Where a value stands; none where the axis can't show it.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !self.log {
            return value.is_finite().then_some(value);
        }
        (value > 0.0 && value.is_finite()).then(|| value.log10())
    }

    /// What the grid says there.
    pub(super) fn label(&self, place: f64) -> String {
        let near = |(at, _): &&(f64, String)| (at - place).abs() < 1e-9;
        self.ticks.iter().find(near).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// Where a quantile below 1 stands on the axis of quantiles.
pub(super) fn place_of_quantile(quantile: f64) -> f64 {
    -(1.0 - quantile).max(f64::MIN_POSITIVE).log10()
}

fn nines_of(nines: u32) -> String {
    match nines {
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more.saturating_sub(2) as usize)),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the logarithm of a finite number is below 400")]
fn whole(decade: f64) -> i32 {
    decade as i32
}

/// A number that fits beside an axis.
fn short(value: f64) -> String {
    for (unit, letter) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit * 0.999_999 {
            return format!("{}{letter}", round(value / unit));
        }
    }
    round(value)
}

fn round(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn values_far_apart_get_a_logarithmic_axis_and_others_one_from_zero() {
        let far = Axis::of_values("us", [10.0, 25_000.0].into_iter());
        assert_eq!(labels(&far), ["10", "100", "1k", "10k"]);
        assert_eq!(far.place(100.0), Some(2.0));
        assert_eq!(far.place(0.0), None);
        let near = Axis::of_values("us", [80.0, 100.0].into_iter());
        assert_eq!(labels(&near), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(near.place(0.0), Some(0.0));
    }

    #[test]
    fn an_axis_of_nothing_is_still_an_axis() {
        let nothing = Axis::of_values("us", std::iter::empty());
        assert!(nothing.from < nothing.to && !nothing.ticks.is_empty());
        let no_names = Axis::of_names("bytes", &[]);
        assert!(no_names.from < no_names.to);
    }

    #[test]
    fn more_values_show_more_nines_and_the_largest_stands_at_the_end() {
        assert_eq!(labels(&Axis::of_quantiles(10)), ["0", "50 %", "90 %", "99 %", "99.9 %", "max"]);
        let many = Axis::of_quantiles(20_000);
        assert_eq!(labels(&many)[4..], ["99.9 %", "99.99 %", "max"]);
        assert!(place_of_quantile(1.0 - 1.0 / 20_000.0) < many.to);
    }
}
