//! Drawings of a whole run on one time axis: the timeline, latency, latency quantiles and rates.
//!
//! plotters lays out axes and series and writes literal colours; the style sheet recolours them for light and dark,
//! and the literal ones remain for viewers without CSS. The background stays transparent. All drawings have the
//! same width and the same margins, so that a moment lies at the same place in each of them.

mod latency;
mod rate;
mod timeline;

use std::panic::{AssertUnwindSafe, catch_unwind};

use history::{Nanos, RunEvent};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::{Shift, cartesian::Cartesian2d};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::faults;
use crate::load::Run;
use crate::metrics::Metrics;
use crate::svg::escape;
use crate::text::{clip_label, printable};

/// The width of every drawing, in CSS pixels.
const WIDTH: f64 = 1080.0;
/// Where the time axis begins.
const LEFT: f64 = 92.0;
/// How far before the right edge it ends.
const RIGHT: f64 = 14.0;
/// Drawing units per CSS pixel: plotters rounds every position to whole units.
const SCALE: f64 = 2.0;
/// How many fault windows are drawn; a run with more of them is a grey wall anyway.
const MAX_BANDS: usize = 200;
/// How many leader changes are drawn.
const MAX_TICKS: usize = 400;
/// How many fault kinds have a colour and a pattern of their own.
pub(crate) const FAULT_STYLES: usize = 8;

const TEXT: RGBColor = RGBColor(0x1a, 0x1a, 0x1a);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const LEADER: RGBColor = RGBColor(0x77, 0x77, 0x77);
const STALL: RGBColor = RGBColor(0x99, 0x99, 0x99);
const OK: RGBColor = RGBColor(0x6d, 0xb6, 0xfe);
const INFO: RGBColor = RGBColor(0xff, 0xaa, 0x26);
const FAIL: RGBColor = RGBColor(0xfe, 0xb5, 0xda);
const FAULT_COLOURS: [RGBColor; FAULT_STYLES] = [
    RGBColor(0x82, 0x50, 0xdf),
    RGBColor(0x0e, 0x8a, 0x8a),
    RGBColor(0x6b, 0x7d, 0x1a),
    RGBColor(0x8d, 0x5b, 0x3a),
    RGBColor(0x42, 0x54, 0xc5),
    RGBColor(0x2e, 0x8b, 0x57),
    RGBColor(0x5a, 0x71, 0x84),
    RGBColor(0xa0, 0x52, 0x2d),
];

/// The style of drawings, for pages and for single files.
pub(crate) const STYLE: &str =
    concat!(include_str!("../templates/colours.css"), include_str!("../templates/plot.css"));
/// The patterns that the style refers to.
pub(crate) const PATTERNS: &str = include_str!("../templates/patterns.svg");

/// One drawing, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drawing {
    /// The file name without extension; also the id.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) title: &'static str,
    /// What to know when reading it.
    pub(crate) caption: String,
    /// The SVG element for a page, or what went wrong.
    pub(crate) svg: Result<String, String>,
}

impl Drawing {
    /// The drawing as a file of its own, with style and patterns inside.
    pub(crate) fn file(&self) -> Option<String> {
        let svg = self.svg.as_ref().ok()?;
        let (tag, rest) = svg.split_once('>')?;
        Some(format!("{tag}>\n<style>\n{STYLE}</style>\n{PATTERNS}{rest}"))
    }
}

/// Everything that the drawings have in common.
#[derive(Debug)]
struct Frame {
    end_s: f64,
    bands: Vec<Band>,
    stalls: Vec<(f64, f64)>,
    leaders: Vec<f64>,
}

/// One shaded window.
#[derive(Debug)]
struct Band {
    from_s: f64,
    to_s: f64,
    kind: String,
    style: usize,
}

impl Frame {
    fn of(run: &Run) -> Self {
        let kinds = faults::kinds(&run.faults);
        let band = |fault: &faults::Fault| {
            let (from, to) = fault.window(run.end)?;
            let style = kinds.iter().position(|kind| *kind == fault.kind).unwrap_or_default() % FAULT_STYLES;
            Some(Band { from_s: from.as_secs_f64(), to_s: to.as_secs_f64(), kind: fault.kind.clone(), style })
        };
        let leader = |event: &RunEvent| match event {
            RunEvent::Leader { time, node: Some(_), .. } => Some(time.as_secs_f64()),
            _ => None,
        };
        let seconds = |(from, to): (Nanos, Nanos)| (from.as_secs_f64(), to.as_secs_f64());
        Self {
            end_s: run.end.as_secs_f64().max(1e-3),
            bands: run.faults.iter().filter_map(band).take(MAX_BANDS).collect(),
            stalls: run.stalls().into_iter().map(seconds).take(MAX_BANDS).collect(),
            leaders: run.events.iter().filter_map(leader).take(MAX_TICKS).collect(),
        }
    }

    /// The horizontal position of a moment, in CSS pixels.
    fn x(&self, time_s: f64) -> f64 {
        LEFT + (time_s / self.end_s).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
}

/// Draws everything; only the timeline when there are no operations. A drawing that fails, even by a panic inside the
/// layout code, is reported in its place.
pub(crate) fn draw_all(run: &Run, metrics: &Metrics) -> Vec<Drawing> {
    let frame = Frame::of(run);
    let caption = timeline::caption(metrics);
    let timeline =
        guarded("timeline", "Timeline of the run", caption, || timeline::draw(&frame, run, metrics));
    if run.history.operations.is_empty() {
        return vec![timeline];
    }
    vec![timeline, latency_raw(&frame, run), latency_quantiles(&frame, run), rate(&frame, run)]
}

fn latency_quantiles(frame: &Frame, run: &Run) -> Drawing {
    let caption = latency::quantiles_caption(run);
    let title = "Latency quantiles of acknowledged operations";
    guarded("latency-quantiles", title, caption, || latency::draw_quantiles(frame, run))
}

fn rate(frame: &Frame, run: &Run) -> Drawing {
    guarded("rate", "Completed operations per second", rate::caption(run), || rate::draw(frame, run))
}

fn latency_raw(frame: &Frame, run: &Run) -> Drawing {
    let scatter = crate::series::scatter(run);
    let caption = latency::raw_caption(&scatter);
    guarded("latency-raw", "Latency of every operation", caption, || latency::draw_raw(frame, &scatter))
}

fn guarded(
    name: &'static str,
    title: &'static str,
    caption: String,
    draw: impl FnOnce() -> Result<String, String>,
) -> Drawing {
    let svg =
        catch_unwind(AssertUnwindSafe(draw)).unwrap_or_else(|_| Err("the layout code panicked".to_owned()));
    let svg = svg
        .map(|svg| if svg.starts_with("<svg class=") { svg } else { labelled(&svg, name, title, &caption) });
    Drawing { name, title, caption, svg }
}

/// Gives an SVG of plotters what assistive technology needs, and a class.
fn labelled(svg: &str, name: &str, title: &str, desc: &str) -> String {
    let (_, body) = svg.split_once('>').unwrap_or(("", svg));
    let (_, view_box) = svg.split_once("viewBox=\"").unwrap_or(("", "0 0 1 1\""));
    let (view_box, _) = view_box.split_once('"').unwrap_or(("0 0 1 1", ""));
    format!(
        "<svg class=\"plot chart\" viewBox=\"{view_box}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" \
         aria-labelledby=\"t-{name} d-{name}\">\n<title id=\"t-{name}\">{}</title>\n<desc id=\"d-{name}\">{}</desc>{}",
        escape(title),
        escape(desc),
        printable(body),
    )
}

/// Drawing units for CSS pixels.
fn units(css_pixels: f64) -> i32 {
    (css_pixels * SCALE).round() as i32
}

/// The font size that plotters must be told to get one of `css_pixels`.
fn font(css_pixels: f64) -> f64 {
    css_pixels * SCALE * 1.24
}

fn text_style(css_pixels: f64, horizontal: HPos) -> TextStyle<'static> {
    ("sans-serif", font(css_pixels)).into_font().color(&TEXT).pos(Pos::new(horizontal, VPos::Center))
}

fn words<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

type Area<'b> = DrawingArea<SVGBackend<'b>, Shift>;
type Chart<'a, 'b, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, Y>>;

/// Runs `draw` on an area of the common width and the given height.
fn on_canvas(height: f64, draw: impl FnOnce(&Area<'_>) -> Result<(), String>) -> Result<String, String> {
    let mut svg = String::new();
    {
        let size = (units(WIDTH).unsigned_abs(), units(height).unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(words)?;
    }
    Ok(svg)
}

/// Axes, grid and bands. `y_label` writes the labels of the vertical axis.
fn axes<'a, 'b, R, Y>(
    area: &'a Area<'b>,
    frame: &Frame,
    y: R,
    (low, high): (f64, f64),
    y_label: &dyn Fn(&f64) -> String,
) -> Result<Chart<'a, 'b, Y>, String>
where
    R: AsRangedCoord<CoordDescType = Y, Value = f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin_top(units(HEADER))
        .margin_right(units(RIGHT))
        .set_label_area_size(LabelAreaPosition::Left, units(LEFT))
        .set_label_area_size(LabelAreaPosition::Bottom, units(24.0))
        .build_cartesian_2d(0.0..frame.end_s, y)
        .map_err(words)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(GRID.stroke_width(2))
        .x_labels(12)
        .y_labels(5)
        .x_label_formatter(&|s| seconds_label(*s))
        .y_label_formatter(y_label)
        .label_style(("sans-serif", font(11.0)).into_font().color(&TEXT))
        .draw()
        .map_err(words)?;
    shade(&mut chart, frame, low, high)?;
    Ok(chart)
}

/// The height above the plotting area for title and legend, in CSS pixels.
const HEADER: f64 = 30.0;

fn seconds_label(s: f64) -> String {
    let rounded = (s * 1000.0).round() / 1000.0;
    format!("{rounded} s")
}

/// Fault windows, stalls, and ticks where the leader changed.
fn shade<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    frame: &Frame,
    low: f64,
    high: f64,
) -> Result<(), String> {
    let rect = |from: f64, to: f64, style: ShapeStyle| Rectangle::new([(from, high), (to, low)], style);
    let minimum = frame.end_s * 0.0015;
    for (from, to) in &frame.stalls {
        chart.draw_series([rect(*from, to.max(from + minimum), STALL.mix(0.3).filled())]).map_err(words)?;
    }
    for band in &frame.bands {
        let style = FAULT_COLOURS[band.style].mix(0.15).filled();
        chart.draw_series([rect(band.from_s, band.to_s.max(band.from_s + minimum), style)]).map_err(words)?;
    }
    for time in &frame.leaders {
        let tick = PathElement::new([(*time, low), (*time, high)], LEADER.stroke_width(2));
        chart.draw_series([tick]).map_err(words)?;
    }
    band_labels(chart, frame, high)
}

/// Writes the kind of a fault into its window where there is room, once per window.
fn band_labels<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    frame: &Frame,
    high: f64,
) -> Result<(), String> {
    let style = ("sans-serif", font(10.0)).into_font().color(&TEXT).pos(Pos::new(HPos::Left, VPos::Top));
    let mut free_from = f64::MIN;
    for band in &frame.bands {
        let label = clip_label(&printable(&band.kind), 16);
        let (from, to) = (frame.x(band.from_s), frame.x(band.to_s));
        let width = crate::svg::text_width(&label);
        if from < free_from || to - from < width + 6.0 {
            continue;
        }
        free_from = from + width + 8.0;
        let at =
            EmptyElement::at((band.from_s, high)) + Text::new(label, (units(4.0), units(3.0)), style.clone());
        chart.draw_series([at]).map_err(words)?;
    }
    Ok(())
}

/// The title at the left, above the plotting area.
fn title(area: &Area<'_>, text: &str) -> Result<(), String> {
    let style = ("sans-serif", font(13.0)).into_font().style(FontStyle::Bold).color(&TEXT);
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(text.to_owned(), (units(LEFT), units(12.0)), style)).map_err(words)
}
