//! What `linkim admin` does: in the running server, which it reaches over a socket in the data directory, or, where none runs,
//! in its own process.

mod client;
mod protocol;
mod rooms;
mod socket;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ruma::{OwnedServerName, OwnedUserId};

pub use self::{
    client::{CallError, call},
    protocol::{Reply, Request, RoomLine},
    socket::{AdminSocket, SOCKET},
};
use crate::{
    accounts::{
        Deactivation, InvitationCodes, Login, LoginError, NameRefused, NewAccount, Registration, RegistrationError,
        UserNames,
    },
    peers::sender::{Overview, Sender},
    store::{Store, StoreError, accounts, ids, ids::UserNid},
};

/// Why an admin command was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The localpart can't be one.
    #[error(transparent)]
    Name(#[from] NameRefused),
    /// There is no such account here.
    #[error("there is no account {0}")]
    NoAccount(OwnedUserId),
    /// The account was deactivated.
    #[error("{0} has been deactivated")]
    Deactivated(OwnedUserId),
    /// The name can't be a server's, or none of our rooms has it.
    #[error("there is no server {0} in the rooms of this one")]
    NoServer(String),
    /// The account could not be made.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The password could not be set.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Does what the operator asks.
pub struct Admin {
    /// The database.
    pub store: Store,
    /// The names of this server.
    pub names: Arc<UserNames>,
    /// Makes accounts.
    pub registration: Arc<Registration>,
    /// Sets passwords.
    pub login: Arc<Login>,
    /// Ends accounts.
    pub deactivation: Arc<Deactivation>,
    /// Invitation codes.
    pub invitations: Arc<InvitationCodes>,
    /// What other servers are owed.
    pub sender: Arc<Sender>,
}

impl Admin {
    /// Does one request. Failures are answered in words, for the operator.
    pub async fn answer(&self, request: Request) -> Reply {
        let what = request.name();
        match self.run(request).await {
            Ok(reply) => {
                tracing::info!(what, "an admin command was done");
                reply
            }
            Err(error) => Reply::Failed { error: error.to_string() },
        }
    }

    async fn run(&self, request: Request) -> Result<Reply, AdminError> {
        match request {
            Request::CreateUser { localpart, password, admin } => {
                let user_id = self.names.user_id(&localpart)?;
                let account = NewAccount { admin, ..NewAccount::person(user_id, password, None) };
                let made = self.registration.register(account).await?;
                Ok(Reply::Done { text: format!("created {}", made.user_id) })
            }
            Request::ResetPassword { localpart, password } => {
                let (user_id, user) = self.account(&localpart).await?;
                self.login.reset_password(user, password).await?;
                Ok(Reply::Done { text: format!("set the password of {user_id}; all its devices are logged out") })
            }
            Request::Deactivate { localpart } => {
                let (user_id, user) = self.account(&localpart).await?;
                self.deactivation.deactivate(user, false).await?;
                Ok(Reply::Done { text: format!("deactivated {user_id}; it leaves its rooms while the server runs") })
            }
            Request::InviteCode { uses } => {
                let code = self.invitations.make(uses).await?;
                Ok(Reply::Done { text: code })
            }
            Request::ListRooms { after } => {
                let (rooms, next) = self.store.read(move |read| rooms::page(read, after)).await?;
                Ok(Reply::Rooms { rooms, next })
            }
            Request::Federation { after } => {
                let Overview { lines, next, now_ms } = self.sender.overview(after).await?;
                Ok(Reply::Federation { servers: lines, next, now_ms })
            }
            Request::FederationRetry { server } => {
                let Ok(name) = OwnedServerName::try_from(server.clone()) else {
                    return Err(AdminError::NoServer(server));
                };
                if !self.sender.retry(&name).await? {
                    return Err(AdminError::NoServer(server));
                }
                Ok(Reply::Done { text: format!("{name} is tried as soon as there is something for it") })
            }
        }
    }

    /// An account that is there and not deactivated.
    async fn account(&self, localpart: &str) -> Result<(OwnedUserId, UserNid), AdminError> {
        let user_id = self.names.user_id(localpart)?;
        self.store
            .read(move |read| {
                let Some(user) = ids::user_nid(read, &user_id)? else { return Err(AdminError::NoAccount(user_id)) };
                match accounts::get(read, user)? {
                    None => Err(AdminError::NoAccount(user_id)),
                    Some(account) if account.deactivated_ts.is_some() => Err(AdminError::Deactivated(user_id)),
                    Some(_) => Ok((user_id, user)),
                }
            })
            .await
    }
}
