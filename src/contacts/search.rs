//! Finding people: by what names them exactly, or by a part of their names.

use ruma::{OwnedUserId, ServerName};

use super::{Contacts, Person, addresses, people::person};
use crate::{
    accounts::Session,
    store::{Read, StoreError, accounts, accounts::AccountKind, ids, ids::UserNid},
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The people, the best matches first.
    pub people: Vec<Person>,
    /// Whether there are more.
    pub limited: bool,
}

impl Contacts {
    /// The people whom `keyword` names: exactly, by number, id, phone number or e-mail address; else those whose name or id has
    /// it in it and whom the user may know of (`rooms::user_directory`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn search(&self, by: &Session, keyword: &str, limit: usize) -> Result<Found, StoreError> {
        let (asker, wanted, own) = (by.user, keyword.to_owned(), by.user_id.server_name().to_owned());
        let exact = self
            .store
            .read::<_, StoreError, _>(move |read| match exact(read, &own, &wanted)? {
                Some(user) => Ok(Some(person(read, asker, user)?)),
                None => Ok(None),
            })
            .await?;
        let named = self.directory.search(by, keyword, Some(limit as u64)).await?;
        let ids: Vec<String> = named.users.into_iter().map(|user| user.user_id).collect();
        let also = self
            .store
            .read::<_, StoreError, _>(move |read| {
                let mut people = Vec::new();
                for id in ids {
                    if let Ok(id) = OwnedUserId::try_from(id)
                        && let Some(nid) = ids::user_nid(read, &id)?
                    {
                        people.push(person(read, asker, nid)?);
                    }
                }
                Ok(people)
            })
            .await?;
        let mut people: Vec<Person> = exact.into_iter().collect();
        let first = people.first().map(|person| person.number);
        people.extend(also.into_iter().filter(|person| Some(person.number) != first));
        let limited = named.limited || people.len() > limit;
        people.truncate(limit);
        Ok(Found { people, limited })
    }
}

/// The one person whom the keyword names.
fn exact(read: &dyn Read, own: &ServerName, keyword: &str) -> Result<Option<UserNid>, StoreError> {
    // With a plus it is a phone number.
    let number = keyword.parse::<i64>().ok().filter(|_| !keyword.starts_with('+'));
    let named = match (number, <&ruma::UserId>::try_from(keyword)) {
        (Some(number), _) => ids::known_user(read, number)?,
        (_, Ok(user_id)) => ids::user_nid(read, user_id)?.map(|nid| (nid, user_id.to_owned())),
        _ => None,
    };
    if let Some((nid, user_id)) = named {
        // Users of other servers are found as they are; of ours, people alone.
        let shown = match accounts::get(read, nid)? {
            Some(account) => account.deactivated_ts.is_none() && account.kind != AccountKind::Service,
            None => user_id.server_name() != own,
        };
        if shown {
            return Ok(Some(nid));
        }
    }
    addresses::owner(read, keyword)
}
