//! What the handlers of the client-server API call.

use std::sync::Arc;

use axum::extract::FromRef;
use ruma::OwnedServerName;

use crate::{
    accounts::{
        AccountData, AddressLogin, Codes, Deactivation, Devices, Filters, InvitationCodes, Login, LoginTokens,
        Profiles, PushRules, RateLimits, Registration, Restrictions, Sessions, SharedSecret, SignUp, Tags,
        ThirdPartyIds, TokenRequests, TurnServer, Uia, UserNames,
    },
    config::Config,
    crypto::{CrossSigning, KeyBackups, KeyClaims, KeyQueries, KeyUploads, RemoteQueries, Signatures, ToDevice},
    media::Media,
    peers::{
        backfill::Backfill,
        directory::RemoteDirectory,
        hierarchy::RemoteRooms,
        joining::{Filling, Joining},
        knocking::Knocking,
        leaving::Leaving,
        profiles::RemoteProfiles,
        timestamps::RemoteTimestamps,
    },
    presence::Presence,
    rooms::{
        aliases::Aliases, create::RoomCreation, directory::Directory, hierarchy::Hierarchy, membership::Membership,
        reading::Reading, receipts::Receipts, reports::Reports, send::Sending, summary::Summaries, typing::Typing,
        upgrade::Upgrades, user_directory::UserDirectory,
    },
    sync::v3::V3,
};

/// The services. Every request takes a clone, so it is one reference.
#[derive(Clone)]
pub struct ClientState(Arc<ClientServices>);

impl std::ops::Deref for ClientState {
    type Target = ClientServices;

    fn deref(&self) -> &ClientServices {
        &self.0
    }
}

/// The services, one field each.
pub struct ClientServices {
    /// The configuration.
    pub config: Arc<Config>,
    /// Sessions and tokens.
    pub sessions: Arc<Sessions>,
    /// Names of accounts.
    pub names: Arc<UserNames>,
    /// New accounts.
    pub registration: Arc<Registration>,
    /// Registration by the shared secret.
    pub shared_secret: Arc<SharedSecret>,
    /// Passwords.
    pub login: Arc<Login>,
    /// Tokens that let another device in.
    pub login_tokens: Arc<LoginTokens>,
    /// Verification codes.
    pub codes: Arc<Codes>,
    /// Phone numbers and e-mail addresses of accounts.
    pub third_party_ids: Arc<ThirdPartyIds>,
    /// Logins by phone number or e-mail address.
    pub address_login: Arc<AddressLogin>,
    /// New accounts by phone number or e-mail address.
    pub sign_up: Arc<SignUp>,
    /// Matrix's proofs of an address.
    pub token_requests: Arc<TokenRequests>,
    /// Invitation codes.
    pub invitations: Arc<InvitationCodes>,
    /// User-interactive authentication.
    pub uia: Arc<Uia>,
    /// Devices.
    pub devices: Arc<Devices>,
    /// The end of accounts.
    pub deactivation: Arc<Deactivation>,
    /// Locks and suspensions.
    pub restrictions: Arc<Restrictions>,
    /// Profiles.
    pub profiles: Arc<Profiles>,
    /// Account data.
    pub account_data: Arc<AccountData>,
    /// Room tags.
    pub tags: Arc<Tags>,
    /// Push rules.
    pub push_rules: Arc<PushRules>,
    /// Filters.
    pub filters: Arc<Filters>,
    /// Rate limits.
    pub limits: Arc<RateLimits>,
    /// New rooms.
    pub room_creation: Arc<RoomCreation>,
    /// Who is in which room.
    pub membership: Arc<Membership>,
    /// Joining rooms, here and elsewhere.
    pub joining: Arc<Joining>,
    /// Members that answers to joins left out.
    pub filling: Arc<Filling>,
    /// Knocking at rooms, here and elsewhere.
    pub knocking: Arc<Knocking>,
    /// Leaving rooms, here and elsewhere.
    pub leaving: Arc<Leaving>,
    /// Rooms as their readers see them.
    pub reading: Arc<Reading>,
    /// Events from clients.
    pub sending: Arc<Sending>,
    /// Who has read how far.
    pub receipts: Arc<Receipts>,
    /// Who is typing.
    pub typing: Arc<Typing>,
    /// Who is online.
    pub presence: Arc<Presence>,
    /// What is new.
    pub sync: Arc<V3>,
    /// Room aliases.
    pub aliases: Arc<Aliases>,
    /// The published rooms.
    pub directory: Arc<Directory>,
    /// What those outside are told of rooms.
    pub summaries: Arc<Summaries>,
    /// Trees of spaces.
    pub hierarchy: Arc<Hierarchy>,
    /// Room upgrades.
    pub upgrades: Arc<Upgrades>,
    /// What users report.
    pub reports: Arc<Reports>,
    /// Finding people.
    pub user_directory: Arc<UserDirectory>,
    /// The TURN server.
    pub turn: Arc<TurnServer>,
    /// The directories of other servers.
    pub remote_directory: Arc<RemoteDirectory>,
    /// The profiles of other servers' users.
    pub remote_profiles: Arc<RemoteProfiles>,
    /// Rooms that other servers are in.
    pub remote_rooms: Arc<RemoteRooms>,
    /// Events by time, of other servers.
    pub remote_timestamps: Arc<RemoteTimestamps>,
    /// History from before ours.
    pub backfill: Arc<Backfill>,
    /// Devices' keys from their clients.
    pub key_uploads: Arc<KeyUploads>,
    /// Keys for those who encrypt.
    pub key_queries: Arc<KeyQueries>,
    /// One-time keys for those who encrypt.
    pub key_claims: Arc<KeyClaims>,
    /// Keys of other servers' users.
    pub remote_keys: Arc<RemoteQueries>,
    /// Users' cross-signing keys.
    pub cross_signing: Arc<CrossSigning>,
    /// Signatures of keys.
    pub signatures: Arc<Signatures>,
    /// Messages between devices.
    pub to_device: Arc<ToDevice>,
    /// Backups of room keys.
    pub key_backups: Arc<KeyBackups>,
    /// Files.
    pub media: Arc<Media>,
}

impl ClientState {
    /// These services.
    pub fn new(services: ClientServices) -> Self {
        Self(Arc::new(services))
    }

    /// The server's name.
    pub fn server_name(&self) -> &OwnedServerName {
        &self.config.server_name
    }
}

macro_rules! from_client_state {
    ($($field:ident: $service:ty),* $(,)?) => {$(
        impl FromRef<ClientState> for Arc<$service> {
            fn from_ref(state: &ClientState) -> Self { state.$field.clone() }
        }
    )*};
}
from_client_state!(
    config: Config,
    sessions: Sessions,
    names: UserNames,
    registration: Registration,
    shared_secret: SharedSecret,
    login: Login,
    login_tokens: LoginTokens,
    codes: Codes,
    third_party_ids: ThirdPartyIds,
    address_login: AddressLogin,
    sign_up: SignUp,
    token_requests: TokenRequests,
    uia: Uia,
    devices: Devices,
    deactivation: Deactivation,
    restrictions: Restrictions,
    profiles: Profiles,
    account_data: AccountData,
    tags: Tags,
    push_rules: PushRules,
    filters: Filters,
    limits: RateLimits,
    room_creation: RoomCreation,
    membership: Membership,
    joining: Joining,
    filling: Filling,
    knocking: Knocking,
    leaving: Leaving,
    reading: Reading,
    sending: Sending,
    receipts: Receipts,
    typing: Typing,
    presence: Presence,
    sync: V3,
    aliases: Aliases,
    directory: Directory,
    summaries: Summaries,
    hierarchy: Hierarchy,
    remote_directory: RemoteDirectory,
    remote_profiles: RemoteProfiles,
    remote_rooms: RemoteRooms,
    remote_timestamps: RemoteTimestamps,
    backfill: Backfill,
    upgrades: Upgrades,
    reports: Reports,
    user_directory: UserDirectory,
    turn: TurnServer,
    key_uploads: KeyUploads,
    key_queries: KeyQueries,
    key_claims: KeyClaims,
    cross_signing: CrossSigning,
    signatures: Signatures,
    to_device: ToDevice,
    key_backups: KeyBackups,
    media: Media,
);
