//! Completed operations per second, by outcome.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::load::Run;
use crate::plots::{
    Area, Chart, FAIL, Frame, INFO, OK, RIGHT, WIDTH, axes, on_canvas, text_style, title, units, words,
};
use crate::series::{Buckets, rates};
use crate::text::span;

const HEIGHT: f64 = 220.0;

/// What to know about the plot.
pub(super) fn caption(run: &Run) -> String {
    format!(
        "Counted in steps of {}, by the time of the completion; operations without one by that of their invocation.",
        span(Buckets::over(run.end).width)
    )
}

/// The plot: ok as a filled area, fail and info as lines.
pub(super) fn draw(frame: &Frame, run: &Run) -> Result<String, String> {
    let buckets = Buckets::over(run.end);
    let rates = rates(run, buckets);
    let most = rates.iter().flatten().copied().fold(0.0, f64::max);
    let high = if most > 0.0 { most * 1.12 } else { 1.0 };
    let series = |which: usize| -> Vec<(f64, f64)> {
        let step = |(index, rate): (usize, &[f64; 3])| {
            [index, index + 1].map(|edge| (buckets.start_s(edge).min(frame.end_s), rate[which]))
        };
        rates.iter().enumerate().flat_map(step).collect()
    };
    on_canvas(HEIGHT, |area| {
        title(area, "Operations per second")?;
        legend(area)?;
        let mut chart = axes(area, frame, 0.0..high, (0.0, high), &|rate| format!("{rate}"))?;
        let filled = AreaSeries::new(series(0), 0.0, OK.mix(0.25));
        chart.draw_series(filled).map_err(words)?;
        line(&mut chart, series(0), OK)?;
        line(&mut chart, series(1), FAIL)?;
        line(&mut chart, series(2), INFO)
    })
}

fn line<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
) -> Result<(), String> {
    chart.draw_series([PathElement::new(points, colour.stroke_width(3))]).map(drop).map_err(words)
}

fn legend(area: &Area<'_>) -> Result<(), String> {
    let y = units(12.0);
    for (colour, word, x) in [(OK, "ok", 220.0), (INFO, "info", 150.0), (FAIL, "fail", 66.0)] {
        let at = units(WIDTH - RIGHT - x);
        let sample = PathElement::new([(at, y), (at + units(24.0), y)], colour.stroke_width(4));
        area.draw(&sample).map_err(words)?;
        let label = Text::new(word, (at + units(30.0), y), text_style(12.0, HPos::Left));
        area.draw(&label).map_err(words)?;
    }
    Ok(())
}
