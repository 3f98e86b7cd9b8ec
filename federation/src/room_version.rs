//! The rules of each room version.
//!
//! <https://spec.matrix.org/v1.19/rooms/>

use std::sync::LazyLock;

use ruma::RoomVersionId;
use ruma::room_version_rules::RoomVersionRules;

/// The identifiers of every stable room version, oldest first.
pub const STABLE_VERSIONS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

static RULES: LazyLock<[RoomVersionRules; 12]> = LazyLock::new(|| {
    [
        RoomVersionRules::V1,
        RoomVersionRules::V2,
        RoomVersionRules::V3,
        RoomVersionRules::V4,
        RoomVersionRules::V5,
        RoomVersionRules::V6,
        RoomVersionRules::V7,
        RoomVersionRules::V8,
        RoomVersionRules::V9,
        RoomVersionRules::V10,
        RoomVersionRules::V11,
        RoomVersionRules::V12,
    ]
});

/// The rules of a stable room version, or `None` for a version that this server does not know (unstable ones included).
pub fn rules(version: &RoomVersionId) -> Option<&'static RoomVersionRules> {
    let position = STABLE_VERSIONS.iter().position(|known| *known == version.as_str())?;
    RULES.get(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stable_version_has_rules_and_no_other_has() {
        for version in STABLE_VERSIONS {
            let id = RoomVersionId::try_from(version).unwrap();
            let ours = rules(&id).unwrap();
            // ruma publishes the same rules under the identifier; a table that slipped by one would differ here.
            let theirs = id.rules().unwrap();
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "version {version}");
        }
        for unknown in ["0", "13", "org.matrix.msc3757.10", "01"] {
            assert!(rules(&RoomVersionId::try_from(unknown).unwrap()).is_none(), "version {unknown}");
        }
    }
}
