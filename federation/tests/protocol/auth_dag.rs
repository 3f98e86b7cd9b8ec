//! The auth DAG against walks over sets, which follow the definitions word for word.
//!
//! <https://spec.matrix.org/v1.19/rooms/v2/#definitions>, <https://spec.matrix.org/v1.19/rooms/v12/#definitions>

use std::collections::BTreeSet;

use linkim_federation::AuthDag;
use proptest::prelude::*;

type Edges = Vec<Vec<u32>>;

fn dag_of(edges: &Edges) -> AuthDag {
    let mut dag = AuthDag::new();
    for (at, auth) in edges.iter().enumerate() {
        assert_eq!(dag.push(auth), at as u32);
    }
    dag
}

/// "The auth chain of an event E is the set containing all of E's auth events, all of their auth events, and so on."
fn chain(edges: &Edges, event: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for auth in &edges[event as usize] {
        found.insert(*auth);
        found.extend(chain(edges, *auth));
    }
    found
}

/// A set's events and all their auth chains.
fn full_chain(edges: &Edges, set: &[u32]) -> BTreeSet<u32> {
    set.iter().flat_map(|event| chain(edges, *event).into_iter().chain([*event])).collect()
}

fn difference(edges: &Edges, sets: &[Vec<u32>]) -> Vec<u32> {
    let chains: Vec<_> = sets.iter().map(|set| full_chain(edges, set)).collect();
    let union: BTreeSet<u32> = chains.iter().flatten().copied().collect();
    union.into_iter().filter(|event| !chains.iter().all(|chain| chain.contains(event))).collect()
}

/// Events on a path from one of the set to another: walks every path.
fn subgraph(edges: &Edges, set: &[u32]) -> Vec<u32> {
    fn walk(edges: &Edges, set: &[u32], path: &mut Vec<u32>, found: &mut BTreeSet<u32>) {
        let end = path[path.len() - 1];
        if set.contains(&end) {
            found.extend(path.iter().copied());
        }
        for auth in &edges[end as usize] {
            path.push(*auth);
            walk(edges, set, path, found);
            path.pop();
        }
    }
    let mut found = BTreeSet::new();
    for start in set {
        walk(edges, set, &mut vec![*start], &mut found);
    }
    found.into_iter().collect()
}

fn any_edges(events: usize) -> impl Strategy<Value = Edges> {
    proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 0..4), 1..events).prop_map(
        |list| {
            let edges = list.into_iter().enumerate();
            edges
                .map(|(at, auth)| auth.into_iter().filter(|_| at > 0).map(|index| index.index(at) as u32).collect())
                .collect()
        },
    )
}

fn any_sets(sets: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<prop::sample::Index>>> {
    proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 0..5), sets)
}

fn within(sets: &[Vec<prop::sample::Index>], len: usize) -> Vec<Vec<u32>> {
    sets.iter().map(|set| set.iter().map(|index| index.index(len) as u32).collect()).collect()
}

proptest! {
    #[test]
    fn chains_differences_and_subgraphs_follow_their_definitions(edges in any_edges(16), sets in any_sets(0..6)) {
        let dag = dag_of(&edges);
        let sets = within(&sets, edges.len());
        for set in &sets {
            let expected: BTreeSet<u32> = set.iter().flat_map(|event| chain(&edges, *event)).collect();
            prop_assert_eq!(dag.auth_chain(set), expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(dag.conflicted_subgraph(set), subgraph(&edges, set));
        }
        prop_assert_eq!(dag.auth_difference(&sets), difference(&edges, &sets));
        // What every set has may as well be given once.
        if let Some((shared, rest)) = sets.split_first() {
            let whole: Vec<Vec<u32>> = rest.iter().map(|set| [set.as_slice(), shared].concat()).collect();
            prop_assert_eq!(dag.auth_difference_with_shared(shared, rest), dag.auth_difference(&whole));
        }
    }

    /// More sets than one word has bits.
    #[test]
    fn differences_of_many_sets_follow_the_definition(edges in any_edges(14), sets in any_sets(60..140)) {
        let sets = within(&sets, edges.len());
        prop_assert_eq!(dag_of(&edges).auth_difference(&sets), difference(&edges, &sets));
    }
}

#[test]
fn indices_outside_the_dag_count_for_nothing() {
    let dag = dag_of(&vec![vec![], vec![0], vec![1]]);
    assert_eq!(dag.auth_chain(&[2, 900]), [0, 1]);
    assert_eq!(dag.auth_difference(&[vec![2, 900], vec![1]]), [2]);
    assert_eq!(dag.conflicted_subgraph(&[2, 0, 900]), [0, 1, 2]);
    assert_eq!(AuthDag::new().auth_difference(&[vec![1], vec![2]]), [0; 0]);
}
