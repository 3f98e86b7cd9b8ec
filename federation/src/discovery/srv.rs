//! The order of SRV targets.
//!
//! RFC 2782, "Priority", "Weight" and "Target".

/// How many targets are kept of one lookup. Answers have a few; each that is kept costs a lookup.
pub const MAX_SRV_TARGETS: usize = 8;

/// A SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRecord {
    /// Targets of a lower number are tried first.
    pub priority: u16,
    /// How often the target comes first among those of its priority, relative to their weights.
    pub weight: u16,
    /// The port to connect to.
    pub port: u16,
    /// The host, or `.`.
    pub target: String,
}

/// Orders records by priority, and at random by weight among those of one priority, and keeps the first
/// [`MAX_SRV_TARGETS`] that have a target.
///
/// `random` is given a number and draws one from 0 up to and including it, evenly.
pub fn order_srv_records(mut records: Vec<SrvRecord>, mut random: impl FnMut(u32) -> u32) -> Vec<SrvRecord> {
    records.retain(|record| !matches!(record.target.as_str(), "" | "."));
    // A target without weight comes before the others in the list that is drawn from, as the RFC asks.
    records.sort_by_key(|record| (record.priority, record.weight > 0));
    let mut ordered: Vec<SrvRecord> = Vec::with_capacity(records.len().min(MAX_SRV_TARGETS));
    while ordered.len() < MAX_SRV_TARGETS
        && let Some(first) = records.first()
    {
        let priority = first.priority;
        let group = records.iter().take_while(|record| record.priority == priority);
        let total = group.fold(0_u32, |sum, record| sum.saturating_add(record.weight.into()));
        let drawn = random(total).min(total);
        let mut sum = 0_u32;
        let chosen = records.iter().position(|record| {
            sum = sum.saturating_add(record.weight.into());
            sum >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or_default()));
    }
    ordered
}
