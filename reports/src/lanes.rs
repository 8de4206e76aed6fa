//! The drawing of an anomaly: one lane per process, bars from invocation to completion, fault windows behind.
//!
//! The axis is the real one as long as every operation and every pause between two stamps can be seen on it. When
//! they differ too much (a write, ten quiet seconds, two reads of a millisecond) the axis is *stretched*: every
//! interval between neighbouring stamps gets a minimum width, the rest is shared by square root of its length. The
//! order of stamps is always exact, and the drawing says that it is stretched.

use history::{Nanos, Operation, Outcome, Process};

use crate::faults::{self, Fault};
use crate::load::{Run, outcome_word};
use crate::op::label;
use crate::plots::FAULT_STYLES;
use crate::svg::{Anchor, Svg, bold_width, text_width};
use crate::text::{at, clip, clip_label, span, stamp};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 26.0;
const BAR: f64 = 16.0;
const LINE: f64 = 16.0;
const PAD: f64 = 10.0;
const BOTTOM: f64 = 40.0;
/// The least width of an interval between two stamps, where there is room.
const MIN_INTERVAL: f64 = 26.0;
/// The least width that an interval must have on a linear axis for the axis to stay linear.
const MIN_LINEAR: f64 = 5.0;
/// How many operations are drawn.
pub(crate) const MAX_OPERATIONS: usize = 60;

/// A drawing and what to know about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lanes {
    /// The SVG element.
    pub(crate) svg: String,
    /// The caption.
    pub(crate) note: String,
}

/// From time to horizontal position.
struct Axis {
    stamps: Vec<Nanos>,
    x: Vec<f64>,
    stretched: bool,
}

impl Axis {
    /// An axis on which every stamp has a place. At least one stamp.
    fn new(mut stamps: Vec<Nanos>) -> Self {
        stamps.sort_unstable();
        stamps.dedup();
        let width = WIDTH - LEFT - RIGHT;
        let lengths: Vec<f64> = stamps.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64).collect();
        let total: f64 = lengths.iter().sum();
        let shortest = lengths.iter().copied().fold(f64::INFINITY, f64::min);
        let stretched = !lengths.is_empty() && shortest / total * width < MIN_LINEAR;
        let floor = if stretched { MIN_INTERVAL.min(0.6 * width / lengths.len() as f64) } else { 0.0 };
        let weight = |length: f64| if stretched { length.sqrt() } else { length };
        let weights: f64 = lengths.iter().map(|length| weight(*length)).sum();
        let spare = width - floor * lengths.len() as f64;
        let mut x = vec![LEFT];
        for length in &lengths {
            let last = *x.last().expect("invariant: the first position is there");
            x.push(last + floor + spare * weight(*length) / weights);
        }
        Self { stamps, x, stretched }
    }

    /// The position of a moment; moments outside lie at the ends.
    fn at(&self, time: Nanos) -> f64 {
        match self.stamps.binary_search(&time) {
            Ok(exact) => self.x[exact],
            Err(0) => self.x[0] - 8.0,
            Err(after) if after == self.stamps.len() => WIDTH - RIGHT + 8.0,
            Err(after) => {
                let (from, to) = (self.stamps[after - 1], self.stamps[after]);
                let share = (time.0 - from.0) as f64 / (to.0 - from.0) as f64;
                self.x[after - 1] + share * (self.x[after] - self.x[after - 1])
            }
        }
    }
}

/// One operation in its lane.
struct Bar<'a> {
    operation: &'a Operation,
    label: String,
    from: f64,
    to: f64,
    /// Which line of labels of its lane is free.
    level: usize,
}

/// One process.
struct Lane<'a> {
    process: Process,
    node: String,
    bars: Vec<Bar<'a>>,
    levels: usize,
}

impl Lane<'_> {
    fn height(&self) -> f64 {
        self.levels as f64 * LINE + BAR + PAD
    }
}

/// Draws operations, or nothing when there are none. `id` is unique in the page.
pub(crate) fn draw(run: &Run, id: &str, operations: &[Operation]) -> Option<Lanes> {
    let mut drawn: Vec<&Operation> = operations.iter().take(MAX_OPERATIONS).collect();
    if drawn.is_empty() {
        return None;
    }
    drawn.sort_by_key(|operation| (operation.call, operation.index));
    drawn.dedup_by_key(|operation| operation.index);
    let axis = Axis::new(drawn.iter().flat_map(|o| std::iter::once(o.call).chain(end(o))).collect());
    let with_key = drawn.iter().any(|operation| operation.key != drawn[0].key);
    let lanes = lanes(&axis, &drawn, with_key);
    let height = TOP + lanes.iter().map(Lane::height).sum::<f64>() + BOTTOM;
    let desc =
        drawn.iter().map(|o| format!("process {}: {}", o.process, label(o, with_key))).collect::<Vec<_>>();
    let mut svg =
        Svg::new(id, "lanes", WIDTH, height, "Operations of the anomaly, by process", &desc.join("; "));
    fault_bands(&mut svg, run, &axis, height);
    ticks(&mut svg, &axis, height);
    let mut y = TOP;
    for lane in &lanes {
        draw_lane(&mut svg, lane, y);
        y += lane.height();
    }
    Some(Lanes { svg: svg.finish(), note: note(&axis, drawn.len(), operations.len()) })
}

/// The stamp at which a bar ends; an `info` operation has no end.
fn end(operation: &Operation) -> Option<Nanos> {
    operation.effective_end()
}

fn note(axis: &Axis, drawn: usize, of: usize) -> String {
    let origin = stamp(axis.stamps[0]);
    let stretched = if axis.stretched {
        " The axis is stretched where stamps are close together; their order is exact."
    } else {
        ""
    };
    let omitted =
        if drawn < of { format!(" Drawn: the first {drawn} of {of} operations.") } else { String::new() };
    format!(
        "Bars run from invocation to completion; +0 is {origin}. Hatched and open-ended: outcome unknown (info). Dashed \
         outline: failed.{stretched}{omitted}"
    )
}

fn lanes<'a>(axis: &Axis, operations: &[&'a Operation], with_key: bool) -> Vec<Lane<'a>> {
    let mut lanes: Vec<Lane<'a>> = Vec::new();
    for operation in operations {
        let at = lanes.iter().position(|lane| lane.process == operation.process).unwrap_or_else(|| {
            let node = operation.node.as_ref().map_or_else(String::new, |node| clip_label(&node.0, 8));
            lanes.push(Lane { process: operation.process, node, bars: Vec::new(), levels: 1 });
            lanes.len() - 1
        });
        let from = axis.at(operation.call);
        let to = end(operation).map_or(WIDTH - RIGHT + 20.0, |end| axis.at(end)).max(from + 4.0);
        let label = clip_label(&label(operation, with_key), 32);
        lanes[at].bars.push(Bar { operation, label, from, to, level: 0 });
    }
    for lane in &mut lanes {
        stack_labels(lane);
    }
    lanes
}

/// Where a label begins: at its bar, but inside the drawing.
fn label_x(bar: &Bar<'_>) -> f64 {
    bar.from.min(WIDTH - bold_width(&bar.label) - 4.0).max(LEFT)
}

/// Puts labels that would overlap onto different lines.
fn stack_labels(lane: &mut Lane<'_>) {
    let mut free_from: Vec<f64> = Vec::new();
    for bar in &mut lane.bars {
        let x = label_x(bar);
        let level = free_from.iter().position(|free| *free <= x).unwrap_or_else(|| {
            free_from.push(0.0);
            free_from.len() - 1
        });
        free_from[level] = x + bold_width(&bar.label) + 8.0;
        bar.level = level;
    }
    lane.levels = free_from.len().max(1);
}

fn draw_lane(svg: &mut Svg, lane: &Lane<'_>, y: f64) {
    let bar_y = y + lane.levels as f64 * LINE;
    svg.line(LEFT - 8.0, y + lane.height(), WIDTH, y + lane.height(), "grid");
    svg.text(8.0, bar_y + 12.0, Anchor::Start, "label strong", &format!("p{}", lane.process));
    svg.text(LEFT - 16.0, bar_y + 12.0, Anchor::End, "label", &lane.node);
    for bar in &lane.bars {
        draw_bar(svg, bar, bar_y);
    }
}

fn draw_bar(svg: &mut Svg, bar: &Bar<'_>, y: f64) {
    let operation = bar.operation;
    let until = operation.effective_end().map_or_else(|| "unknown".to_owned(), stamp);
    let word = outcome_word(operation.outcome);
    svg.open_tip(&format!(
        "#{} {}, {word}, {} to {until}",
        operation.index,
        bar.label,
        stamp(operation.call)
    ));
    let text_y = y - 5.0 - bar.level as f64 * LINE;
    if bar.level > 0 {
        svg.line(bar.from, text_y + 3.0, bar.from, y, "leader-line");
    }
    if operation.outcome == Outcome::Info {
        svg.rect(bar.from, y, bar.to - bar.from, BAR, "class=\"op op-info\"");
        svg.line(bar.from, y, bar.from, y + BAR, "op-info-start");
    } else {
        svg.rect(bar.from, y, bar.to - bar.from, BAR, &format!("rx=\"3\" class=\"op op-{word}\""));
    }
    svg.text(label_x(bar), text_y, Anchor::Start, "op-label", &bar.label);
    svg.close();
}

fn fault_bands(svg: &mut Svg, run: &Run, axis: &Axis, height: f64) {
    let kinds = faults::kinds(&run.faults);
    let (first, last) = (axis.stamps[0], *axis.stamps.last().expect("invariant: an axis has stamps"));
    let mut free_from = 0.0;
    for fault in overlapping(run, first, last) {
        let Some((from, to)) = fault.window(run.end) else { continue };
        let style = kinds.iter().position(|kind| *kind == fault.kind).unwrap_or_default() % FAULT_STYLES;
        let (x, to_x) = (axis.at(from), axis.at(to));
        svg.open_tip(&format!("{}, {} to {}", clip(&fault.label(), 120), at(from), at(to)));
        svg.rect(
            x,
            TOP - 8.0,
            (to_x - x).max(2.0),
            height - TOP - BOTTOM + 8.0,
            &format!("class=\"fault fault-{style}\""),
        );
        let label = clip_label(&fault.label(), 28);
        let label_x = x.min(WIDTH - text_width(&label) - 4.0);
        if label_x >= free_from {
            svg.text(label_x + 2.0, TOP - 12.0, Anchor::Start, "fault-label", &label);
            free_from = label_x + text_width(&label) + 10.0;
        }
        svg.close();
    }
}

/// The faults whose window overlaps an interval.
pub(crate) fn overlapping(run: &Run, first: Nanos, last: Nanos) -> impl Iterator<Item = &Fault> {
    run.faults
        .iter()
        .filter(move |fault| fault.window(run.end).is_some_and(|(from, to)| from <= last && to >= first))
}

/// Lines at the stamps, labelled with the distance from the first one where there is room.
fn ticks(svg: &mut Svg, axis: &Axis, height: f64) {
    let mut free_from = f64::MIN;
    for (stamp, x) in axis.stamps.iter().zip(&axis.x) {
        svg.line(*x, TOP - 2.0, *x, height - BOTTOM + 4.0, "stamp");
        let text = format!("+{}", span(stamp.saturating_sub(axis.stamps[0])));
        let text = if *stamp == axis.stamps[0] { "+0".to_owned() } else { text };
        let half = text_width(&text) / 2.0;
        if x - half >= free_from {
            svg.text(*x, height - BOTTOM + 18.0, Anchor::Middle, "tick-label", &text);
            free_from = x + half + 6.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_is_linear_while_everything_can_be_seen() {
        let axis = Axis::new(vec![Nanos(0), Nanos(50), Nanos(100)]);
        assert!(!axis.stretched);
        assert!((axis.at(Nanos(25)) - (LEFT + (WIDTH - LEFT - RIGHT) / 4.0)).abs() < 1e-6);
    }

    #[test]
    fn stretched_axis_keeps_the_order_and_a_least_width() {
        let axis = Axis::new(vec![Nanos(0), Nanos(1), Nanos(10_000_000_000), Nanos(10_000_000_001)]);
        assert!(axis.stretched);
        assert!(axis.x.windows(2).all(|pair| pair[1] - pair[0] >= MIN_INTERVAL));
        assert!((axis.x[3] - (WIDTH - RIGHT)).abs() < 1e-6);
    }

    #[test]
    fn single_stamp_has_a_place() {
        assert!(Axis::new(vec![Nanos(7)]).at(Nanos(7)).is_finite());
    }
}
