//! The timeline: one row per kind of fault, then leader, availability and what went wrong, over the common axis.

use history::{Nanos, RunEvent};

use crate::faults::{self, Fault};
use crate::load::Run;
use crate::metrics::Metrics;
use crate::plots::{FAULT_STYLES, Frame, LEFT, MAX_BANDS, MAX_TICKS, RIGHT, WIDTH, seconds_label};
use crate::svg::{Anchor, Svg, text_width};
use crate::text::{at, clip, clip_label, span};

const ROW: f64 = 26.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 24.0;
/// The narrowest bar that can still be seen, in CSS pixels.
const MIN_BAR: f64 = 2.0;

/// Draws the contents of a row whose upper edge is at a height.
type DrawRow<'a> = dyn Fn(&mut Svg, f64) + 'a;

/// One row.
struct Row<'a> {
    name: String,
    draw: Box<DrawRow<'a>>,
}

/// What to know about the timeline.
pub(super) fn caption(metrics: &Metrics) -> String {
    let gap = match (metrics.availability.longest, metrics.availability.gaps.len()) {
        (Some((from, to)), _) => format!(
            " Longest interval without an acknowledged write: {}, from {} to {}.",
            span(to.saturating_sub(from)),
            at(from),
            at(to)
        ),
        (None, _) => String::new(),
    };
    format!("Fault windows run from injection to verified healing; all drawings share this time axis.{gap}")
}

/// The drawing.
pub(super) fn draw(frame: &Frame, run: &Run, metrics: &Metrics) -> Result<String, String> {
    let rows = rows(frame, run, metrics);
    let height = TOP + rows.len() as f64 * ROW + BOTTOM;
    let mut svg = Svg::new("timeline", "timeline", WIDTH, height, "Timeline of the run", &caption(metrics));
    svg.text(LEFT - 8.0, 16.0, Anchor::End, "heading", "Timeline");
    phases(&mut svg, frame, run, height);
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + index as f64 * ROW;
        svg.line(LEFT, y + ROW, WIDTH - RIGHT, y + ROW, "grid");
        svg.text(LEFT - 8.0, y + 17.0, Anchor::End, "label", &clip_label(&row.name, 13));
        (row.draw)(&mut svg, y);
    }
    ticks(&mut svg, frame, height);
    Ok(svg.finish())
}

fn rows<'a>(frame: &'a Frame, run: &'a Run, metrics: &'a Metrics) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    if run.verdict.anomalies.iter().any(|anomaly| !anomaly.operations.is_empty()) {
        rows.push(Row { name: "anomalies".into(), draw: Box::new(|svg, y| anomalies(svg, frame, run, y)) });
    }
    for (style, kind) in faults::kinds(&run.faults).into_iter().enumerate() {
        let name = kind.clone();
        let draw = move |svg: &mut Svg, y: f64| {
            let of_kind = run.faults.iter().filter(|fault| fault.kind == kind).take(MAX_BANDS);
            fault_bars(svg, frame, run.end, of_kind, style % FAULT_STYLES, y);
        };
        rows.push(Row { name, draw: Box::new(draw) });
    }
    if run.events.iter().any(|event| matches!(event, RunEvent::Leader { .. })) {
        rows.push(Row { name: "leader".into(), draw: Box::new(|svg, y| leaders(svg, frame, run, y)) });
    }
    if metrics.availability.longest.is_some() {
        rows.push(Row { name: "no ok write".into(), draw: Box::new(|svg, y| gaps(svg, frame, metrics, y)) });
    }
    if run.events.iter().any(|event| incident(event).is_some()) {
        rows.push(Row { name: "incidents".into(), draw: Box::new(|svg, y| incidents(svg, frame, run, y)) });
    }
    if !frame.stalls.is_empty() {
        rows.push(Row { name: "harness stall".into(), draw: Box::new(|svg, y| stalls(svg, frame, y)) });
    }
    rows
}

/// A bar with a tip, and a label inside it when there is room.
fn bar(svg: &mut Svg, (from, to): (f64, f64), y: f64, class: &str, label: &str, tip: &str) {
    let width = (to - from).max(MIN_BAR);
    svg.open_tip(tip);
    svg.rect(from, y + 5.0, width, ROW - 10.0, &format!("rx=\"2\" class=\"{class}\""));
    if text_width(label) + 8.0 < width {
        svg.text(from + 4.0, y + 17.0, Anchor::Start, "inside", label);
    }
    svg.close();
}

fn fault_bars<'a>(
    svg: &mut Svg,
    frame: &Frame,
    end: Nanos,
    faults: impl Iterator<Item = &'a Fault>,
    style: usize,
    y: f64,
) {
    for fault in faults {
        let Some((from, to)) = fault.window(end) else { continue };
        let x = (frame.x(from.as_secs_f64()), frame.x(to.as_secs_f64()));
        let label = clip_label(&fault.node_list(), 24);
        let tip = format!("{}, {} to {}", clip(&fault.label(), 120), at(from), at(to));
        bar(svg, x, y, &format!("fault fault-{style}"), &label, &tip);
    }
}

fn leaders(svg: &mut Svg, frame: &Frame, run: &Run, y: f64) {
    let seen: Vec<(f64, Option<String>, u64)> = run
        .events
        .iter()
        .filter_map(|event| match event {
            RunEvent::Leader { time, node, term } => {
                Some((time.as_secs_f64(), node.as_ref().map(|node| node.0.clone()), *term))
            }
            _ => None,
        })
        .take(MAX_TICKS)
        .collect();
    for (index, (from, node, term)) in seen.iter().enumerate() {
        let to = seen.get(index + 1).map_or(frame.end_s, |next| next.0);
        let x = (frame.x(*from), frame.x(to));
        match node {
            Some(node) => {
                let tip = format!("{node} leads, term {term}, from {from:.3} s");
                let long = format!("{node} (term {term})");
                let label = if text_width(&long) + 8.0 < x.1 - x.0 { long } else { node.clone() };
                bar(svg, x, y, "leads", &clip_label(&label, 30), &tip);
            }
            None => bar(svg, x, y, "leaderless", "none", &format!("no leader known from {from:.3} s")),
        }
    }
}

fn gaps(svg: &mut Svg, frame: &Frame, metrics: &Metrics, y: f64) {
    let longest = metrics.availability.longest;
    let mut all: Vec<(Nanos, Nanos)> = metrics.availability.gaps.iter().copied().take(MAX_BANDS).collect();
    all.extend(longest.filter(|longest| !all.contains(longest)));
    for gap in all {
        let x = (frame.x(gap.0.as_secs_f64()), frame.x(gap.1.as_secs_f64()));
        let class = if Some(gap) == longest { "gap longest" } else { "gap" };
        let length = span(gap.1.saturating_sub(gap.0));
        let tip = format!("no acknowledged write for {length}, from {}", at(gap.0));
        bar(svg, x, y, class, &length, &tip);
    }
}

fn stalls(svg: &mut Svg, frame: &Frame, y: f64) {
    for (from, to) in &frame.stalls {
        let tip =
            format!("the harness did not run from {from:.3} s to {to:.3} s; latencies mean little here");
        bar(svg, (frame.x(*from), frame.x(*to)), y, "stall", "", &tip);
    }
}

fn anomalies(svg: &mut Svg, frame: &Frame, run: &Run, y: f64) {
    let mut free_from = f64::MIN;
    for anomaly in run.verdict.anomalies.iter().take(MAX_BANDS) {
        let times = || anomaly.operations.iter().filter_map(|index| run.operation(*index));
        let from = times().map(|operation| operation.call).min();
        let to = times().map(|operation| operation.ret.unwrap_or(operation.call)).max();
        let (Some(from), Some(to)) = (from, to) else { continue };
        let x = (frame.x(from.as_secs_f64()), frame.x(to.as_secs_f64()));
        svg.open_tip(&format!("{} {}, {} to {}", anomaly.id, clip(&anomaly.kind, 60), at(from), at(to)));
        svg.rect(x.0 - 1.0, y + 5.0, (x.1 - x.0).max(3.0), ROW - 10.0, "rx=\"2\" class=\"anomaly\"");
        let label = clip_label(&anomaly.id, 8);
        let label_x = (x.1 + 5.0).min(WIDTH - RIGHT - text_width(&label));
        if label_x >= free_from {
            svg.text(label_x, y + 17.0, Anchor::Start, "inside strong", &label);
            free_from = label_x + text_width(&label) + 4.0;
        }
        svg.close();
    }
}

/// What of the run's events belongs into the row of incidents, in words.
fn incident(event: &RunEvent) -> Option<String> {
    match event {
        RunEvent::Exited { node, status, licensed: false, .. } => Some(format!("{node} exited: {status}")),
        RunEvent::RestartFailed { node, detail, .. } => Some(format!("{node} did not restart: {detail}")),
        RunEvent::ForbiddenLog { node, text, .. } => Some(format!("{node} logged: {text}")),
        RunEvent::NotRecovered { limit, .. } => Some(format!("not recovered within {}", span(*limit))),
        RunEvent::Infrastructure { detail, .. } | RunEvent::Bypass { detail, .. } => Some(detail.clone()),
        RunEvent::FailedFast { .. } => Some("the load ended at the first violation".to_owned()),
        RunEvent::Interrupted { .. } => Some("interrupted by the user".to_owned()),
        _ => None,
    }
}

fn incidents(svg: &mut Svg, frame: &Frame, run: &Run, y: f64) {
    for event in run.events.iter().take(100_000) {
        let Some(words) = incident(event) else { continue };
        let x = frame.x(event.time().as_secs_f64());
        let middle = y + ROW / 2.0;
        svg.open_tip(&format!("{}: {}", at(event.time()), clip(&words, 200)));
        let (left, right, up, down) = (x - 5.0, x + 5.0, middle - 5.0, middle + 5.0);
        svg.path(
            &format!("M{left:.1} {up:.1}L{right:.1} {down:.1}M{right:.1} {up:.1}L{left:.1} {down:.1}"),
            "incident",
        );
        svg.close();
    }
}

/// Vertical lines where the run entered a phase, with the names above as far as there is room: the load first.
fn phases(svg: &mut Svg, frame: &Frame, run: &Run, height: f64) {
    let phase = |event: &RunEvent| match event {
        RunEvent::Phase { time, name } => Some((frame.x(time.as_secs_f64()), clip_label(name, 16))),
        _ => None,
    };
    let mut phases: Vec<(f64, String)> = run.events.iter().filter_map(phase).take(MAX_TICKS).collect();
    phases
        .sort_by_key(|(_, name)| ["load", "heal", "final-reads"].iter().position(|n| n == name).unwrap_or(9));
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (x, name) in phases {
        svg.line(x, TOP - 6.0, x, height - BOTTOM, "phase");
        let from = x.min(WIDTH - RIGHT - text_width(&name));
        let to = from + text_width(&name) + 6.0;
        if taken.iter().all(|(left, right)| to <= *left || from >= *right) {
            svg.text(from, 16.0, Anchor::Start, "phase-name", &name);
            taken.push((from, to));
        }
    }
}

/// Where an axis of this length is labelled: at most a dozen round steps.
fn ticks(svg: &mut Svg, frame: &Frame, height: f64) {
    let rough = frame.end_s / 11.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    let step = step.unwrap_or(frame.end_s);
    for index in 0..=12 {
        let time = f64::from(index) * step;
        if time > frame.end_s {
            break;
        }
        let x = frame.x(time);
        svg.line(x, height - BOTTOM, x, height - BOTTOM + 4.0, "tick");
        svg.text(x, height - 6.0, Anchor::Middle, "tick-label", &seconds_label(time));
    }
}
