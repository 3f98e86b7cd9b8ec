//! New groups.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, RoomVersionId};

use super::{
    Actor, Added, GroupError, Groups, JoinMode, MAX_NAME, Refusal, Settings, inviting, levels,
    members::{Source, Way, distinct, joins, way},
    settings::{MARK, SETTINGS},
};
use crate::{
    numbers::User,
    rooms::{
        append::{Along, LocalEvent, NewRoom},
        content::object,
        profile::MemberProfile,
    },
    store::{StoreError, ids, ids::RoomKey},
};

/// Who must be named beside the owner: a group begins with three people, though it may shrink.
const LEAST_OTHERS: usize = 2;

/// A group to be made.
#[derive(Clone, Debug, Default)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Where its avatar is.
    pub avatar: Option<String>,
    /// How one comes in.
    pub mode: JoinMode,
    /// Who is to be in it; the owner need not be named.
    pub users: Vec<User>,
}

/// A group that was made.
#[derive(Debug)]
pub struct Created {
    /// Its room.
    pub room: Arc<RoomKey>,
    /// What became of the users.
    pub added: Added,
}

/// Who comes in with the group's making, and who is invited then.
struct Guests {
    owner: MemberProfile,
    joining: Vec<(User, MemberProfile)>,
    inviting: Vec<User>,
    refused: Vec<Refusal>,
}

impl Groups {
    /// Makes a group. It is there, with its owner and all who are added, or it is not; invitations follow.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn create(&self, by: &Actor, new: NewGroup) -> Result<Created, GroupError> {
        check_name(&new.name)?;
        let mut users = distinct(new.users)?;
        users.retain(|user| user.nid != by.user);
        if users.len() < LEAST_OTHERS {
            return Err(GroupError::Argument("a group begins with three people at least".into()));
        }
        let (owner, service) = (by.user, self.service.user);
        let guests = self
            .store
            .read::<_, StoreError, _>(move |read| {
                let mut guests = Guests {
                    owner: MemberProfile::load(read, owner)?,
                    joining: Vec::new(),
                    inviting: Vec::new(),
                    refused: Vec::new(),
                };
                for user in users {
                    match way(read, None, &user, owner, None)? {
                        Way::Join(profile) => guests.joining.push((user, profile)),
                        Way::Invite | Way::Invited => guests.inviting.push(user),
                        Way::Refused(why) => guests.refused.push(Refusal { user: user.nid, why: why.into() }),
                    }
                }
                Ok((guests, MemberProfile::load(read, service)?))
            })
            .await?;
        let (guests, service) = guests;
        let create_content = create_content();
        let creator = self.service.user_id.clone();
        let room = NewRoom { version: RoomVersionId::V12, creator, create_content };
        let events = self.first_events(by, &new.name, new.avatar.as_deref(), new.mode, &guests, &service);
        let (inviter, noted) = (by.user, guests.inviting.clone());
        let along: Along = Box::new(move |tx, room, _| inviting::note(tx, room, inviter, &noted));
        let (room, _) = self.appenders.create(room, events, Some(along)).await?;
        self.changes.watch([room.nid]);
        // What is known of it was noted while it was made.
        let nid = room.nid;
        let room = self.store.read::<_, StoreError, _>(move |read| ids::room_by_nid(read, nid)).await?;
        let mut added = Added {
            added: guests.joining.iter().map(|(user, _)| user.nid).collect(),
            refused: guests.refused,
            ..Added::default()
        };
        self.invite_each(&room, by, guests.inviting, &mut added).await;
        Ok(Created { room, added })
    }

    fn first_events(
        &self,
        by: &Actor,
        name: &str,
        avatar: Option<&str>,
        mode: JoinMode,
        guests: &Guests,
        profile: &MemberProfile,
    ) -> Vec<LocalEvent> {
        let service = &self.service.user_id;
        let state = |kind: &str, key: &str, content: CanonicalJsonObject| {
            LocalEvent::state(service.clone(), kind, key, content)
        };
        let mut own = object([("membership", "join".into())]);
        profile.fill(&mut own);
        let settings = Settings { owner: Some(by.user_id.to_string()), ..Settings::default() };
        let mut events = vec![
            state("m.room.member", service.as_str(), own),
            state("m.room.power_levels", "", levels::new(&by.user_id, mode)),
            state("m.room.join_rules", "", mode.join_rules()),
            state("m.room.history_visibility", "", object([("history_visibility", "shared".into())])),
            state("m.room.guest_access", "", object([("guest_access", "forbidden".into())])),
            state("m.room.name", "", object([("name", name.into())])),
            state(SETTINGS, "", settings.content()),
        ];
        if let Some(avatar) = avatar {
            events.push(state("m.room.avatar", "", object([("url", avatar.into())])));
        }
        let rule = if mode == JoinMode::Open { "public" } else { "knock_restricted" };
        let owner = joins(service, rule, &by.user_id, &guests.owner, Source::Admin, None);
        let others = guests
            .joining
            .iter()
            .flat_map(|(user, profile)| joins(service, rule, &user.user_id, profile, Source::Admin, Some(&by.user_id)));
        events.extend(owner.into_iter().chain(others));
        events
    }
}

/// The content of a group's create event.
pub(super) fn create_content() -> CanonicalJsonObject {
    object([(MARK, true.into()), ("room_version", RoomVersionId::V12.as_str().into())])
}

/// Holds that a name can be a group's.
pub(super) fn check_name(name: &str) -> Result<(), GroupError> {
    if name.trim().is_empty() {
        return Err(GroupError::Argument("the name of a group is empty".into()));
    }
    if name.chars().count() > MAX_NAME {
        return Err(GroupError::Argument(format!("the name of a group has more than {MAX_NAME} characters")));
    }
    Ok(())
}
