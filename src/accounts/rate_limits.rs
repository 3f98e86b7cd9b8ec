//! How often somebody may do what costs others: one table of numbers, one bounded table of who did it.
//!
//! Source: Client-Server API, "Rate limiting".

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{clock::Clock, store::ids::UserNid};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// `POST /register`, per address.
    Registration,
    /// `GET /register/available` and registration token validity, per address.
    NameLookup,
    /// `POST /login` and `POST /refresh`, per address.
    Login,
    /// Verification codes sent, per address of the client.
    CodeSend,
    /// Verification codes tried, per address of the client.
    CodeTry,
    /// Tokens that let another device in, per user.
    LoginToken,
    /// Wrong passwords, per account.
    FailedLogin,
    /// Events sent and redactions, per user.
    Message,
    /// State events, per user.
    State,
    /// Joins and knocks, per user.
    Join,
    /// Invitations, per user.
    Invite,
    /// Rooms created or upgraded, per user.
    CreateRoom,
    /// Changes of the profile, each of which writes into every room of the user, per user.
    Profile,
    /// Receipts, read markers and typing, per user.
    Ephemeral,
    /// Account data, tags, filters, push rules, devices, aliases and the like, per user.
    Settings,
    /// Messages to devices, per user: clients share a room's key in many requests.
    ToDevice,
    /// Uploads, queries and claims of encryption keys, and key backups, per user.
    Keys,
    /// Searches in the user directory and in messages, per user.
    Search,
    /// Files uploaded and media ids created, per user.
    Upload,
}

/// Each limit as (what, how many at once, how many a minute after that).
///
/// A whole office may stand behind one address, so the limits per address are wide; those per user are above what people do
/// and below what a runaway client does.
pub const RATES: [(Rate, u32, u32); 19] = [
    (Rate::Registration, 30, 30),
    (Rate::NameLookup, 60, 120),
    (Rate::Login, 100, 300),
    (Rate::CodeSend, 20, 10),
    (Rate::CodeTry, 60, 60),
    (Rate::LoginToken, 3, 1),
    (Rate::FailedLogin, 10, 5),
    (Rate::Message, 50, 600),
    (Rate::State, 50, 300),
    (Rate::Join, 50, 120),
    (Rate::Invite, 100, 300),
    (Rate::CreateRoom, 30, 30),
    (Rate::Profile, 20, 30),
    (Rate::Ephemeral, 100, 1200),
    (Rate::Settings, 100, 600),
    (Rate::ToDevice, 300, 1200),
    (Rate::Keys, 200, 1200),
    (Rate::Search, 20, 120),
    (Rate::Upload, 50, 120),
];

/// Who is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// An address. IPv6 counts by the /64, which one subscriber has whole.
    Ip(IpAddr),
    /// A user.
    User(UserNid),
    /// A text, by its hash: whom a login names, whether there is such a user or not.
    Text(u64),
}

impl LimitKey {
    /// The key of a text.
    pub fn text(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        let (first, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self::Text(u64::from_le_bytes(*first))
    }
}

impl From<IpAddr> for LimitKey {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let network = ip.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 => v4,
        })
    }
}

impl From<UserNid> for LimitKey {
    fn from(user: UserNid) -> Self {
        Self::User(user)
    }
}

/// Too many requests (429 `M_LIMIT_EXCEEDED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Too many requests")]
pub struct Limited {
    /// When the next one is allowed, in milliseconds from now.
    pub retry_after_ms: u64,
}

/// Entries of the table at most. An entry is 40 bytes.
const MAX_ENTRIES: usize = 100_000;

/// Token buckets, each kept as the time at which it will be full again (the generic cell rate algorithm).
pub struct RateLimits {
    enabled: bool,
    clock: Arc<dyn Clock>,
    full_at: Mutex<HashMap<(Rate, LimitKey), i64>>,
}

impl RateLimits {
    /// With `enabled` false nothing is ever limited.
    pub fn new(enabled: bool, clock: Arc<dyn Clock>) -> Self {
        Self { enabled, clock, full_at: Mutex::default() }
    }

    /// Takes one from the bucket.
    pub fn check(&self, rate: Rate, key: impl Into<LimitKey>) -> Result<(), Limited> {
        if !self.enabled {
            return Ok(());
        }
        let key = (rate, key.into());
        let (burst, interval) = numbers(rate);
        let now = self.clock.now_ms();
        let mut table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = table.get(&key).copied().unwrap_or(now).max(now) + interval;
        let wait = full_at - now - burst * interval;
        if wait > 0 {
            let retry_after_ms = u64::try_from(wait).unwrap_or(1);
            return Err(Limited { retry_after_ms });
        }
        if table.len() >= MAX_ENTRIES {
            make_room(&mut table, now);
        }
        table.insert(key, full_at);
        Ok(())
    }

    /// Puts one back: what [`Self::check`] took turned out not to count.
    pub fn give_back(&self, rate: Rate, key: impl Into<LimitKey>) {
        let mut table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = table.get_mut(&(rate, key.into())) {
            *full_at -= numbers(rate).1;
        }
    }
}

/// How many at once, and milliseconds for each further one.
fn numbers(rate: Rate) -> (i64, i64) {
    let row = RATES.iter().find(|row| row.0 == rate);
    let (burst, a_minute) = row.map_or((1, 1), |row| (row.1, row.2));
    (i64::from(burst), 60_000 / i64::from(a_minute))
}

/// Drops full buckets, which say nothing; if that is not enough, the half that is nearest to full.
fn make_room(table: &mut HashMap<(Rate, LimitKey), i64>, now: i64) {
    table.retain(|_, full_at| *full_at > now);
    if table.len() > MAX_ENTRIES / 2 {
        let mut times: Vec<i64> = table.values().copied().collect();
        let middle = times.len() / 2;
        let median = *times.select_nth_unstable(middle).1;
        table.retain(|_, full_at| *full_at > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::tests::FakeClock;

    #[test]
    fn a_burst_then_one_at_a_time() {
        let clock = Arc::new(FakeClock::default());
        let limits = RateLimits::new(true, clock.clone());
        for _ in 0..10 {
            limits.check(Rate::FailedLogin, UserNid(1)).unwrap();
        }
        let limited = limits.check(Rate::FailedLogin, UserNid(1)).unwrap_err();
        assert_eq!(limited.retry_after_ms, 12_000);
        limits.check(Rate::FailedLogin, UserNid(2)).unwrap();
        clock.advance(11_999);
        let limited = limits.check(Rate::FailedLogin, UserNid(1)).unwrap_err();
        assert_eq!(limited.retry_after_ms, 1);
        clock.advance(1);
        limits.check(Rate::FailedLogin, UserNid(1)).unwrap();
        assert!(limits.check(Rate::FailedLogin, UserNid(1)).is_err());
        limits.give_back(Rate::FailedLogin, UserNid(1));
        limits.check(Rate::FailedLogin, UserNid(1)).unwrap();
    }

    #[test]
    fn every_rate_has_its_numbers() {
        for (rate, burst, a_minute) in RATES {
            assert_eq!(numbers(rate), (i64::from(burst), 60_000 / i64::from(a_minute)));
            assert!(burst > 0 && a_minute > 0);
        }
    }

    #[test]
    fn an_ipv6_subscriber_is_one_key() {
        let key = |ip: &str| LimitKey::from(ip.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn the_table_stays_bounded() {
        let limits = RateLimits::new(true, Arc::new(FakeClock::default()));
        for user in 0..250_000 {
            limits.check(Rate::Message, UserNid(user)).unwrap();
        }
        assert!(limits.full_at.lock().unwrap().len() <= MAX_ENTRIES);
    }
}
