//! What people are, in which order that is told, and how often somebody is woken for it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use ruma::{OwnedUserId, UserId};

use super::{
    Heard, Shown, State, WakeWatchers,
    board::{Board, Facts, REPEAT_MS},
    person::{GRACE_MS, IDLE_MS, REMOTE_MS},
    telling::{SERVERS, Telling},
};
use crate::store::ids::{DeviceNid, RoomNid, UserNid};

const NOW: i64 = 1_700_000_000_000;
const PHONE: DeviceNid = DeviceNid(1);
const LAPTOP: DeviceNid = DeviceNid(2);
const ALICE: UserNid = UserNid(1);
const BOB: UserNid = UserNid(2);

fn id(user: UserNid) -> OwnedUserId {
    UserId::parse(format!("@u{}:a.example", user.0)).unwrap()
}

/// A board, and a clock.
#[derive(Default)]
struct World {
    board: Board,
    ms: i64,
}

impl World {
    fn new() -> Self {
        Self { board: Board::default(), ms: NOW }
    }

    fn begin(&mut self, user: UserNid, device: DeviceNid, asked: Option<State>) -> bool {
        self.board.sync_begins((user, &id(user)), device, asked, self.ms).0
    }

    fn end(&mut self, user: UserNid, device: DeviceNid) {
        self.board.sync_ends(user, device, self.ms);
    }

    fn put(&mut self, user: UserNid, device: DeviceNid, state: State) {
        self.board.put((user, &id(user)), device, state, None, self.ms);
    }

    fn hear(&mut self, user: UserNid, state: State) {
        let shown = Shown { state, last_active_ms: Some(self.ms), currently_active: false, status: None };
        self.board.hear(Heard { user, user_id: id(user), shown }, self.ms);
    }

    /// Time goes by, and whoever is due is looked at.
    fn pass(&mut self, ms: i64) {
        self.ms += ms;
        self.board.look(self.ms);
    }

    fn state(&mut self, user: UserNid) -> State {
        self.board.current(user, self.ms).map_or(State::Offline, |shown| shown.state)
    }

    /// Tells what waits, everybody being in `rooms`; answers of whom.
    fn tell(&mut self, rooms: &[i64]) -> Vec<UserNid> {
        let taken = self.board.take(usize::MAX);
        let facts = taken.iter().map(|taken| Facts {
            user: taken.user,
            change: taken.change,
            rooms: rooms.iter().copied().map(RoomNid).collect(),
            status: taken.wants_status.then_some(None),
            barred: false,
        });
        self.board.told(facts.collect(), self.ms);
        taken.into_iter().filter(|taken| taken.change).map(|taken| taken.user).collect()
    }

    fn since(&self, serial: i64) -> Vec<(UserNid, State)> {
        let (changes, _) = self.board.changes_since((UserNid(-1), &[RoomNid(1)]), serial, usize::MAX);
        changes.into_iter().map(|change| (change.user, change.shown.state)).collect()
    }
}

#[test]
fn who_syncs_is_online_and_a_while_after_the_last_sync_offline() {
    let mut world = World::new();
    assert!(world.begin(ALICE, PHONE, None));
    // A poll may last longer than the grace.
    world.pass(2 * GRACE_MS);
    assert_eq!(world.state(ALICE), State::Online);
    world.end(ALICE, PHONE);
    world.pass(GRACE_MS - 1);
    assert_eq!(world.state(ALICE), State::Online);
    world.pass(1);
    assert_eq!(world.state(ALICE), State::Offline);
    assert_eq!(world.board.next_look(), None, "nobody has to be looked at");
}

#[test]
fn syncing_on_is_no_activity_and_what_the_user_does_is() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, None);
    for _ in 0..IDLE_MS / 10_000 {
        assert_eq!(world.state(ALICE), State::Online);
        world.end(ALICE, PHONE);
        world.begin(ALICE, PHONE, None);
        world.pass(10_000);
    }
    assert_eq!(world.state(ALICE), State::Unavailable);
    world.board.active(ALICE, PHONE, world.ms);
    assert_eq!(world.state(ALICE), State::Online);
    let shown = world.board.current(ALICE, world.ms).unwrap();
    assert_eq!((shown.last_active_ms, shown.currently_active), (Some(world.ms), true));
}

#[test]
fn the_most_present_device_counts() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, Some(State::Unavailable));
    assert_eq!(world.state(ALICE), State::Unavailable);
    world.begin(ALICE, LAPTOP, None);
    assert_eq!(world.state(ALICE), State::Online);
    world.end(ALICE, LAPTOP);
    world.pass(GRACE_MS);
    assert_eq!(world.state(ALICE), State::Unavailable, "the phone is still there");
    world.begin(ALICE, PHONE, Some(State::Online));
    assert_eq!(world.state(ALICE), State::Online);
}

#[test]
fn a_sync_that_says_offline_marks_nobody_and_ends_what_the_device_was() {
    let mut world = World::new();
    assert!(!world.begin(ALICE, PHONE, Some(State::Offline)));
    assert_eq!((world.state(ALICE), world.board.sizes().local), (State::Offline, 0));
    world.begin(ALICE, PHONE, None);
    world.end(ALICE, PHONE);
    world.begin(ALICE, PHONE, Some(State::Offline));
    assert_eq!(world.state(ALICE), State::Offline);
}

#[test]
fn a_put_holds_while_syncs_say_nothing_else() {
    let mut world = World::new();
    world.put(ALICE, PHONE, State::Unavailable);
    world.begin(ALICE, PHONE, None);
    assert_eq!(world.state(ALICE), State::Unavailable);
    world.board.active(ALICE, PHONE, world.ms);
    assert_eq!(world.state(ALICE), State::Online, "activity ends idleness");
    world.put(ALICE, PHONE, State::Offline);
    world.begin(ALICE, LAPTOP, None);
    world.board.active(ALICE, LAPTOP, world.ms);
    assert_eq!(world.state(ALICE), State::Offline, "who does not want to be seen is not");
    world.put(ALICE, LAPTOP, State::Online);
    assert_eq!(world.state(ALICE), State::Online);
}

#[test]
fn a_put_without_a_sync_lasts_as_long_as_a_sync_that_ended() {
    let mut world = World::new();
    world.put(ALICE, PHONE, State::Online);
    assert_eq!(world.state(ALICE), State::Online);
    world.pass(GRACE_MS);
    assert_eq!(world.state(ALICE), State::Offline);
}

#[test]
fn other_servers_word_holds_until_they_are_silent_for_long() {
    let mut world = World::new();
    world.hear(BOB, State::Online);
    world.pass(REMOTE_MS - 1);
    assert_eq!(world.state(BOB), State::Online);
    world.hear(BOB, State::Unavailable);
    world.pass(REMOTE_MS - 1);
    assert_eq!(world.state(BOB), State::Unavailable);
    world.pass(1);
    assert_eq!(world.state(BOB), State::Offline);
}

#[test]
fn nothing_is_kept_of_strangers_who_are_offline_or_share_no_room() {
    let mut world = World::new();
    world.hear(BOB, State::Offline);
    assert_eq!(world.board.sizes().remote, 0);
    world.hear(BOB, State::Online);
    world.tell(&[]);
    assert_eq!(world.board.sizes().remote, 0);
    assert_eq!(world.board.next_look(), None);
}

#[test]
fn what_happens_between_two_rounds_is_one_change() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, None);
    world.hear(BOB, State::Online);
    assert_eq!(world.tell(&[1]), [ALICE, BOB]);
    assert_eq!(world.tell(&[1]), []);
    for _ in 0..10 {
        world.put(ALICE, PHONE, State::Unavailable);
        world.put(ALICE, PHONE, State::Online);
    }
    world.put(ALICE, PHONE, State::Offline);
    assert_eq!(world.tell(&[1]), [ALICE]);
    assert_eq!(world.board.serial(), 3);
    assert_eq!(world.since(0), [(BOB, State::Online), (ALICE, State::Offline)]);
    assert_eq!(world.since(2), [(ALICE, State::Offline)]);
    assert_eq!(world.since(3), []);
}

#[test]
fn changes_are_for_those_who_share_a_room() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, None);
    world.tell(&[3, 5]);
    let of = |rooms: &[i64]| {
        let rooms: Vec<RoomNid> = rooms.iter().copied().map(RoomNid).collect();
        let viewer = (UserNid(9), &*rooms);
        (world.board.changes_since(viewer, 0, 9).0.len(), world.board.present(viewer, 9).len())
    };
    assert_eq!(of(&[5, 6]), (1, 1));
    assert_eq!(of(&[1, 4, 6]), (0, 0));
    assert_eq!(of(&[]), (0, 0));
}

#[test]
fn what_finds_no_place_is_not_passed_over() {
    let mut world = World::new();
    for user in 1..=5 {
        world.begin(UserNid(user), PHONE, None);
        world.tell(&[if user == 2 { 7 } else { 1 }]);
    }
    let viewer = (UserNid(9), &[RoomNid(1)][..]);
    let (some, up_to) = world.board.changes_since(viewer, 0, 2);
    assert_eq!((some.iter().map(|change| change.user.0).collect::<Vec<_>>(), up_to), (vec![1, 3], 3));
    let (rest, up_to) = world.board.changes_since(viewer, up_to, 2);
    assert_eq!((rest.iter().map(|change| change.user.0).collect::<Vec<_>>(), up_to), (vec![4, 5], 5));
}

#[test]
fn quiet_is_said_only_where_nobody_of_ones_rooms_changed() {
    let mut world = World::new();
    assert!(world.board.is_quiet(ALICE, 0));
    world.begin(ALICE, PHONE, None);
    world.tell(&[1]);
    assert!(world.board.is_quiet(ALICE, 0), "oneself is no news");
    assert!(!world.board.is_quiet(BOB, 0), "nothing is known of their rooms");
    world.begin(BOB, PHONE, None);
    world.tell(&[2]);
    assert!(world.board.is_quiet(ALICE, 1));
    world.hear(UserNid(3), State::Online);
    world.tell(&[1]);
    assert!(!world.board.is_quiet(ALICE, 1) && world.board.is_quiet(ALICE, 3));
    assert!(world.board.is_quiet(BOB, 2));
    // Bob goes to another room: until his rooms are looked up, nothing is said.
    world.board.moved(&[BOB]);
    assert!(!world.board.is_quiet(BOB, 2));
}

#[test]
fn who_was_put_back_is_told_later() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, None);
    let taken = world.board.take(10);
    world.board.put_back(&taken);
    assert_eq!(world.tell(&[1]), [ALICE]);
}

#[test]
fn a_change_while_one_is_looked_up_is_another() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, None);
    let taken = world.board.take(10);
    world.put(ALICE, PHONE, State::Offline);
    let facts = Facts { user: ALICE, change: true, rooms: [RoomNid(1)].into(), status: None, barred: false };
    assert_eq!(taken.len(), 1);
    world.board.told(vec![facts], world.ms);
    assert_eq!(world.tell(&[1]), [ALICE]);
    assert_eq!(world.since(1), [(ALICE, State::Offline)]);
}

#[test]
fn a_status_that_is_read_is_told_with_the_change_and_a_locked_account_is_offline() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, None);
    let facts = |barred| Facts {
        user: ALICE,
        change: true,
        rooms: [RoomNid(1)].into(),
        status: Some(Some(Arc::from("Tea"))),
        barred,
    };
    world.board.take(10);
    world.board.told(vec![facts(false)], world.ms);
    assert_eq!(world.board.current(ALICE, world.ms).unwrap().status.as_deref(), Some("Tea"));
    assert_eq!(world.tell(&[1]), [], "it was told once");
    world.board.moved(&[ALICE]);
    world.board.take(10);
    world.board.told(vec![facts(true)], world.ms);
    assert_eq!(world.since(1), [(ALICE, State::Offline)]);
    // The poll that was under way ends.
    world.end(ALICE, PHONE);
    assert_eq!(world.state(ALICE), State::Offline);
    assert_eq!(world.board.current(ALICE, world.ms).unwrap().status.as_deref(), Some("Tea"));
}

#[test]
fn other_servers_are_told_again_of_those_who_are_there_and_nobody_else_is() {
    let mut world = World::new();
    world.board.servers = true;
    world.begin(ALICE, PHONE, None);
    world.hear(BOB, State::Online);
    world.tell(&[1]);
    world.pass(REPEAT_MS - 1);
    assert!(!world.board.has_news());
    // At the same moment she becomes idle: that is a change, and told as one.
    world.board.active(ALICE, PHONE, world.ms);
    world.pass(1);
    let taken = world.board.take(10);
    assert_eq!(taken.iter().map(|taken| (taken.user, taken.change)).collect::<Vec<_>>(), [(ALICE, false)]);
    assert_eq!(world.board.serial(), 2);
}

#[test]
fn who_does_not_come_back_after_a_restart_is_told_as_offline() {
    let mut world = World::new();
    world.begin(ALICE, PHONE, None);
    world.tell(&[1]);
    assert!(world.board.resume(vec![(ALICE, id(ALICE)), (BOB, id(BOB))]));
    assert_eq!(world.tell(&[1]), [BOB]);
    assert_eq!(world.since(0), [(ALICE, State::Online), (BOB, State::Offline)]);
}

#[test]
fn a_full_board_forgets_who_is_offline_longest() {
    const FULL: i64 = 50_000;
    let mut world = World::new();
    for user in 1..=FULL {
        world.hear(UserNid(user), State::Online);
    }
    world.tell(&[1]);
    world.hear(UserNid(FULL + 1), State::Online);
    assert_eq!(world.state(UserNid(FULL + 1)), State::Offline, "all are online: there is no place");
    world.hear(UserNid(7), State::Offline);
    world.tell(&[1]);
    world.hear(UserNid(FULL + 1), State::Online);
    assert_eq!(world.state(UserNid(FULL + 1)), State::Online);
    assert!(world.board.current(UserNid(7), world.ms).is_none(), "he gave way");
    assert_eq!(world.board.sizes().remote, usize::try_from(FULL).unwrap());
    world.begin(UserNid(-5), PHONE, None);
    assert_eq!(world.state(UserNid(-5)), State::Online, "ours have places of their own");
}

/// Notes who was woken; everybody waits.
#[derive(Default)]
struct Woken(Mutex<Vec<UserNid>>);

impl WakeWatchers for Woken {
    fn wake_waiting(&self, users: &mut dyn Iterator<Item = UserNid>, limit: usize) {
        self.0.lock().unwrap().extend(users.take(limit));
    }
}

#[test]
fn ten_thousand_who_wait_are_each_woken_once_in_ten_rounds_whoever_comes_online() {
    let (mut telling, woken) = (Telling::default(), Woken::default());
    // Two thousand come online, two hundred a round.
    for _ in 0..10 {
        telling.watchers((0..10_000).map(UserNid));
        telling.wake(&woken);
    }
    let woken = woken.0.into_inner().unwrap();
    assert_eq!(woken.len(), 10_000);
    assert_eq!(woken.iter().collect::<HashSet<_>>().len(), 10_000);
}

#[test]
fn servers_take_turns() {
    let mut telling = Telling::default();
    let servers = i64::try_from(SERVERS).unwrap() + 10;
    for server in 1..=servers {
        telling.server(server, &[ALICE]);
        telling.server(server, &[ALICE, BOB]);
    }
    let first = telling.take_servers();
    assert_eq!((first.len(), first[0].1.len()), (SERVERS, 2));
    telling.server(1, &[ALICE]);
    let second: Vec<i64> = telling.take_servers().into_iter().map(|(server, _)| server).collect();
    assert_eq!((second.len(), second[10]), (11, 1), "who was told last comes last");
    assert!(telling.is_empty());
    assert_eq!(telling.sizes(), (0, 0));
}
