//! Latency over time: every operation, and quantiles of the acknowledged ones.

use history::Outcome;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::load::Run;
use crate::plots::{
    Area, Chart, FAIL, Frame, INFO, OK, RIGHT, WIDTH, axes, on_canvas, text_style, title, units, words,
};
use crate::series::{BucketQuantiles, Buckets, Point, Scatter, quantiles};
use crate::text::{count, span};

const HEIGHT: f64 = 280.0;
/// One colour per quantile; the style sheet adds a dash pattern to each.
const QUANTILE_COLOURS: [RGBColor; 4] = [
    RGBColor(0x1f, 0x6f, 0xb4),
    RGBColor(0x5b, 0x4f, 0xc9),
    RGBColor(0xa6, 0x3d, 0xa0),
    RGBColor(0xc4, 0x3c, 0x5a),
];
const QUANTILE_NAMES: [&str; 4] = ["median", "95 %", "99 %", "max"];

/// What to know about the quantiles.
pub(super) fn quantiles_caption(run: &Run) -> String {
    format!(
        "Acknowledged (ok) operations only, in steps of {} by the time they were meant to start. Latency counts from that \
         time, so waiting in the client counts. A gap in the lines: nothing that began then was acknowledged.",
        span(Buckets::over(run.end).width)
    )
}

/// What to know about the scatter plot.
pub(super) fn raw_caption(scatter: &Scatter) -> String {
    let drawn = scatter.points.len();
    let thinned = if drawn < scatter.total {
        format!(
            " {} of {} operations are drawn: one for those on nearly the same spot; the slowest of every moment stays.",
            count(drawn as u64),
            count(scatter.total as u64)
        )
    } else {
        String::new()
    };
    format!(
        "From the intended start to the completion (corrected for coordinated omission), logarithmic. Operations without a \
         completion are not drawn.{thinned}"
    )
}

/// The scatter plot.
pub(super) fn draw_raw(frame: &Frame, scatter: &Scatter) -> Result<String, String> {
    let ms = |point: &Point| point.latency.as_millis_f64().max(1e-3);
    let (low, high) = decades(scatter.points.iter().map(ms));
    on_canvas(HEIGHT, |area| {
        title(area, "Latency")?;
        raw_legend(area)?;
        let mut chart = axes(area, frame, (low..high).log_scale(), (low, high), &ms_label)?;
        // The rare outcomes lie on top.
        for outcome in [Outcome::Ok, Outcome::Fail, Outcome::Info] {
            for point in scatter.points.iter().filter(|point| point.outcome == outcome) {
                mark(&mut chart, (point.time.as_secs_f64(), ms(point)), outcome)?;
            }
        }
        Ok(())
    })
}

fn mark<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    at: (f64, f64),
    outcome: Outcome,
) -> Result<(), String> {
    match outcome {
        Outcome::Ok => chart.draw_series([Circle::new(at, 4, OK.filled())]).map(drop),
        Outcome::Info => chart.draw_series([TriangleMarker::new(at, 8, INFO.filled())]).map(drop),
        Outcome::Fail => chart.draw_series([Cross::new(at, 6, FAIL.stroke_width(3))]).map(drop),
    }
    .map_err(words)
}

fn raw_legend(area: &Area<'_>) -> Result<(), String> {
    let y = units(12.0);
    let right = WIDTH - RIGHT;
    for (outcome, word, x) in
        [(Outcome::Ok, "ok", 150.0), (Outcome::Info, "info", 100.0), (Outcome::Fail, "fail", 38.0)]
    {
        let at = (units(right - x), y);
        match outcome {
            Outcome::Ok => area.draw(&Circle::new(at, 7, OK.filled())),
            Outcome::Info => area.draw(&TriangleMarker::new(at, 10, INFO.filled())),
            Outcome::Fail => area.draw(&Cross::new(at, 7, FAIL.stroke_width(4))),
        }
        .map_err(words)?;
        let label = Text::new(word, (at.0 + units(9.0), y), text_style(12.0, HPos::Left));
        area.draw(&label).map_err(words)?;
    }
    Ok(())
}

/// The quantile plot.
pub(super) fn draw_quantiles(frame: &Frame, run: &Run) -> Result<String, String> {
    let buckets = quantiles(run, Buckets::over(run.end));
    let (low, high) = decades(buckets.iter().flatten().flat_map(|bucket| bucket.ms));
    on_canvas(HEIGHT, |area| {
        title(area, "Latency quantiles, ok only")?;
        quantile_legend(area)?;
        let mut chart = axes(area, frame, (low..high).log_scale(), (low, high), &ms_label)?;
        for which in (0..4).rev() {
            quantile_line(&mut chart, &buckets, which)?;
        }
        Ok(())
    })
}

/// One quantile over time, interrupted where nothing was acknowledged.
fn quantile_line<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    buckets: &[Option<BucketQuantiles>],
    which: usize,
) -> Result<(), String> {
    let colour = QUANTILE_COLOURS[which];
    for piece in buckets.split(Option::is_none).filter(|piece| !piece.is_empty()) {
        let points: Vec<(f64, f64)> =
            piece.iter().flatten().map(|bucket| (bucket.time_s, bucket.ms[which].max(1e-3))).collect();
        if let [alone] = points[..] {
            chart.draw_series([Circle::new(alone, 4, colour.filled())]).map_err(words)?;
        }
        chart.draw_series([PathElement::new(points, colour.stroke_width(3))]).map_err(words)?;
    }
    Ok(())
}

fn quantile_legend(area: &Area<'_>) -> Result<(), String> {
    let y = units(12.0);
    for (which, x) in [330.0, 235.0, 155.0, 72.0].into_iter().enumerate() {
        let at = units(WIDTH - RIGHT - x);
        let line =
            PathElement::new([(at, y), (at + units(24.0), y)], QUANTILE_COLOURS[which].stroke_width(3));
        area.draw(&line).map_err(words)?;
        let label = Text::new(QUANTILE_NAMES[which], (at + units(30.0), y), text_style(12.0, HPos::Left));
        area.draw(&label).map_err(words)?;
    }
    Ok(())
}

/// The powers of ten around a sample of positive numbers, at least one decade.
fn decades(sample: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let least = sample.clone().fold(f64::INFINITY, f64::min);
    let most = sample.fold(0.0, f64::max);
    if !least.is_finite() || most <= 0.0 {
        return (1.0, 1000.0);
    }
    let low = 10f64.powf(least.log10().floor());
    let high = 10f64.powf(most.log10().ceil());
    (low, if high > low { high } else { low * 10.0 })
}

/// `10 µs`, `1 ms`, `10 s`.
fn ms_label(ms: &f64) -> String {
    let tidy = |x: f64| format!("{}", (x * 1000.0).round() / 1000.0);
    if *ms < 0.9995 {
        format!("{} us", tidy(ms * 1e3))
    } else if *ms < 999.5 {
        format!("{} ms", tidy(*ms))
    } else {
        format!("{} s", tidy(ms / 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vertical_axis_spans_whole_decades() {
        assert_eq!(decades([2.0, 30.0].into_iter()), (1.0, 100.0));
        assert_eq!(decades([10.0].into_iter()), (10.0, 100.0));
        assert_eq!(decades(std::iter::empty()), (1.0, 1000.0));
    }

    #[test]
    fn labels_have_a_fitting_unit() {
        assert_eq!(ms_label(&0.01), "10 us");
        assert_eq!(ms_label(&100.0), "100 ms");
        assert_eq!(ms_label(&10_000.0), "10 s");
    }
}
