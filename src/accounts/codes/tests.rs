use super::*;
use crate::{
    accounts::{
        AddressLogin, Login, NewDevice, Passwords, Platform, RateLimits, Registration, Sessions, ThirdPartyIds,
        UserNames,
        tests::{FakeClock, FakeRandom, Told, server},
    },
    config::{self, Config, MultiDevicePolicy},
    peers::https::{AddressRules, Outgoing, SystemResolver, client_config},
};

struct Fixture {
    store: Store,
    clock: Arc<FakeClock>,
    random: Arc<FakeRandom>,
    codes: Arc<Codes>,
    _folder: tempfile::TempDir,
}

/// Codes that go to the log, so that every address can be reached.
async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
    let (clock, random) = (Arc::new(FakeClock::default()), Arc::new(FakeRandom::default()));
    clock.advance(1_000_000_000);
    let mut config = Config::new(server(), folder.path().to_owned());
    config.verification.log_codes = true;
    let tls = client_config(&config.outgoing).unwrap();
    let rules = Arc::new(AddressRules::new(&config.outgoing));
    let outgoing = Arc::new(Outgoing::new(Arc::new(SystemResolver::new().unwrap()), rules, tls).unwrap());
    let delivery = Arc::new(Delivery::new(&config, outgoing, clock.clone()).unwrap());
    let codes = Codes::load(store.clone(), clock.clone(), random.clone(), delivery, true).await.unwrap();
    Fixture { store, clock, random, codes: Arc::new(codes), _folder: folder }
}

impl Fixture {
    /// Puts a code that the test knows in the place of the one that was sent.
    async fn plant(&self, purpose: Purpose, of: &ThirdPartyId, code: &str) {
        let (hash, now, of) = (self.codes.hash(purpose, of, code), self.clock.now_ms(), of.clone());
        let put = move |tx: &WriteTx<'_>| {
            verification::put_code(tx, purpose.number(), of.medium().name(), of.address(), &hash, now)
        };
        self.store.write::<_, StoreError, _>(put).await.unwrap();
    }

    async fn check(&self, purpose: Purpose, of: &ThirdPartyId, code: &str) -> Result<(), CodeRefused> {
        match self.codes.check(purpose, of.clone(), code.into()).await {
            Ok(()) => Ok(()),
            Err(CheckError::Refused(refused)) => Err(refused),
            Err(CheckError::Store(error)) => panic!("{error}"),
        }
    }
}

fn alice() -> ThirdPartyId {
    ThirdPartyId::email("alice@a.example").unwrap()
}

#[tokio::test]
async fn a_code_is_good_for_five_minutes() {
    let f = fixture().await;
    f.plant(Purpose::Login, &alice(), "123456").await;
    f.clock.advance(CODE_MS - 1);
    f.check(Purpose::Login, &alice(), "123456").await.unwrap();
    f.plant(Purpose::Login, &alice(), "123456").await;
    f.clock.advance(CODE_MS);
    assert_eq!(f.check(Purpose::Login, &alice(), "123456").await, Err(CodeRefused::Expired));
}

#[tokio::test]
async fn a_code_is_bound_to_purpose_and_address() {
    let f = fixture().await;
    let phone = ThirdPartyId::phone("+86", "13800138000").unwrap();
    f.plant(Purpose::Login, &alice(), "123456").await;
    f.plant(Purpose::Register, &alice(), "654321").await;
    assert_eq!(f.check(Purpose::Register, &alice(), "123456").await, Err(CodeRefused::Mismatch));
    assert_eq!(f.check(Purpose::Login, &phone, "123456").await, Err(CodeRefused::Mismatch));
    assert_eq!(f.check(Purpose::Change, &alice(), "123456").await, Err(CodeRefused::Mismatch));
    f.check(Purpose::Login, &alice(), "123456").await.unwrap();
    let hashes = [
        f.codes.hash(Purpose::Login, &alice(), "123456"),
        f.codes.hash(Purpose::Register, &alice(), "123456"),
        f.codes.hash(Purpose::Login, &phone, "123456"),
        *blake3::hash(b"123456").as_bytes(),
    ];
    assert!(hashes.iter().enumerate().all(|(at, hash)| !hashes[..at].contains(hash)));
}

#[tokio::test]
async fn a_right_code_after_five_wrong_ones_comes_too_late() {
    let f = fixture().await;
    f.plant(Purpose::Login, &alice(), "123456").await;
    for _ in 0..MAX_TRIES {
        assert_eq!(f.check(Purpose::Login, &alice(), "000000").await, Err(CodeRefused::Mismatch));
    }
    assert_eq!(f.check(Purpose::Login, &alice(), "123456").await, Err(CodeRefused::TooManyTries));
}

#[tokio::test]
async fn sends_are_a_minute_apart_and_ten_a_day() {
    let f = fixture().await;
    let wait = |error: SendError| match error {
        SendError::TooOften(limited) => i64::try_from(limited.retry_after_ms).unwrap(),
        other => panic!("{other}"),
    };
    let start = f.clock.now_ms();
    f.codes.send(Purpose::Register, &alice()).await.unwrap();
    f.clock.advance(BETWEEN_MS - 1);
    assert_eq!(wait(f.codes.send(Purpose::Login, &alice()).await.unwrap_err()), 1);
    // Another address is another's.
    f.codes.send(Purpose::Register, &ThirdPartyId::email("bob@a.example").unwrap()).await.unwrap();
    f.clock.advance(1);
    for _ in 1..A_DAY {
        f.codes.send(Purpose::Register, &alice()).await.unwrap();
        f.clock.advance(BETWEEN_MS);
    }
    let left = wait(f.codes.send(Purpose::Register, &alice()).await.unwrap_err());
    assert_eq!(left, start + DAY_MS - f.clock.now_ms());
    f.clock.advance(left);
    f.codes.send(Purpose::Register, &alice()).await.unwrap();
}

#[tokio::test]
async fn codes_are_six_digits_that_differ_and_are_swept() {
    let f = fixture().await;
    let random: &dyn Random = &*f.random;
    let codes: Vec<String> = (0..50).map(|_| random.text(b"0123456789", DIGITS)).collect();
    assert!(codes.iter().all(|code| code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit())));
    assert!(codes.iter().collect::<std::collections::HashSet<_>>().len() > 45);
    f.codes.send(Purpose::Register, &alice()).await.unwrap();
    f.clock.advance(DAY_MS + 1);
    crate::ops::sweepers::sweep(&f.store, f.clock.now_ms()).await.unwrap();
    let found = move |read: &crate::store::Snapshot<'_>| {
        Ok((
            verification::code(read, 1, "email", "alice@a.example")?.is_some(),
            verification::sends(read, "email", "alice@a.example", 0)?,
        ))
    };
    assert_eq!(f.store.read::<_, StoreError, _>(found).await.unwrap(), (false, Vec::new()));
}

/// An account with an address, and what lets it in.
async fn with_account(
    f: &Fixture,
    policy: MultiDevicePolicy,
) -> (Arc<Sessions>, AddressLogin, crate::accounts::Registered) {
    let told = Arc::<Told>::default();
    let load = Sessions::load(f.store.clone(), f.clock.clone(), f.random.clone(), Arc::default(), told);
    let sessions = Arc::new(load.await.unwrap().with_policy(policy));
    let passwords = Arc::new(Passwords::new(f.random.clone()));
    let names = Arc::new(UserNames::new(server(), Vec::new()));
    let registration = Registration::new(
        f.store.clone(),
        f.clock.clone(),
        f.random.clone(),
        passwords.clone(),
        sessions.clone(),
        names.clone(),
        config::Registration::default(),
    );
    let user_id = names.user_id("alice").unwrap();
    let account = crate::accounts::NewAccount::person(user_id, "one".into(), None);
    let registered = registration.register(account).await.unwrap();
    let user = registered.user;
    let add = move |tx: &WriteTx<'_>| store::third_party_ids::insert(tx, user, "email", "alice@a.example", 1, 1);
    f.store.write::<_, StoreError, _>(add).await.unwrap();
    let limits = Arc::new(RateLimits::new(true, f.clock.clone()));
    let login = Arc::new(Login::new(f.store.clone(), passwords.clone(), sessions.clone(), limits.clone()));
    let addresses = Arc::new(ThirdPartyIds::new(f.store.clone(), f.clock.clone(), f.codes.clone()));
    let by_address =
        AddressLogin::new(f.store.clone(), addresses, f.codes.clone(), passwords, login, sessions.clone(), limits);
    (sessions, by_address, registered)
}

fn on(platform: i64) -> NewDevice {
    NewDevice::new(None, None, false).unwrap().on(Platform::from_number(platform).unwrap())
}

#[tokio::test]
async fn thirty_sessions_of_a_platform_stay_and_the_oldest_hears_why_it_ended() {
    let f = fixture().await;
    let (sessions, by_address, _) = with_account(&f, MultiDevicePolicy::KeepAll).await;
    let mut endings = sessions.endings();
    let mut tokens = Vec::new();
    for _ in 0..31 {
        f.plant(Purpose::Login, &alice(), "123456").await;
        let (_, issued) = by_address.with_code(alice(), "123456".into(), on(1)).await.unwrap();
        tokens.push(issued.access_token);
    }
    let first = sessions.authenticate(&tokens[0]).await.unwrap_err();
    let elsewhere = crate::accounts::EndReason::LoggedInElsewhere;
    assert!(matches!(first, crate::accounts::AuthenticateError::Ended(why) if why == elsewhere), "{first}");
    let second = sessions.authenticate(&tokens[1]).await.unwrap();
    let ended = endings.try_recv().unwrap();
    assert_eq!(ended.reason, Some(elsewhere));
    assert!(!ended.is(&second) && endings.try_recv().is_err());
    crate::ops::sweepers::sweep(&f.store, f.clock.now_ms() + 31 * DAY_MS).await.unwrap();
    let first = sessions.authenticate(&tokens[0]).await.unwrap_err();
    assert!(matches!(first, crate::accounts::AuthenticateError::Unknown), "it is not remembered for ever: {first}");
}

#[tokio::test]
async fn a_code_lets_no_locked_account_in_and_stays() {
    let f = fixture().await;
    let (sessions, by_address, registered) = with_account(&f, MultiDevicePolicy::KeepAll).await;
    f.plant(Purpose::Login, &alice(), "123456").await;
    sessions.set_locked(registered.user, true).await.unwrap();
    let refused = by_address.with_code(alice(), "123456".into(), on(1)).await.unwrap_err();
    assert!(matches!(refused, crate::accounts::ByCodeError::Login(crate::accounts::LoginError::Locked)), "{refused}");
    sessions.set_locked(registered.user, false).await.unwrap();
    by_address.with_code(alice(), "123456".into(), on(1)).await.unwrap();
}
