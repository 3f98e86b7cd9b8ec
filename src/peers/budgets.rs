//! How much work another server may make for us: one table of numbers, one bounded table of who made it.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use ruma::{OwnedServerName, ServerName};

/// Too much (429 `M_LIMIT_EXCEEDED`): when the next one is allowed, in milliseconds from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; the next one in {0} ms")]
pub struct RetryAfterMs(pub u64);

/// Servers in each table at most, 100 bytes each. Beyond that full buckets are forgotten, and where all are in use, nobody
/// may do more for a moment.
const MAX_KEYS: usize = 20_000;

/// A budget: how many at once, and how many a minute after that.
#[derive(Clone, Copy)]
struct Size(u32, u32);

/// Transactions: a server sends one at a time, and each may have 50 events.
const TRANSACTIONS: Size = Size(200, 3_000);
/// Invitations.
const INVITES: Size = Size(100, 300);
/// `make_join`, `send_join`, and the same for leaves and knocks: each writes into a room, and a join may answer megabytes.
const JOINS: Size = Size(100, 300);
/// Device and one-time keys of our users: one query for each of our users' rooms after a restart of theirs.
const KEYS: Size = Size(300, 1_200);
/// History, states and single events: each may read thousands of rows.
const READS: Size = Size(200, 1_200);
/// Documents that we sign as a notary, per address: each costs two signatures.
const SIGNED: Size = Size(500, 1_200);
/// Requests that we make because somebody asks us as a notary, per address.
const NOTARY: Size = Size(100, 60);

/// What each other server may have done. Time is the monotonic one: a wall clock that is set back would lock everybody out.
pub struct Budgets<C: Clock + Clone = DefaultClock> {
    transactions: Budget<OwnedServerName, C>,
    invites: Budget<OwnedServerName, C>,
    joins: Budget<OwnedServerName, C>,
    keys: Budget<OwnedServerName, C>,
    reads: Budget<OwnedServerName, C>,
    signed: Budget<Option<IpAddr>, C>,
    notary: Budget<Option<IpAddr>, C>,
}

impl Budgets {
    /// With `enabled` false nothing is ever refused.
    pub fn new(enabled: bool) -> Self {
        Self::with_clock(enabled, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Budgets<C> {
    fn with_clock(enabled: bool, clock: &C) -> Self {
        Self {
            transactions: Budget::new(enabled, TRANSACTIONS, clock),
            invites: Budget::new(enabled, INVITES, clock),
            joins: Budget::new(enabled, JOINS, clock),
            keys: Budget::new(enabled, KEYS, clock),
            reads: Budget::new(enabled, READS, clock),
            signed: Budget::new(enabled, SIGNED, clock),
            notary: Budget::new(enabled, NOTARY, clock),
        }
    }

    /// Takes one transaction.
    ///
    /// # Errors
    /// [`RetryAfterMs`]
    pub fn transactions(&self, origin: &ServerName) -> Result<(), RetryAfterMs> {
        self.transactions.take(&origin.to_owned())
    }

    /// Takes one invitation.
    ///
    /// # Errors
    /// [`RetryAfterMs`]
    pub fn invites(&self, origin: &ServerName) -> Result<(), RetryAfterMs> {
        self.invites.take(&origin.to_owned())
    }

    /// Takes one step of a join, leave or knock.
    ///
    /// # Errors
    /// [`RetryAfterMs`]
    pub fn joins(&self, origin: &ServerName) -> Result<(), RetryAfterMs> {
        self.joins.take(&origin.to_owned())
    }

    /// Takes one query or claim of users' keys.
    ///
    /// # Errors
    /// [`RetryAfterMs`]
    pub fn keys(&self, origin: &ServerName) -> Result<(), RetryAfterMs> {
        self.keys.take(&origin.to_owned())
    }

    /// Takes one look into rooms: history, states, events, directory.
    ///
    /// # Errors
    /// [`RetryAfterMs`]
    pub fn reads(&self, origin: &ServerName) -> Result<(), RetryAfterMs> {
        self.reads.take(&origin.to_owned())
    }

    /// Takes the signing of this many documents as a notary, 500 at most. Those who ask are not known by name: it counts by
    /// address, IPv6 by the /64, which one subscriber has whole.
    ///
    /// # Errors
    /// [`RetryAfterMs`]
    pub fn signed_documents(&self, address: Option<IpAddr>, count: usize) -> Result<(), RetryAfterMs> {
        self.signed.take_many(&address.map(subscriber), u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Takes one request to another server that we make as a notary, counted as [`Self::signed_documents`].
    ///
    /// # Errors
    /// [`RetryAfterMs`]
    pub fn notary(&self, address: Option<IpAddr>) -> Result<(), RetryAfterMs> {
        self.notary.take(&address.map(subscriber))
    }
}

fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Token buckets by key.
struct Budget<K: Hash + Eq + Clone, C: Clock> {
    limiter: Option<Limiter<K, C>>,
    clock: C,
}

type Limiter<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<K: Hash + Eq + Clone, C: Clock + Clone> Budget<K, C> {
    fn new(enabled: bool, Size(burst, a_minute): Size, clock: &C) -> Self {
        let quota = Quota::with_period(Duration::from_secs(60) / a_minute);
        let quota = quota.zip(NonZeroU32::new(burst)).map(|(quota, burst)| quota.allow_burst(burst));
        let limiter = quota.filter(|_| enabled);
        let limiter = limiter.map(|quota| RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()));
        Self { limiter, clock: clock.clone() }
    }

    fn take(&self, key: &K) -> Result<(), RetryAfterMs> {
        self.take_many(key, 1)
    }

    /// Takes several at once. More than the bucket ever holds are refused.
    fn take_many(&self, key: &K, count: u32) -> Result<(), RetryAfterMs> {
        let (Some(limiter), Some(count)) = (&self.limiter, NonZeroU32::new(count)) else { return Ok(()) };
        if limiter.len() >= MAX_KEYS {
            limiter.retain_recent();
            if limiter.len() >= MAX_KEYS {
                return Err(RetryAfterMs(1_000));
            }
        }
        let taken = limiter.check_key_n(key, count).map_err(|_| RetryAfterMs(60_000))?;
        taken.map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            RetryAfterMs(u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use ruma::server_name;

    use super::*;

    #[test]
    fn a_burst_then_as_the_table_says() {
        let clock = FakeRelativeClock::default();
        let budgets = Budgets::with_clock(true, &clock);
        let (b, c) = (server_name!("b.example"), server_name!("c.example"));
        for _ in 0..100 {
            budgets.invites(b).unwrap();
        }
        assert_eq!(budgets.invites(b), Err(RetryAfterMs(200)));
        budgets.invites(c).unwrap();
        budgets.joins(b).unwrap();
        clock.advance(Duration::from_millis(199));
        assert_eq!(budgets.invites(b), Err(RetryAfterMs(1)));
        clock.advance(Duration::from_millis(1));
        budgets.invites(b).unwrap();
        assert!(budgets.invites(b).is_err());
    }

    #[test]
    fn several_are_taken_at_once() {
        let clock = FakeRelativeClock::default();
        let budgets = Budgets::with_clock(true, &clock);
        for _ in 0..5 {
            budgets.signed_documents(None, 100).unwrap();
        }
        budgets.signed_documents(None, 0).unwrap();
        assert_eq!(budgets.signed_documents(None, 2), Err(RetryAfterMs(100)));
        clock.advance(Duration::from_millis(100));
        budgets.signed_documents(None, 2).unwrap();
        assert!(budgets.signed_documents(None, 1).is_err());
    }

    #[test]
    fn nothing_is_refused_where_limits_are_off() {
        let budgets = Budgets::new(false);
        for _ in 0..1_000 {
            budgets.invites(server_name!("b.example")).unwrap();
            budgets.notary(None).unwrap();
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_those_who_did_nothing_lately() {
        let clock = FakeRelativeClock::default();
        let budgets = Budgets::with_clock(true, &clock);
        let address = |at: u32| Some(IpAddr::from(at.to_be_bytes()));
        for at in 0..u32::try_from(MAX_KEYS).unwrap() {
            budgets.notary(address(at)).unwrap();
        }
        assert!(budgets.notary(address(1_000_000)).is_err());
        clock.advance(Duration::from_secs(120));
        budgets.notary(address(1_000_000)).unwrap();
    }

    #[test]
    fn an_ipv6_subscriber_is_one_key() {
        let budgets = Budgets::with_clock(true, &FakeRelativeClock::default());
        for host in 0..100_u16 {
            budgets.notary(Some(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, host).into())).unwrap();
        }
        assert!(budgets.notary(Some(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 9, 9, 9, 9).into())).is_err());
        budgets.notary(Some(Ipv6Addr::new(0x2001, 0xdb8, 1, 3, 0, 0, 0, 1).into())).unwrap();
    }
}
