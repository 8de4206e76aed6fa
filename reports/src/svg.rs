//! A small writer for drawings that need more than a chart: text is escaped, attributes are ours alone.

use std::fmt::Write as _;

use crate::text::printable;

/// An SVG document under construction. Units are CSS pixels at full width.
#[derive(Debug)]
pub(crate) struct Svg {
    out: String,
}

/// Which point of a text its position names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    /// The left end.
    Start,
    /// The middle.
    Middle,
    /// The right end.
    End,
}

impl Svg {
    /// Begins a drawing. `id` distinguishes the drawings of a page; it comes from us, never from a run.
    pub(crate) fn new(id: &str, class: &str, width: f64, height: f64, title: &str, desc: &str) -> Self {
        let mut out = format!(
            "<svg class=\"plot {class}\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" \
             aria-labelledby=\"t-{id} d-{id}\">\n"
        );
        let _ = writeln!(out, "<title id=\"t-{id}\">{}</title>", escape(title));
        let _ = writeln!(out, "<desc id=\"d-{id}\">{}</desc>", escape(desc));
        Self { out }
    }

    /// A rectangle. `attributes` comes from us.
    pub(crate) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, attributes: &str) {
        let width = width.max(0.0);
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {attributes}/>"
        );
    }

    /// A line.
    pub(crate) fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, class: &str) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// A path; `d` comes from us.
    pub(crate) fn path(&mut self, d: &str, class: &str) {
        let _ = writeln!(self.out, "<path d=\"{d}\" class=\"{class}\"/>");
    }

    /// A text.
    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escape(text)
        );
    }

    /// Begins a group that shows `tip` when pointed at.
    pub(crate) fn open_tip(&mut self, tip: &str) {
        let _ = writeln!(self.out, "<g><title>{}</title>", escape(tip));
    }

    /// Ends the group.
    pub(crate) fn close(&mut self) {
        self.out.push_str("</g>\n");
    }

    /// The document.
    pub(crate) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// Text that is safe between tags and in attributes, and visible.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The width of a text in a 12 px sans-serif font, roughly: enough to keep labels apart.
pub(crate) fn text_width(text: &str) -> f64 {
    text.chars().map(|c| if c.is_ascii() { 6.7 } else { 9.0 }).sum()
}

/// The width of the same text in bold.
pub(crate) fn bold_width(text: &str) -> f64 {
    text_width(text) * 1.15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element() {
        let mut svg = Svg::new("x", "lanes", 10.0, 10.0, "</title><script>", "a & b");
        svg.text(0.0, 0.0, Anchor::Start, "label", "\"><img onerror='x'>\u{0}");
        let out = svg.finish();
        assert!(!out.contains("<script") && !out.contains("<img"));
        assert!(out.contains("&lt;/title&gt;&lt;script&gt;") && out.contains("\\u{0}"));
    }
}
