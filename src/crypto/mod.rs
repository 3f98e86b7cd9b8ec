//! The server's side of end-to-end encryption: keys of devices and of people, messages between devices, backups of room keys.
//!
//! The server hands keys on; whether they are what they say, clients check. What it guarantees is that no one-time key is
//! handed out twice, that no message to a device is lost or comes twice, and that whoever encrypts hears of changed keys.
//!
//! Source: Client-Server API, "End-to-End Encryption", "Send-to-Device messaging"; Server-Server API, the same sections.

mod claim;
mod cross_signing;
mod device_lists;
mod edus;
mod key_backups;
mod key_counts;
mod key_shapes;
mod owed;
mod query;
mod remote_lists;
mod remote_queries;
mod signatures;
mod sweep;
mod to_device;
mod upload;

#[cfg(test)]
mod tests;

pub use self::{
    claim::{Claimed, KeyClaims, Wanted},
    cross_signing::{CrossSigning, CrossSigningError, CrossSigningUpload},
    device_lists::{DeviceLists, WakePeers},
    edus::{DeviceListUpdates, DirectToDevice, SigningKeyUpdates},
    key_backups::{BackupError, BackupKeys, KeyBackups, KeysOf, NewKey, Updated},
    key_counts::{Counts, KeyCounts},
    owed::OwedKeys,
    query::{KeyQueries, UserKeys, Viewed},
    remote_lists::{RemoteLists, ResyncError},
    remote_queries::{Failures, RemoteQueries},
    signatures::{Refusal, Signatures},
    sweep::sweep,
    to_device::{Messages, Outbox, ToDevice, ToDeviceError},
    upload::{KeyUpload, KeyUploads, UploadError},
};
