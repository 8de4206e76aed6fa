//! Two trees over an array: one lowers ranges and says which places became zero, one takes out what is small.

/// A node of a tree and the places below it, at least one. A tree over `n` places has `2n - 1` nodes, each before its left
/// half, which is before its right half. Recursion goes as deep as the tree, which is the logarithm of its places.
#[derive(Debug, Clone, Copy)]
struct Node {
    at: usize,
    from: usize,
    to: usize,
}

impl Node {
    fn root(places: usize) -> Self {
        Self { at: 0, from: 0, to: places }
    }

    fn halves(self) -> [Self; 2] {
        let middle = self.from.midpoint(self.to);
        let right = self.at + 2 * (middle - self.from);
        [Self { at: self.at + 1, to: middle, ..self }, Self { at: right, from: middle, ..self }]
    }

    fn is_leaf(self) -> bool {
        self.to - self.from == 1
    }
}

/// The number of nodes over so many places.
fn nodes_over(places: usize) -> usize {
    (2 * places).saturating_sub(1)
}

/// Some of the places, `from` included, `to` not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Range {
    fn holds(self, node: Node) -> bool {
        self.from <= node.from && node.to <= self.to
    }

    fn misses(self, node: Node) -> bool {
        node.to <= self.from || self.to <= node.from
    }
}

/// Counts at places. A count is the sum of the nodes on the way down to its place, and one of two halves is zero.
pub(super) struct Depths {
    places: usize,
    nodes: Vec<i32>,
}

/// What is counted where a zero was found, so that it is found once.
const FOUND: i32 = i32::MAX / 4;

impl Depths {
    /// Zeros among the counts are taken as found already.
    pub(super) fn new(counts: &[u32]) -> Self {
        let mut depths = Self { places: counts.len(), nodes: vec![0; nodes_over(counts.len())] };
        if depths.places > 0 {
            depths.fill(Node::root(counts.len()), counts);
        }
        depths
    }

    fn fill(&mut self, node: Node, counts: &[u32]) {
        if node.is_leaf() {
            let count = counts[node.from];
            self.nodes[node.at] = if count == 0 { FOUND } else { count.cast_signed() };
            return;
        }
        for half in node.halves() {
            self.fill(half, counts);
        }
        self.lift(node);
    }

    /// Lowers the places of a range by one and tells which of them became zero.
    pub(super) fn lower(&mut self, range: Range, zeros: &mut Vec<u32>) {
        self.lower_below(Node::root(self.places), range, 0, zeros);
    }

    /// `above` is the sum of the nodes above.
    fn lower_below(&mut self, node: Node, range: Range, above: i32, zeros: &mut Vec<u32>) {
        if range.misses(node) {
            return;
        }
        if range.holds(node) {
            self.nodes[node.at] -= 1;
            return self.find_zeros(node, above, zeros);
        }
        let above = above + self.nodes[node.at];
        for half in node.halves() {
            self.lower_below(half, range, above, zeros);
        }
        self.lift(node);
    }

    fn find_zeros(&mut self, node: Node, above: i32, zeros: &mut Vec<u32>) {
        if above + self.nodes[node.at] > 0 {
            return;
        }
        if node.is_leaf() {
            self.nodes[node.at] = FOUND;
            zeros.push(u32::try_from(node.from).expect("invariant: places fit into 32 bits"));
            return;
        }
        let above = above + self.nodes[node.at];
        for half in node.halves() {
            self.find_zeros(half, above, zeros);
        }
        self.lift(node);
    }

    /// Moves what both halves have in common to their node.
    fn lift(&mut self, node: Node) {
        let [left, right] = node.halves();
        let common = self.nodes[left.at].min(self.nodes[right.at]);
        self.nodes[left.at] -= common;
        self.nodes[right.at] -= common;
        self.nodes[node.at] += common;
    }
}

/// Keys at places, of which the small ones of a range can be taken out. A node is its smallest key.
pub(super) struct Keys {
    places: usize,
    nodes: Vec<u32>,
}

/// The key of a place that was taken out.
const TAKEN: u32 = u32::MAX;

impl Keys {
    pub(super) fn new(places: usize, key: impl Fn(usize) -> u32) -> Self {
        let mut keys = Self { places, nodes: vec![TAKEN; nodes_over(places)] };
        if places > 0 {
            keys.fill(Node::root(places), &key);
        }
        keys
    }

    fn fill(&mut self, node: Node, key: &impl Fn(usize) -> u32) {
        if node.is_leaf() {
            self.nodes[node.at] = key(node.from);
            return;
        }
        for half in node.halves() {
            self.fill(half, key);
        }
        self.lift(node);
    }

    /// Takes out the keys in a range that are at most `limit`, and hands over their places.
    pub(super) fn take(&mut self, range: Range, limit: u32, taken: &mut impl FnMut(usize)) {
        if self.places > 0 {
            self.take_below(Node::root(self.places), range, limit, taken);
        }
    }

    fn take_below(&mut self, node: Node, range: Range, limit: u32, taken: &mut impl FnMut(usize)) {
        if self.nodes[node.at] > limit || range.misses(node) {
            return;
        }
        if node.is_leaf() {
            self.nodes[node.at] = TAKEN;
            return taken(node.from);
        }
        for half in node.halves() {
            self.take_below(half, range, limit, taken);
        }
        self.lift(node);
    }

    fn lift(&mut self, node: Node) {
        let [left, right] = node.halves();
        self.nodes[node.at] = self.nodes[left.at].min(self.nodes[right.at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_become_zero_once_and_in_order() {
        let mut depths = Depths::new(&[1, 2, 0, 1, 1]);
        let mut zeros = Vec::new();
        depths.lower(Range { from: 0, to: 2 }, &mut zeros);
        assert_eq!(zeros, [0]);
        depths.lower(Range { from: 1, to: 2 }, &mut zeros);
        depths.lower(Range { from: 3, to: 5 }, &mut zeros);
        assert_eq!(zeros, [0, 1, 3, 4]);
    }

    #[test]
    fn keys_are_taken_once_and_only_within_range_and_limit() {
        let mut keys = Keys::new(5, |place| [5, 3, 9, 1, 4][place]);
        let mut places = Vec::new();
        keys.take(Range { from: 0, to: 3 }, 5, &mut |place| places.push(place));
        assert_eq!(places, [0, 1]);
        keys.take(Range { from: 0, to: 5 }, 5, &mut |place| places.push(place));
        assert_eq!(places, [0, 1, 3, 4]);
    }
}
