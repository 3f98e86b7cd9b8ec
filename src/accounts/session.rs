//! Who is asking.

use ruma::{OwnedDeviceId, OwnedUserId};

use crate::store::ids::{DeviceNid, UserNid};

/// The identity that an access token stands for.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account's number.
    pub user: UserNid,
    /// The account's id.
    pub user_id: OwnedUserId,
    /// The device's number.
    pub device: DeviceNid,
    /// The device's id.
    pub device_id: OwnedDeviceId,
    /// The token's number (`tokens.nid`).
    pub token: i64,
    /// Whether the account is a guest.
    pub guest: bool,
    /// Whether the account is an administrator.
    pub admin: bool,
    /// Whether the account is suspended (Client-Server API, "Account suspension"): it reads, but does not speak.
    pub suspended: bool,
}

impl Session {
    /// What the server itself does for a user, without a device.
    pub(crate) fn on_behalf(user: UserNid, user_id: OwnedUserId) -> Self {
        Self {
            user,
            user_id,
            device: DeviceNid(0),
            device_id: "".into(),
            token: 0,
            guest: false,
            admin: false,
            suspended: false,
        }
    }
}
