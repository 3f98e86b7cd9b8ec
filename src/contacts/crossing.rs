//! Friend requests that cross: each of two users has asked the other. They accept each other.
//!
//! Both have a room. The one with the smaller create event's id stays, which both servers find alike: its invitee joins it, and
//! the other room is left. Found again at the start: it follows from the requests that are pending, or accepted where their
//! addressee is still invited.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

use super::Contacts;
use crate::{
    accounts::Session,
    store::{
        Read, StoreError, accounts, direct_rooms, friend_requests,
        friend_requests::Answer,
        ids,
        ids::{RoomKey, RoomNid, UserNid},
        members,
        members::Membership,
    },
};

/// What is to be done. Bound: as much as waits for one look of [`Contacts::settle_crossings`]; beyond it left-over rooms are
/// passed over.
#[derive(Default)]
pub struct Crossings {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Pairs, with how often was tried.
    crossed: BTreeMap<(UserNid, UserNid), u32>,
    left_over: BTreeSet<(RoomNid, UserNid, UserNid)>,
}

/// Pairs that are looked after at once: other servers may take their time.
const AT_ONCE: usize = 8;

/// How long is waited after the first failure; after each further one five times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How often is tried again; after that, at the next start.
const MAX_TRIES: u32 = 6;

/// Left-over rooms that wait at most.
const MAX_WAITING: u32 = 10_000;

impl Crossings {
    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        add(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.more.notify_one();
    }

    /// There is a pending request in each direction.
    pub(super) fn crossed(&self, one: UserNid, other: UserNid) {
        self.add(|waiting| {
            waiting.crossed.insert((one.min(other), one.max(other)), 0);
        });
    }

    /// It did not go: the other server may be away, or have told of its invitation before the room has it.
    fn later(self: Arc<Self>, pair: (UserNid, UserNid), tries: u32) {
        if tries >= MAX_TRIES {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(FIRST_PAUSE * 5u32.pow(tries)).await;
            self.add(|waiting| {
                waiting.crossed.entry(pair).or_insert(tries + 1);
            });
        });
    }

    /// The two became friends elsewhere: `requester` had invited `addressee` into this room.
    pub(super) fn left_over(&self, room: RoomNid, requester: UserNid, addressee: UserNid) {
        self.add(|waiting| {
            if waiting.left_over.len() < MAX_WAITING as usize {
                waiting.left_over.insert((room, requester, addressee));
            }
        });
    }
}

/// A pending request whose addressee is to join.
struct Winner {
    room: Arc<RoomKey>,
    addressee: Session,
}

impl Contacts {
    /// Does the work until dropped.
    pub async fn settle_crossings(self: Arc<Self>, crossings: Arc<Crossings>) {
        self.find_unsettled(&crossings).await;
        loop {
            self.settle_waiting(&crossings).await;
            crossings.more.notified().await;
        }
    }

    /// What an earlier run did not come to.
    pub(super) async fn find_unsettled(&self, crossings: &Crossings) {
        let found = self.store.read::<_, StoreError, _>(|read| {
            Ok((friend_requests::crossing(read)?, friend_requests::left_over(read, MAX_WAITING)?))
        });
        let (pairs, left_over) = match found.await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "could not look for friend requests that cross"),
        };
        crossings.add(|waiting| waiting.crossed.extend(pairs.into_iter().map(|pair| (pair, 0))));
        for (room, requester, addressee) in left_over {
            crossings.left_over(room, requester, addressee);
        }
    }

    /// What waits now.
    pub(super) async fn settle_waiting(&self, crossings: &Arc<Crossings>) {
        let work = std::mem::take(&mut *crossings.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let settling = stream::iter(work.crossed);
        settling.for_each_concurrent(AT_ONCE, |(pair, tries)| self.settle(crossings, pair, tries)).await;
        let clearing = stream::iter(work.left_over);
        clearing.for_each_concurrent(AT_ONCE, |(room, from, to)| self.clear(room, from, to)).await;
    }

    async fn settle(&self, crossings: &Arc<Crossings>, (one, other): (UserNid, UserNid), tries: u32) {
        let _held = self.gates.pass(one, other).await;
        let winner = match self.store.read(move |read| winner(read, one, other)).await {
            Ok(Some(winner)) => winner,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "crossing friend requests were not looked at"),
        };
        let Winner { room, addressee } = winner;
        if let Err(error) = self.joining.join(&addressee, (&*room.room_id).into(), Vec::new(), None).await {
            tracing::info!(%error, room = %room.room_id, "a crossing friend request was not accepted");
            crossings.clone().later((one, other), tries);
        }
    }

    /// Gives up the room of the other request, as far as its users are of this server. A room that both are in is none: the
    /// request was for one where they talked already.
    async fn clear(&self, room: RoomNid, requester: UserNid, addressee: UserNid) {
        let found = self.store.read::<_, StoreError, _>(move |read| {
            let membership =
                |user| -> Result<_, StoreError> { Ok(members::of(read, user, room)?.map(|member| member.membership)) };
            let asked = membership(addressee)?;
            let mut leaving = Vec::new();
            // First the invitation, so that the requester does not leave somebody invited to nobody.
            if asked == Some(Membership::Invite) && accounts::exists(read, addressee)? {
                leaving.push(Session::on_behalf(addressee, ids::user_id(read, addressee)?));
            }
            let alone = asked != Some(Membership::Join) && membership(requester)? == Some(Membership::Join);
            if alone && accounts::exists(read, requester)? {
                leaving.push(Session::on_behalf(requester, ids::user_id(read, requester)?));
            }
            Ok((ids::room_by_nid(read, room)?, leaving))
        });
        let (room, leaving) = match found.await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "a second direct room was not looked at"),
        };
        for session in leaving {
            if let Err(error) = self.leaving.leave(&session, &room.room_id, None).await {
                tracing::info!(%error, room = %room.room_id, "a second direct room stays");
            }
        }
    }
}

/// Of two pending requests the one whose room stays; None if there are not two, or its addressee is another server's.
fn winner(read: &dyn Read, one: UserNid, other: UserNid) -> Result<Option<Winner>, StoreError> {
    let pending = |from, to| -> Result<_, StoreError> {
        Ok(friend_requests::get(read, from, to)?.filter(|request| request.answer == Answer::Pending))
    };
    let (Some(first), Some(second)) = (pending(one, other)?, pending(other, one)?) else { return Ok(None) };
    let first_stays = direct_rooms::age(read, first.room)? <= direct_rooms::age(read, second.room)?;
    let stays = if first_stays { first } else { second };
    if !accounts::is_active(read, stays.addressee)? {
        return Ok(None);
    }
    let addressee = Session::on_behalf(stays.addressee, ids::user_id(read, stays.addressee)?);
    Ok(Some(Winner { room: ids::room_by_nid(read, stays.room)?, addressee }))
}
