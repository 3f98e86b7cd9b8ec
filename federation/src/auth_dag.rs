//! The auth DAG of a room on dense integers.
//!
//! Each event has an index in insertion order, and comes only after its auth events, so every edge leads to a smaller
//! index and one pass from the top down visits an event after all that refer to it. Auth chains, their difference and the
//! conflicted subgraph are one such pass each, with a bit per starting set.

/// Auth edges in compressed sparse rows: the targets of event `i` are `edges[starts[i]..starts[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthDag {
    starts: Vec<u32>,
    /// Descending within one event.
    edges: Vec<u32>,
}

impl Default for AuthDag {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthDag {
    /// An empty DAG.
    pub fn new() -> Self {
        Self { starts: vec![0], edges: Vec::new() }
    }

    /// How many events it has; also the index of the next.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether it has no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an event after its auth events, and gives its index. Neither order nor repetition in `auth` matters.
    ///
    /// # Panics
    /// If an auth event has no smaller index: the caller has mixed up its indices, and every answer would be wrong.
    pub fn push(&mut self, auth: &[u32]) -> u32 {
        let index = self.len() as u32;
        assert!(auth.iter().all(|target| *target < index), "an event comes after its auth events");
        let start = self.edges.len();
        self.edges.extend_from_slice(auth);
        self.edges[start..].sort_unstable_by(|a, b| b.cmp(a));
        let mut kept = start;
        for at in start..self.edges.len() {
            if at == start || self.edges[at] != self.edges[at - 1] {
                self.edges.swap(kept, at);
                kept += 1;
            }
        }
        self.edges.truncate(kept);
        self.starts.push(self.edges.len() as u32);
        index
    }

    /// The auth events of one event, greatest index first; empty for an index that is not in the DAG.
    pub fn auth_events(&self, index: u32) -> &[u32] {
        let at = index as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => &self.edges[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// The union of the auth chains of the given events, ascending. An event is in its own chain's union only if another
    /// of them refers to it. Indices that are not in the DAG count for nothing.
    pub fn auth_chain(&self, events: &[u32]) -> Vec<u32> {
        let Some(top) = self.top(events) else {
            return Vec::new();
        };
        let mut starts = vec![false; top + 1];
        let mut reached = vec![false; top + 1];
        for event in self.known(events) {
            starts[event] = true;
        }
        for at in (0..=top).rev() {
            if starts[at] || reached[at] {
                for target in self.auth_events(at as u32) {
                    reached[*target as usize] = true;
                }
            }
        }
        indices_of(&reached)
    }

    /// The auth difference of several states: every event in the full auth chain of at least one, but not of all;
    /// ascending.
    ///
    /// The full auth chain of a state is taken with the state's own events in it. The specification's wording leaves them
    /// out, its implementations have always had them in; the results of resolution differ where an event that all states
    /// share is cited by an event of only some.
    pub fn auth_difference(&self, sets: &[Vec<u32>]) -> Vec<u32> {
        self.auth_difference_with_shared(&[], sets)
    }

    /// The same, with the events that belong to every set given once.
    pub fn auth_difference_with_shared(&self, shared: &[u32], sets: &[Vec<u32>]) -> Vec<u32> {
        if sets.len() < 2 {
            return Vec::new();
        }
        let Some(top) = sets.iter().filter_map(|set| self.top(set)).chain(self.top(shared)).max() else {
            return Vec::new();
        };
        let words = sets.len().div_ceil(64);
        let mut bits = Bits { words, all: all_of(sets.len()), reached: vec![0; (top + 1) * words] };
        for event in self.known(shared) {
            bits.fill(event);
        }
        for (number, set) in sets.iter().enumerate() {
            for event in self.known(set) {
                bits.set(event, number);
            }
        }
        // Below the lowest event that some sets reach and others do not, all chains are the same: the pass ends there.
        let mut partial = (0..=top).filter(|event| bits.is_partial(*event)).count();
        let mut difference = Vec::new();
        for at in (0..=top).rev() {
            if partial == 0 {
                break;
            }
            if bits.is_empty(at) {
                continue;
            }
            for target in self.auth_events(at as u32) {
                let target = *target as usize;
                let before = bits.is_partial(target);
                bits.merge(at, target);
                let after = bits.is_partial(target);
                partial = partial + usize::from(after) - usize::from(before);
            }
            if bits.is_partial(at) {
                partial -= 1;
                difference.push(at as u32);
            }
        }
        difference.reverse();
        difference
    }

    /// The conflicted state subgraph: every event on a path along auth edges from one of the given events to another,
    /// they themselves included; ascending. Room version 12, "Conflicted state subgraph".
    ///
    /// An event lies on such a path exactly when one of them reaches it and it reaches one of them, so two passes over the
    /// stretch between the lowest and the highest are enough.
    pub fn conflicted_subgraph(&self, conflicted: &[u32]) -> Vec<u32> {
        let Some(top) = self.top(conflicted) else {
            return Vec::new();
        };
        let bottom = self.known(conflicted).min().unwrap_or(0);
        let mut from = vec![false; top + 1 - bottom];
        for event in self.known(conflicted) {
            from[event - bottom] = true;
        }
        let mut to = from.clone();
        let targets = |at: usize| {
            self.auth_events(at as u32).iter().filter_map(move |target| (*target as usize).checked_sub(bottom))
        };
        for at in (bottom..=top).rev() {
            if from[at - bottom] {
                for target in targets(at) {
                    from[target] = true;
                }
            }
        }
        for at in bottom..=top {
            to[at - bottom] = to[at - bottom] || targets(at).any(|target| to[target]);
        }
        (bottom..=top).filter(|at| from[at - bottom] && to[at - bottom]).map(|at| at as u32).collect()
    }

    fn known<'e>(&self, events: &'e [u32]) -> impl Iterator<Item = usize> + use<'e> {
        let len = self.len();
        events.iter().map(|event| *event as usize).filter(move |event| *event < len)
    }

    fn top(&self, events: &[u32]) -> Option<usize> {
        self.known(events).max()
    }
}

/// For each event, which sets reach it.
struct Bits {
    words: usize,
    all: Vec<u64>,
    reached: Vec<u64>,
}

impl Bits {
    fn of(&self, event: usize) -> &[u64] {
        &self.reached[event * self.words..(event + 1) * self.words]
    }

    fn set(&mut self, event: usize, number: usize) {
        self.reached[event * self.words + number / 64] |= 1 << (number % 64);
    }

    fn fill(&mut self, event: usize) {
        self.reached[event * self.words..(event + 1) * self.words].copy_from_slice(&self.all);
    }

    fn merge(&mut self, from: usize, into: usize) {
        for word in 0..self.words {
            self.reached[into * self.words + word] |= self.reached[from * self.words + word];
        }
    }

    fn is_empty(&self, event: usize) -> bool {
        self.of(event).iter().all(|word| *word == 0)
    }

    fn is_partial(&self, event: usize) -> bool {
        !self.is_empty(event) && self.of(event) != self.all
    }
}

fn all_of(sets: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; sets.div_ceil(64)];
    if let (Some(last), rest @ 1..) = (words.last_mut(), sets % 64) {
        *last = (1 << rest) - 1;
    }
    words
}

fn indices_of(marks: &[bool]) -> Vec<u32> {
    marks.iter().enumerate().filter(|(_, marked)| **marked).map(|(at, _)| at as u32).collect()
}
