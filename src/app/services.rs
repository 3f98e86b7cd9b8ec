//! Makes the services that the handlers of the client-server API call.

use std::sync::Arc;

use super::{Base, Peers, StartError, encryption::Encryption, memberships::Memberships, verification::Verification};
use crate::{
    accounts::{
        AccountData, AddressLogin, Deactivation, Devices, Filters, LastSeen, Login, LoginTokens, Passwords, Profiles,
        PushRules, RateLimits, Registration, Restrictions, Sessions, SharedSecret, SignUp, Tags, TurnServer, Uia,
        UserNames,
    },
    api::client::state::{ClientServices, ClientState},
    media::Media,
    peers::{
        hierarchy::RemoteRooms, profiles::RemoteProfiles, sender::ServersHearReceipts, timestamps::RemoteTimestamps,
    },
    presence::EndsPresence,
    rooms::{
        account_follower::AccountFollower, aliases::Aliases, create::RoomCreation, directory::Directory,
        hierarchy::Hierarchy, reading::Reading, receipts::Receipts, reports::Reports, send::Sending,
        summary::Summaries, typing::Typing, upgrade::Upgrades, user_directory::UserDirectory,
    },
    sync::v3::V3,
};

/// Makes the services that the handlers call.
pub(super) async fn services(
    base: &Base,
    peers: &Peers,
    memberships: &Memberships,
    last_seen: &Arc<LastSeen>,
    follower: &Arc<AccountFollower>,
    media: &Arc<Media>,
    encryption: &Encryption,
) -> Result<ClientState, StartError> {
    let Base { config, store, clock, random, notifier, appenders, typing_notes, sender_notes, .. } = base;
    let Base { presence, contact_rules, group_rules, receive_nothing, .. } = base;
    let server_name = &config.server_name;
    let watcher = encryption.lists.clone();
    let sessions = Sessions::load(store.clone(), clock.clone(), random.clone(), last_seen.clone(), watcher);
    let sessions = Arc::new(sessions.await?.with_policy(config.linkim.multi_device_policy));
    let limits = Arc::new(RateLimits::new(config.rate_limits.enabled, clock.clone()));
    let names = Arc::new(UserNames::new(server_name.clone(), config.registration.reserved_names.clone()));
    let passwords = Arc::new(Passwords::new(random.clone()));
    let Verification { codes, third_party_ids, token_requests, invitations } = Verification::new(base, peers).await?;
    let registration = Registration::new(
        store.clone(),
        clock.clone(),
        random.clone(),
        passwords.clone(),
        sessions.clone(),
        names.clone(),
        config.registration.clone(),
    );
    let registration = Arc::new(registration.inviting(invitations.clone(), config.linkim.invitation_required));
    let login = Arc::new(Login::new(store.clone(), passwords.clone(), sessions.clone(), limits.clone()));
    let account_data = AccountData::new(store.clone(), notifier.clone()).watched_by(contact_rules.clone());
    let account_data = Arc::new(account_data);
    let membership = memberships.membership.clone();
    let typing = Typing::new(store.clone(), appenders.clone(), notifier.clone(), typing_notes.clone());
    let typing = Arc::new(typing.telling(sender_notes.clone()));
    let hear = Arc::new(ServersHearReceipts { next: notifier.clone(), notes: sender_notes.clone() });
    let summaries = Arc::new(Summaries::new(store.clone()));
    let ends = Arc::new(EndsPresence { next: follower.clone(), presence: presence.clone() });
    let sync = V3::new(store.clone(), notifier.clone(), typing.clone(), encryption.counts.clone(), clock.clone());
    let sync = sync.noting(base.acknowledged.clone());
    Ok(ClientState::new(ClientServices {
        sync: Arc::new(sync.showing(presence.clone())),
        presence: presence.clone(),
        receipts: Arc::new(Receipts::new(store.clone(), appenders.clone(), hear, clock.clone())),
        typing,
        uia: Arc::new(Uia::new(
            login.clone(),
            registration.clone(),
            names.clone(),
            third_party_ids.clone(),
            token_requests.clone(),
            clock.clone(),
            random.clone(),
        )),
        address_login: Arc::new(AddressLogin::new(
            store.clone(),
            third_party_ids.clone(),
            codes.clone(),
            passwords,
            login.clone(),
            sessions.clone(),
            limits.clone(),
        )),
        sign_up: Arc::new(SignUp::new(
            store.clone(),
            clock.clone(),
            codes.clone(),
            registration.clone(),
            invitations.clone(),
        )),
        codes,
        third_party_ids,
        token_requests,
        invitations,
        shared_secret: Arc::new(SharedSecret::new(
            config.registration.shared_secret.clone(),
            clock.clone(),
            random.clone(),
        )),
        devices: Arc::new(Devices::new(store.clone(), sessions.clone(), last_seen.clone())),
        deactivation: Arc::new(Deactivation::new(store.clone(), clock.clone(), sessions.clone(), ends)),
        restrictions: Arc::new(Restrictions::new(store.clone(), sessions.clone(), server_name.clone())),
        profiles: Arc::new(Profiles::new(store.clone(), follower.clone())),
        tags: Arc::new(Tags::new(store.clone(), account_data.clone())),
        push_rules: Arc::new(PushRules::new(store.clone(), account_data.clone())),
        filters: Arc::new(Filters::new(store.clone())),
        room_creation: Arc::new(
            RoomCreation::new(
                store.clone(),
                appenders.clone(),
                server_name.clone(),
                config.rooms.default_version.clone(),
                clock.clone(),
            )
            .talking_to_others(config.federation.enabled)
            .inviting_by(contact_rules.clone()),
        ),
        joining: memberships.joining.clone(),
        filling: memberships.filling.clone(),
        knocking: memberships.knocking.clone(),
        leaving: memberships.leaving.clone(),
        reading: Arc::new(Reading::new(store.clone(), clock.clone())),
        sending: Arc::new(
            Sending::new(store.clone(), appenders.clone(), membership.clone(), server_name.clone()).with_rules(vec![
                contact_rules.clone(),
                group_rules.clone(),
                receive_nothing.clone(),
            ]),
        ),
        aliases: Arc::new(Aliases::new(store.clone(), appenders.clone(), server_name.clone(), clock.clone())),
        directory: Arc::new(Directory::new(store.clone(), summaries.clone(), server_name.clone())),
        hierarchy: Arc::new(Hierarchy::new(store.clone(), summaries.clone())),
        upgrades: Arc::new(Upgrades::new(store.clone(), appenders.clone())),
        reports: Arc::new(Reports::new(store.clone(), clock.clone())),
        user_directory: Arc::new(UserDirectory::new(store.clone())),
        turn: Arc::new(TurnServer::new(config.turn.clone(), clock.clone())),
        remote_directory: memberships.directory.clone(),
        remote_profiles: Arc::new(RemoteProfiles::new(peers.client.clone())),
        remote_rooms: Arc::new(RemoteRooms::new(peers.client.clone())),
        remote_timestamps: Arc::new(RemoteTimestamps::new(server_name.clone(), store.clone(), peers.client.clone())),
        backfill: Arc::new(peers.backfill(base, memberships.filling.clone())),
        key_uploads: encryption.uploads.clone(),
        key_queries: encryption.queries.clone(),
        key_claims: encryption.claims.clone(),
        remote_keys: encryption.remote_queries.clone(),
        cross_signing: encryption.cross_signing.clone(),
        signatures: encryption.signatures.clone(),
        to_device: encryption.to_device.clone(),
        key_backups: encryption.backups.clone(),
        login_tokens: Arc::new(LoginTokens::new(clock.clone(), random.clone())),
        summaries,
        media: media.clone(),
        config: config.clone(),
        sessions,
        names,
        registration,
        login,
        account_data,
        limits,
        membership,
    }))
}
