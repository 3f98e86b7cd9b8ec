//! Asks for key documents: the server itself, or a notary.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use linkim_federation::{
    PublicKeyMap,
    server_keys::{
        KeyDocument, KeyDocumentError, KeyQuery, MAX_KEY_DOCUMENT_LENGTH, MAX_NOTARY_RESPONSE_LENGTH, NotaryError,
        parse_notary_response,
    },
};
use ruma::{OwnedServerName, ServerName};

use crate::peers::client::{Call, PeerClient, PeerError};

/// How long a server may take to answer for its keys.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a notary may take, which may have to ask the servers first.
const NOTARY_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("its answer is of no use: {0}")]
    Document(#[from] KeyDocumentError),
    #[error("its answer is of no use: {0}")]
    Notary(#[from] NotaryError),
    #[error("reading its answer failed")]
    Panicked,
}

/// What is wanted of each server: identifiers of keys.
pub(super) type WantedKeys = BTreeMap<OwnedServerName, BTreeSet<String>>;

/// Asks a server for its own document. That it is the server's own, TLS has shown.
pub(super) async fn from_server(peers: &PeerClient, server: &ServerName) -> Result<KeyDocument, FetchError> {
    let call = Call::get("/_matrix/key/v2/server").unsigned().timeout(TIMEOUT).limit(MAX_KEY_DOCUMENT_LENGTH);
    let json = peers.bytes(server, call).await?;
    Ok(KeyDocument::parse(&json, server)?)
}

/// Asks a notary for the documents of several servers, a hundred at most. Documents that are not both their server's and the
/// notary's are left out.
pub(super) async fn from_notary(
    peers: &Arc<PeerClient>,
    notary: &ServerName,
    notary_keys: PublicKeyMap,
    wanted: &WantedKeys,
) -> Result<Vec<KeyDocument>, FetchError> {
    let query = |(server, key_ids): (&OwnedServerName, &BTreeSet<String>)| {
        (server.clone(), key_ids.iter().map(|key_id| (key_id.clone(), None)).collect())
    };
    let query = KeyQuery { server_keys: wanted.iter().map(query).collect() };
    let call = Call::post("/_matrix/key/v2/query", query.to_json()).unsigned();
    let json = peers.bytes(notary, call.timeout(NOTARY_TIMEOUT).limit(MAX_NOTARY_RESPONSE_LENGTH)).await?;
    let notary = notary.to_owned();
    // Two signatures a document: a hundred of them hold a thread for 10 ms, those of a liar for longer.
    let read = tokio::task::spawn_blocking(move || {
        let asked_for = |server: &ServerName| query.server_keys.contains_key(server);
        let answers = parse_notary_response(&json, &notary, &notary_keys, asked_for)?;
        let right = answers.into_iter().filter_map(|document| match document {
            Ok(document) => Some(document),
            Err(error) => {
                tracing::warn!(%notary, %error, "a notary gave a key document that is not right");
                None
            }
        });
        Ok(right.collect())
    });
    read.await.map_err(|_| FetchError::Panicked)?
}
