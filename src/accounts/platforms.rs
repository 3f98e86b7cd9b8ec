//! Which kind of device LinkIM's clients say that they are, and which older sessions a login ends.
//!
//! Source: OpenIM's platform numbers and its policies of several devices (spec/decisions/0015-accounts.md).

use crate::config::MultiDevicePolicy;

/// Sessions of one platform that a user can have; the oldest beyond it end, whatever the policy.
pub(super) const MAX_OF_PLATFORM: usize = 30;

/// A platform number of OpenIM's; none: a Matrix client, which says nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Platform(u8);

/// What OpenIM calls a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Computer,
    Phone,
    Tablet,
    Web,
    MiniProgram,
}

impl Platform {
    /// A client that did not say.
    pub const NONE: Self = Self(0);

    /// Reads a number: 1 iOS, 2 Android, 3 Windows, 4 macOS, 5 Web, 6 mini program, 7 Linux, 8 Android tablet, 9 iPad,
    /// 10 administration, 11 HarmonyOS.
    pub fn from_number(number: i64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=11).contains(number)).map(Self)
    }

    /// As it is stored.
    pub(super) fn stored(number: i64) -> Self {
        Self::from_number(number).unwrap_or_default()
    }

    /// The number; 0 where the client did not say.
    pub fn number(self) -> i64 {
        self.0.into()
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "iOS",
            2 => "Android",
            3 => "Windows",
            4 => "macOS",
            5 => "Web",
            6 => "Mini program",
            7 => "Linux",
            8 => "Android tablet",
            9 => "iPad",
            10 => "Administration",
            11 => "HarmonyOS",
            _ => "Matrix",
        }
    }

    /// None for those that no policy is about: Matrix clients and the administration.
    fn class(self) -> Option<Class> {
        Some(match self.0 {
            1 | 2 | 11 => Class::Phone,
            3 | 4 | 7 => Class::Computer,
            5 => Class::Web,
            6 => Class::MiniProgram,
            8 | 9 => Class::Tablet,
            _ => return None,
        })
    }

    /// Whether a login on this platform ends an older session on `other`.
    pub(super) fn ends(self, other: Self, policy: MultiDevicePolicy) -> bool {
        let (Some(own), Some(others)) = (self.class(), other.class()) else { return false };
        match policy {
            MultiDevicePolicy::KeepAll => false,
            MultiDevicePolicy::OnePerPlatform => self == other,
            MultiDevicePolicy::OnePerClass => own == others,
            MultiDevicePolicy::OneBesideComputers => own != Class::Computer && others != Class::Computer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(policy: MultiDevicePolicy, new: i64) -> Vec<i64> {
        let new = Platform::from_number(new).unwrap();
        (0..=11).filter(|other| new.ends(Platform::stored(*other), policy)).collect()
    }

    #[test]
    fn whom_a_login_ends() {
        use MultiDevicePolicy::{KeepAll, OneBesideComputers, OnePerClass, OnePerPlatform};
        for new in 1..=11 {
            assert!(ended(KeepAll, new).is_empty());
        }
        assert_eq!(ended(OnePerPlatform, 1), [1]);
        assert_eq!(ended(OnePerPlatform, 5), [5]);
        assert_eq!(ended(OnePerClass, 1), [1, 2, 11]);
        assert_eq!(ended(OnePerClass, 4), [3, 4, 7]);
        assert_eq!(ended(OnePerClass, 9), [8, 9]);
        assert_eq!(ended(OnePerClass, 5), [5]);
        assert_eq!(ended(OnePerClass, 6), [6]);
        assert!(ended(OneBesideComputers, 3).is_empty());
        assert_eq!(ended(OneBesideComputers, 2), [1, 2, 5, 6, 8, 9, 11]);
        for policy in [OnePerPlatform, OnePerClass, OneBesideComputers] {
            assert!(ended(policy, 10).is_empty());
        }
    }

    #[test]
    fn numbers_are_openims() {
        assert_eq!(Platform::from_number(0), None);
        assert_eq!(Platform::from_number(12), None);
        assert_eq!(Platform::from_number(-1), None);
        assert_eq!(Platform::from_number(11).unwrap().name(), "HarmonyOS");
    }
}
